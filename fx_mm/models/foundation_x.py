"""FoundationX: one backbone, three branches, one task per batch."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from fx_mm.models.backbones import build_backbone, probe_backbone
from fx_mm.models.branches import Branch
from fx_mm.models.freeze_plan import freeze_plan
from fx_mm.models.layers.region_guidance import RegionGuidance, evaluating
from fx_mm.models.multi_view import build_views
from fx_mm.models.parts import BRANCHES, FeatureGroups, Part
from fx_mm.registry import MODELS
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError


@MODELS.register_module()
class FoundationX(BaseModel):
    """Classification, localization and segmentation on one backbone.

    Foundation X (WACV 2025), section 3. Every batch holds samples of exactly
    one task, named by ``data_samples[0].task`` (``'phantom_b/loc'``): the
    backbone, that branch and the own part of that dataset run, nothing else.

    Args:
        backbone (dict): Config of a backbone of mmdet or mmpretrain with four
            output stages of strides 4, 8, 16 and 32.
        tasks (Sequence[dict]): The tasks, each with ``dataset``, ``kind``
            (``'cls'``, ``'loc'``, ``'seg'``), ``classes``, ``labels`` and
            optionally ``loss_weight``, ``pos_weight``, ``img_size``, ``tta``
            (test-time augmentation, see :class:`MultiView`).
        classification (dict, optional): Config of the branch; needed if there
            is such a task. Defaults to None.
        localization (dict, optional): The same. Defaults to None.
        segmentation (dict, optional): The same. Defaults to None.
        region_guidance (dict, optional): Config of :class:`RegionGuidance`
            (Foundation X+): boxes that the model predicts weight the maps
            for segmentation, for each dataset that has both tasks in
            ``tasks``. Such images should be normalised and sized alike in
            both tasks, since the localization branch sees those of
            segmentation. None: no guidance. Defaults to None.
        data_preprocessor (dict, optional): Config of the preprocessor; not
            needed inside of :class:`MeanTeacher`. Defaults to None.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        UserError: If a task has no branch or occurs twice, or there is
            nothing to guide segmentation.
    """

    def __init__(
        self,
        backbone: dict,
        tasks: Sequence[dict],
        classification: dict | None = None,
        localization: dict | None = None,
        segmentation: dict | None = None,
        region_guidance: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = build_backbone(copy.deepcopy(backbone))
        channels, strides = probe_backbone(self.backbone)
        self.loss_weights = self._loss_weights(tasks)
        self.views = build_views(tasks)
        configs = dict(cls=classification, loc=localization, seg=segmentation)
        for kind, (name, default) in BRANCHES.items():
            chosen = [task for task in tasks if task['kind'] == kind]
            if not chosen:
                continue
            if configs[kind] is None:
                raise UserError(
                    f'task {chosen[0]["dataset"]}/{kind} needs '
                    f'model.student.{name}, which the config does not set.'
                )
            cfg = dict(copy.deepcopy(configs[kind]))
            cfg.setdefault('type', default)
            cfg.update(in_channels=channels, tasks=chosen)
            if kind == 'loc':
                cfg.update(strides=strides)
            setattr(self, name, MODELS.build(cfg))
        self.region_guidance = self._build_guidance(
            region_guidance, tasks, strides
        )
        self.locked: tuple[str, ...] = ()
        self._never_trained = frozenset(
            name for name, p in self.named_parameters() if not p.requires_grad
        )

    @staticmethod
    def _loss_weights(tasks: Sequence[dict]) -> dict[str, float]:
        weights = {}
        for task in tasks:
            name = f'{task["dataset"]}/{task["kind"]}'
            if name in weights:
                raise UserError(
                    f'task {name} is listed twice; remove one from tasks.'
                )
            if '.' in name or hasattr(nn.ModuleDict(), task['dataset']):
                raise UserError(
                    f'dataset {task["dataset"]!r} cannot have this name, '
                    'which holds a dot or is one of torch; rename it.'
                )
            weight = task.get('loss_weight')
            weight = 1.0 if weight is None else weight
            check_number(f'loss_weight of {name}', weight, 0)
            weights[name] = float(weight)
        return weights

    def _build_guidance(
        self,
        cfg: dict | None,
        tasks: Sequence[dict],
        strides: Sequence[int],
    ) -> RegionGuidance | None:
        masks = [task for task in tasks if task['kind'] == 'seg']
        if cfg is None or not masks:
            return None
        cfg = dict(cfg, strides=strides)
        cfg.setdefault('type', 'RegionGuidance')
        with_boxes = {t['dataset'] for t in tasks if t['kind'] == 'loc'}
        names = {task['dataset'] for task in masks}
        # what was trained with guidance must not be tested without
        wanted = names & set(cfg.pop('datasets', with_boxes)) or names
        if wanted - with_boxes:
            boxes = ', '.join(f'{n}/loc' for n in sorted(wanted - with_boxes))
            raise UserError(
                f'model.student.region_guidance needs the boxes of {boxes}; '
                'add them to tasks or set model.student.region_guidance to '
                'None.'
            )
        guided = [task for task in masks if task['dataset'] in wanted]
        self.localization.check_queries(guided, strides)
        return MODELS.build(cfg)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the config."""
        return tuple(self.loss_weights)

    def branch(self, kind: str) -> Branch:
        """The branch of a task kind (``'cls'``, ``'loc'``, ``'seg'``)."""
        return getattr(self, BRANCHES[kind][0])

    # ------------------------------------------------------------- forward

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Backbone maps.

        Args:
            inputs (Tensor): Images (B, 3, H, W).

        Returns:
            tuple[Tensor]: Raw maps of strides 4, 8, 16 and 32.
        """
        return tuple(self.backbone(inputs))

    def _encode(
        self, inputs: Tensor, data_samples: list
    ) -> tuple[Branch, str, str, dict[str, Any]]:
        name = data_samples[0].task
        if any(sample.task != name for sample in data_samples):
            raise ValueError('a batch must hold samples of one task')
        if name not in self.loss_weights:
            raise UserError(
                f'the model has no task {name!r}; it has '
                f'{", ".join(self.task_names)}.'
            )
        dataset, kind = name.rsplit('/', 1)
        branch = self.branch(kind)
        pyramid = self.extract_feat(inputs)
        if kind == 'seg' and self.region_guidance is not None:
            pyramid = self._guide(pyramid, dataset, data_samples)
        state = branch.encode(pyramid, data_samples)
        return branch, dataset, name, state

    def _guide(
        self, pyramid: tuple[Tensor, ...], dataset: str, data_samples: list
    ) -> tuple[Tensor, ...]:
        """Weigh the maps of a segmentation batch by the dataset's boxes.

        The boxes come from the same maps, so the backbone runs once. In
        training its DropPath is then active where the reference runs it once
        more in eval mode: that would double the largest cost of a step for
        boxes that differ a little, and the guide is soft. The localization
        branch itself is in eval mode, without gradient and without
        denoising.
        """
        if f'{dataset}/loc' not in self.loss_weights:
            return pyramid
        branch = self.branch('loc')
        with torch.no_grad(), evaluating(branch):
            state = branch.encode(pyramid, data_samples)
            logits, boxes = branch(state, dataset, data_samples)
            logits = branch.tasks[dataset].head.class_logits(logits[-1])
        return self.region_guidance(pyramid, logits, boxes[-1], data_samples)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Forward in mmengine's modes.

        Args:
            inputs (Tensor): Images (B, 3, H, W), normalised.
            data_samples (list[FXDataSample], optional): Samples of one task.
                Without them, ``'tensor'`` gives the backbone maps.
            mode (str): ``'tensor'`` (raw outputs), ``'loss'`` or
                ``'predict'``.

        Returns:
            dict, list or Tensor: Losses, data samples with predictions, or
            raw outputs.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode != 'tensor':
            raise ValueError(f'mode {mode!r} is not tensor, loss or predict')
        if data_samples is None:
            return self.extract_feat(inputs)
        branch, dataset, _, state = self._encode(inputs, data_samples)
        return branch(state, dataset, data_samples)

    def loss_and_features(
        self, inputs: Tensor, data_samples: list
    ) -> tuple[dict[str, Tensor], FeatureGroups]:
        """Losses and consistency features of one forward.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task.

        Returns:
            tuple: Losses by name, times the ``loss_weight`` of the task, and
            the features, see :meth:`features`.
        """
        branch, dataset, name, state = self._encode(inputs, data_samples)
        losses = branch.loss(state, dataset, data_samples)
        weight = self.loss_weights[name]
        if weight != 1:
            losses = {
                key: value * weight if 'loss' in key else value
                for key, value in losses.items()
            }
        return losses, branch.consistency(state)

    def features(self, inputs: Tensor, data_samples: list) -> FeatureGroups:
        """Consistency features alone: no decoder of boxes, no head.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task.

        Returns:
            tuple[tuple[Tensor]]: Groups of feature maps.
        """
        branch, _, _, state = self._encode(inputs, data_samples)
        return branch.consistency(state)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of one task, see the branches."""
        return self.loss_and_features(inputs, data_samples)[0]

    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """Predictions of a batch of one task, with its test-time augmentation.

        Returns:
            list[FXDataSample]: The samples with ``pred_score`` (C,),
            ``pred_instances`` (boxes in original pixels) or
            ``pred_sem_seg`` (C, h, w) at the original size.
        """
        name = data_samples[0].task
        if name in self.views:
            answers = self.views[name](self._infer, inputs, data_samples)
        else:
            answers = self._infer(inputs, data_samples)
        kind = name.rsplit('/', 1)[1]
        return self.branch(kind).write(answers, data_samples)

    def _infer(self, inputs: Tensor, data_samples: list) -> Any:
        branch, dataset, _, state = self._encode(inputs, data_samples)
        return branch.infer(state, dataset, data_samples)

    # ------------------------------------------------------- parts and lock

    def parts(self) -> list[Part]:
        """The parts of the model; every parameter is in exactly one."""
        parts = [Part('backbone', None, ('backbone',))]
        for name, _ in BRANCHES.values():
            branch = getattr(self, name, None)
            if branch is not None:
                parts += [part.under(name) for part in branch.parts()]
        return parts

    def freeze_plan(self, task_name: str, mode: str) -> tuple[str, ...]:
        """Names of the parts that stand still in a pass, for :meth:`lock`.

        See :func:`fx_mm.models.freeze_plan.freeze_plan`.
        """
        return freeze_plan(self.parts(), self.task_names, task_name, mode)

    def lock(self, part_names: Iterable[str]) -> None:
        """Lock these parts and release all others. Idempotent.

        A locked part takes no gradient (its ``grad`` becomes None, so that
        no optimizer touches it) and is in eval mode, which also outlasts
        :meth:`train`. Parameters that were frozen when the model was built
        stay so.

        Args:
            part_names (Iterable[str]): Names of parts; empty releases all.

        Raises:
            ValueError: If a name is unknown.
        """
        parts = {part.name: part for part in self.parts()}
        chosen = tuple(dict.fromkeys(part_names))
        unknown = [name for name in chosen if name not in parts]
        if unknown:
            raise ValueError(f'unknown parts {unknown}, known: {list(parts)}')
        self.locked = chosen
        locked = [parts[name] for name in chosen]
        for name, parameter in self.named_parameters():
            trained = name not in self._never_trained and not any(
                part.owns(name) for part in locked
            )
            parameter.requires_grad_(trained)
            if not trained:
                parameter.grad = None
        self.train(self.training)

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; locked parts stay in eval mode."""
        super().train(mode)
        if mode and self.locked:
            modules = dict(self.named_modules())
            for part in self.parts():
                if part.name in self.locked:
                    for prefix in part.modules:
                        if prefix in modules:
                            modules[prefix].eval()
        return self
