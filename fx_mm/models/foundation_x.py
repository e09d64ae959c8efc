"""FoundationX: one backbone, one branch per task kind, one task per batch."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from fx_mm.models.adapters import GROUP, Adapter
from fx_mm.models.backbones import (
    HiddenPatches,
    build_backbone,
    probe_backbone,
)
from fx_mm.models.branches import Branch
from fx_mm.models.branches.evidence import Evidence
from fx_mm.models.freeze_plan import freeze_plan
from fx_mm.models.layers.region_guidance import RegionGuidance, evaluating
from fx_mm.models.multi_view import build_views
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.models.shared_features import SharedFeatures
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Kind, Task, TaskTable, all_kinds
from fx_mm.utils.checks import check_keys, check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_parts, check_value

GRAPHS = 64
"""Of one compiled part, by image and batch size, mode and what is locked."""


@MODELS.register_module()
class FoundationX(BaseModel):
    """A branch for each kind of annotation on one backbone.

    Foundation X (WACV 2025), section 3. Every batch holds samples of exactly
    one task, named by ``data_samples[0].task`` (``'phantom_b/loc'``): the
    backbone, that branch and the own part of that dataset run, nothing else.

    Args:
        backbone (dict): Config of a backbone of mmdet or mmpretrain with four
            output stages of strides 4, 8, 16 and 32.
        tasks (TaskTable | Sequence[Task]): Of their entries the model reads
            ``loss_weight``, ``tta`` (test-time augmentation, see
            :class:`MultiView`) and what the branches name.
        region_guidance (dict, optional): Config of :class:`RegionGuidance`
            (Foundation X+): boxes that the model predicts weight the maps
            for segmentation, for each dataset that has both tasks in
            ``tasks``. Such images should be normalised and sized alike in
            both tasks, since the localization branch sees those of
            segmentation. None: no guidance. Defaults to None.
        adapter (dict, optional): Config of an :class:`Adapter` of the
            backbone: of :class:`LoRA`, which learns in place of what the
            datasets share, which is then the *base*; or of
            :class:`KindNorms`. Defaults to None.
        data_preprocessor (dict, optional): Config of the preprocessor; not
            needed inside of :class:`MeanTeacher`. Defaults to None.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
        **branches (dict, optional): Config of each branch under the name
            that its kind gives it (:attr:`TaskKind.branch`):
            ``classification``, ``localization``, ``segmentation``, ...;
            needed if there is such a task.

    Raises:
        UserError: If a task has no branch or occurs twice, a branch is
            unknown, or there is nothing to guide segmentation.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        tasks: TaskTable | Sequence[Task],
        region_guidance: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        **branches: dict[Any, Any] | None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = build_backbone(copy.deepcopy(backbone))
        channels, strides = probe_backbone(self.backbone)
        if not isinstance(tasks, TaskTable):
            tasks = TaskTable(tasks)
        self.tasks = tasks
        self.loss_weights = {task.name: _loss_weight(task) for task in tasks}
        self.views = build_views(tasks)
        known = {kind.branch: kind for kind in all_kinds()}
        check_keys(branches, known, 'model.student')
        for name, kind in known.items():
            chosen = tasks.of_kind(kind)
            if not len(chosen):
                continue
            given = branches.get(name)
            if given is None:
                raise UserError(
                    f'task {chosen.names[0]} needs model.student.{name}, '
                    'which the config does not set.'
                )
            where = f'model.student.{name}'
            check_value(where, given, dict)
            cfg = dict(copy.deepcopy(given))
            cfg.setdefault('type', kind.branch_type)
            check_parts(cfg, where)
            cfg.update(in_channels=channels, strides=strides, tasks=chosen)
            setattr(self, name, MODELS.build(cfg))
            self.branch(kind).take_backbone(self.backbone)
        self.region_guidance = self._build_guidance(region_guidance, strides)
        self.locked: tuple[str, ...] = ()
        self._shared: SharedFeatures | None = None
        self._never_trained = frozenset(
            name for name, p in self.named_parameters() if not p.requires_grad
        )
        self.adapter: Adapter | None = None
        self.base: tuple[str, ...] = ()
        if adapter is not None:
            self._add_adapter(adapter)

    def _add_adapter(self, cfg: dict[str, Any]) -> None:
        where = 'model.student.adapter'
        check_value(where, cfg, dict)
        cfg = dict(copy.deepcopy(cfg))
        cfg.setdefault('type', 'LoRA')
        check_parts(cfg, where)
        cfg.update(backbone=self.backbone, tasks=self.tasks)
        adapter = self.adapter = MODELS.build(cfg)
        self.base = adapter.base_groups(self.param_groups())
        self.lock(())

    def drop_adapter(self) -> None:
        """Be a model without adapter, for weights that it is merged into."""
        if self.adapter is not None:
            self.adapter.detach()
            self.adapter, self.base = None, ()
            self.lock(())

    @property
    def base_weights(self) -> tuple[str, ...]:
        """Names of the weights that an adapter leaves as they are."""
        if not self.base:
            return ()
        groups = [g for g in self.param_groups() if g.name in self.base]
        return tuple(
            name
            for name in self.state_dict()
            if any(group.owns(name) for group in groups)
        )

    def _build_guidance(
        self, cfg: dict[str, Any] | None, strides: Sequence[float]
    ) -> RegionGuidance | None:
        if cfg is None:
            return None
        cfg = dict(cfg, strides=strides)
        cfg.setdefault('type', 'RegionGuidance')
        guidance = MODELS.build(cfg)
        guided = guidance.guided_tasks(self.tasks)
        if not guided:
            return None
        getattr(self, guidance.source).check_queries(guided, strides)
        return guidance

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the config."""
        return tuple(self.loss_weights)

    def branch(self, kind: Kind) -> Branch:
        """Return the branch of a task kind."""
        return getattr(self, kind.branch)

    def compile_parts(
        self, backbone: bool = True, branches: bool = True, **options: Any
    ) -> None:
        """Compile what sees the same shapes in each batch of a task.

        Each part is compiled once per image and batch size, state of its
        weights (locked or not) and mode.

        Args:
            backbone (bool): Compile the backbone. Defaults to True.
            branches (bool): Compile the ``fixed_shapes`` of the branches.
                Defaults to True.
            **options (Any): Of ``torch.compile``, such as ``mode``.
        """
        parts: list[nn.Module] = [self.backbone] if backbone else []
        if branches:
            for branch in {self.branch(task.kind) for task in self.tasks}:
                parts += map(branch.get_submodule, branch.fixed_shapes)
        if parts:
            allow_graphs()
        for part in parts:
            # else a second size would be compiled for sizes of any kind
            part.compile(dynamic=False, **options)

    # ------------------------------------------------------------- forward

    def extract_feat(
        self,
        inputs: Tensor,
        task: Task | None = None,
        hidden: HiddenPatches | None = None,
    ) -> tuple[Tensor, ...]:
        """Backbone maps.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            task (Task, optional): The task that they are for, which an
                adapter may need. Defaults to None.
            hidden (HiddenPatches, optional): Patches that the backbone does
                not see. Defaults to None.

        Returns:
            tuple[Tensor]: Raw maps of strides 4, 8, 16 and 32.
        """
        if self.adapter is not None:
            self.adapter.select(task)
        if hidden is not None:
            return tuple(self.backbone(inputs, hidden))
        if self._shared is not None:
            key = self.maps_key(task)
            return self._shared.maps(self._run_backbone, inputs, key)
        return self._run_backbone(inputs)

    def maps_key(self, task: Task | None) -> str | None:
        """Return what the maps of images depend on: equal keys, equal maps."""
        if self.adapter is None or task is None:
            return None
        return self.adapter.key(task)

    def _run_backbone(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(inputs))

    @contextmanager
    def sharing_features(self) -> Iterator[None]:
        """Run what tasks have in common once, inside of a ``with``.

        For one batch of images that many tasks see, see
        :class:`SharedFeatures`.
        """
        self._shared = SharedFeatures()
        try:
            yield
        finally:
            self._shared = None

    def _encode(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        name: str | None = None,
        as_target: bool = False,
    ) -> tuple[Branch, Task, dict[str, Any]]:
        """Run what comes before the own part, by default of their task."""
        if any(s.task != data_samples[0].task for s in data_samples):
            raise ValueError('a batch must hold samples of one task')
        name = data_samples[0].task if name is None else name
        if name not in self.tasks:
            raise UserError(
                f'the model has no task {name!r}; it has '
                f'{", ".join(self.task_names)}.'
            )
        task = self.tasks[name]
        branch = self.branch(task.kind)

        def extract(
            images: Tensor, hidden: HiddenPatches | None = None
        ) -> tuple[Tensor, ...]:
            pyramid = self.extract_feat(images, task, hidden)
            guidance = self.region_guidance
            if guidance is not None and guidance.guides(task, self.tasks):
                pyramid = self._guide(pyramid, task.dataset, data_samples)
            return pyramid

        encode = branch.encode
        if self._shared is not None:
            encode = partial(self._shared.state, branch)
        state = branch.see(extract, encode, inputs, data_samples, as_target)
        return branch, task, state

    def _guide(
        self,
        pyramid: tuple[Tensor, ...],
        dataset: str,
        data_samples: list[FXDataSample],
    ) -> tuple[Tensor, ...]:
        """Weigh the maps of a segmentation batch by the dataset's boxes.

        The boxes come from the same maps, so the backbone runs once. In
        training its DropPath is then active where the reference runs it once
        more in eval mode: that would double the largest cost of a step for
        boxes that differ a little, and the guide is soft. The localization
        branch itself is in eval mode, without gradient and without
        denoising.
        """
        guidance = cast(RegionGuidance, self.region_guidance)
        branch = getattr(self, guidance.source)
        with torch.no_grad(), evaluating(branch):
            state = branch.encode(pyramid, data_samples)
            logits, boxes = branch(state, dataset, data_samples)
            logits = branch.tasks[dataset].head.class_logits(logits[-1])
        return guidance(pyramid, logits, boxes[-1], data_samples)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample] | None = None,
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
        if mode in ('loss', 'predict'):
            samples = cast('list[FXDataSample]', data_samples)
            if mode == 'loss':
                return self.loss(inputs, samples)
            return self.predict(inputs, samples)
        if mode != 'tensor':
            raise ValueError(f'mode {mode!r} is not tensor, loss or predict')
        if data_samples is None:
            return self.extract_feat(inputs)
        branch, task, state = self._encode(inputs, data_samples)
        return branch(state, task.dataset, data_samples)

    def loss_and_features(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> tuple[dict[str, Tensor], FeatureGroups]:
        """Losses and consistency features of one forward.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task.

        Returns:
            tuple: Losses by name, times the ``loss_weight`` of the task, and
            the features, see :meth:`features`.
        """
        branch, task, state = self._encode(inputs, data_samples)
        losses = branch.loss(state, task.dataset, data_samples)
        if self.adapter is not None:
            losses.update(self.adapter.losses() | self.adapter.log_vars())
        weight = self.loss_weights[task.name]
        if weight != 1:
            losses = {
                key: value * weight if 'loss' in key else value
                for key, value in losses.items()
            }
        return losses, branch.consistency(state)

    def features(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> FeatureGroups:
        """Consistency features alone: no decoder of boxes, no head.

        They are a target: of masked images, nothing is hidden.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task.

        Returns:
            tuple[tuple[Tensor]]: Groups of feature maps.
        """
        branch, _, state = self._encode(inputs, data_samples, as_target=True)
        return branch.consistency(state)

    def consistency_loss(
        self, student: FeatureGroups, teacher: FeatureGroups, task: str
    ) -> Tensor:
        """Return how far a teacher's features are, see the branches.

        Args:
            student (tuple[tuple[Tensor]]): Of :meth:`loss_and_features`.
            teacher (tuple[tuple[Tensor]]): Of :meth:`features`.
            task (str): Name of the task of the batch.
        """
        of_task = self.tasks[task]
        branch = self.branch(of_task.kind)
        return branch.consistency_loss(student, teacher, of_task.dataset)

    def distillation_output(
        self, inputs: Tensor, data_samples: list[FXDataSample], task: str
    ) -> Any:
        """Return what a branch says of images, whatever their own task.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Of one task; only their sizes
                are looked at.
            task (str): Which task answers.

        Returns:
            Any: See :meth:`Branch.distillation_output`.
        """
        branch, of_task, state = self._encode(
            inputs, data_samples, task, as_target=True
        )
        return branch.distillation_output(state, of_task.dataset, data_samples)

    def loss(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Losses of a batch of one task, see the branches."""
        return self.loss_and_features(inputs, data_samples)[0]

    def test_losses(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Losses of a batch of a test, whose truth is in original pixels.

        Of the image itself, without test-time augmentation; in eval mode, so
        without denoising.
        """
        branch = self.branch(self.tasks[data_samples[0].task].kind)
        return self.loss(inputs, branch.fit_truth(data_samples))

    def predict(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> list[Any]:
        """Predictions of a batch of one task, with its test-time augmentation.

        Returns:
            list[FXDataSample]: The samples with ``pred_score`` (C,),
            ``pred_instances`` (boxes in original pixels) or
            ``pred_sem_seg`` (C, h, w) at the original size.
        """
        task = self.tasks[data_samples[0].task]
        branch = self.branch(task.kind)
        if task.name in self.views:
            answers = self.views[task.name](
                self._infer, branch.merge_flips, inputs, data_samples
            )
        else:
            answers = self._infer(inputs, data_samples)
        return branch.add_pred_to_datasample(answers, data_samples)

    def take_tally(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> Any:
        """Compare what it finds with the truth, see :meth:`Branch.tally`."""
        task = self.tasks[data_samples[0].task]
        answers = self._infer(inputs, data_samples)
        branch = self.branch(task.kind)
        return branch.tally(answers, data_samples, task)

    def label(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        thresholds: Tensor,
    ) -> Tensor:
        """Write what it finds in images into their samples as the truth.

        Without test-time augmentation.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task.
            thresholds (Tensor): (C,), of the task's classes.

        Returns:
            Tensor: bool (B,), see :meth:`Branch.take_as_truth`.
        """
        branch = self.branch(self.tasks[data_samples[0].task].kind)
        answers = self._infer(inputs, data_samples)
        return branch.take_as_truth(answers, data_samples, thresholds)

    def explain(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        score_thr: float,
    ) -> list[Evidence]:
        """Show what the findings of one image rest on.

        Of the image itself, without test-time augmentation.

        Args:
            inputs (Tensor): The image (1, 3, H, W), normalised.
            data_samples (list[FXDataSample]): Its sample.
            score_thr (float): Findings with a lower score are left out.

        Returns:
            list[Evidence]: One per finding of labels and boxes; masks and
            numbers have none.
        """
        task = self.tasks[data_samples[0].task]
        with torch.no_grad():
            pyramid = self.extract_feat(inputs, task)
        branch = self.branch(task.kind)
        return branch.explain(pyramid, task.dataset, data_samples, score_thr)

    def _infer(self, inputs: Tensor, data_samples: list[FXDataSample]) -> Any:
        branch, task, state = self._encode(inputs, data_samples)
        return branch.infer(state, task.dataset, data_samples)

    # ------------------------------------------------------ groups and lock

    def param_groups(self) -> list[ParamGroup]:
        """The groups of the model; every parameter is in exactly one."""
        groups = [ParamGroup('backbone', None, ('backbone',))]
        for kind in all_kinds():
            branch = getattr(self, kind.branch, None)
            if branch is not None:
                groups += [
                    group.under(kind.branch) for group in branch.param_groups()
                ]
        if self.adapter is not None:
            groups.append(ParamGroup(GROUP, None, ('adapter',)))
        return groups

    def freeze_plan(self, task_name: str, mode: str) -> tuple[str, ...]:
        """Names of the groups that are frozen in a pass, for :meth:`lock`.

        See :func:`fx_mm.models.freeze_plan.freeze_plan`.
        """
        groups = self.param_groups()
        task_name = self.tasks.head_of(task_name)
        return freeze_plan(groups, self.task_names, task_name, mode, self.base)

    def lock(self, group_names: Iterable[str]) -> None:
        """Lock these groups and the base, release all others. Idempotent.

        A locked group takes no gradient (its ``grad`` becomes None, so that
        no optimizer touches it) and is in eval mode, which also outlasts
        :meth:`train`. Parameters that were frozen when the model was built
        stay so.

        Args:
            group_names (Iterable[str]): Names of groups; empty releases all.

        Raises:
            ValueError: If a name is unknown.
        """
        groups = {group.name: group for group in self.param_groups()}
        chosen = tuple(dict.fromkeys((*group_names, *self.base)))
        unknown = [name for name in chosen if name not in groups]
        if unknown:
            raise ValueError(
                f'unknown groups {unknown}, known: {list(groups)}'
            )
        self.locked = chosen
        locked = [groups[name] for name in chosen]
        for name, parameter in self.named_parameters():
            trained = name not in self._never_trained and not any(
                group.owns(name) for group in locked
            )
            parameter.requires_grad_(trained)
            if not trained:
                parameter.grad = None
        self.train(self.training)

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; locked groups stay in eval mode."""
        super().train(mode)
        if mode and self.locked:
            modules = dict(self.named_modules())
            for group in self.param_groups():
                if group.name in self.locked:
                    for prefix in group.modules:
                        if prefix in modules:
                            modules[prefix].eval()
        return self


def allow_graphs() -> None:
    """Let torch keep the graphs of all sizes and states of a part.

    It has room for 8, after which it runs the part without compiling, with a
    warning: three states and three sizes are more.
    """
    import torch._dynamo.config as dynamo

    dynamo.cache_size_limit = max(dynamo.cache_size_limit, GRAPHS)


def _loss_weight(task: Task) -> float:
    """Return the factor of a task's losses.

    Raises:
        UserError: If the weight makes no sense, or torch cannot have a module
            of the dataset's name.
    """
    if '.' in task.name or hasattr(nn.ModuleDict(), task.dataset):
        raise UserError(
            f'dataset {task.dataset!r} cannot have this name, which holds a '
            'dot or is one of torch; rename it.'
        )
    weight = task.config.get('loss_weight')
    weight = 1.0 if weight is None else weight
    check_number(f'loss_weight of {task.name}', weight, 0)
    return float(weight)
