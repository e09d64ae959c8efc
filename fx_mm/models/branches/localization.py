"""Localization: DINO with one shared encoder and many decoders."""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_flip
from mmengine.model import ModuleDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import batched_nms

from fx_mm.evaluation.metrics.loc_metric import LocMetric
from fx_mm.evaluation.statistics.box_matches import LocRecord
from fx_mm.models.branches.base import Branch, State
from fx_mm.models.branches.evidence import Evidence, recorded_samples
from fx_mm.models.layers import (
    DenoisingQueries,
    LocalizationTask,
    PyramidEncoder,
    build_decoder,
    build_head,
    dino_config,
    grid_proposals,
)
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.registry import METRICS, MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.checks import check_choice, check_number
from fx_mm.utils.errors import UserError

SHARING = ('shared', 'per_task')
NMS_IOU = 0.5
"""Merges the boxes of two views, as mmdet's test-time augmentation does."""


@MODELS.register_module()
class LocalizationBranch(Branch):
    """Boxes by DINO, one decoder and head per dataset (Foundation X).

    Norms of the backbone maps, input projections, level embedding and
    encoder are shared. Encoder, decoder, denoising and losses are mmdet's;
    ``fx_mm`` only selects which decoder, head and queries a batch takes.

    The dicts are those of a DINO config of mmdet, which can be pasted::

        localization = dict(
            type='LocalizationBranch',
            num_queries=300,
            neck=dict(out_channels=128, num_outs=4),
            encoder=dict(num_layers=3),
            decoder=dict(num_layers=3),
            share_decoder=True,
        )

    What is left out is the paper's, see :data:`DINO`. Width and number of
    levels may stand in any of their places (``neck.out_channels``,
    ``neck.num_outs``, ``encoder.layer_cfg.self_attn_cfg.embed_dims``, ...) or
    in none; the other places follow, and values that contradict each other
    are refused. ``neck.in_channels`` is the backbone's, the ``num_classes`` of
    the head is each dataset's.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        strides (Sequence[float]): Strides of the backbone stages in pixels.
        tasks (TaskTable): Tasks; with their ``img_size`` the number of
            queries is checked.
        stages (Sequence[int]): Backbone stages in use. Defaults to (1, 2, 3).
        norm_cfg (dict, optional): Norm of each backbone map over channels;
            None for a backbone with BatchNorm. Defaults to
            ``dict(type='LN2d')``.
        num_queries (int): Matching queries. Defaults to 900.
        num_feature_levels (int, optional): Levels of the encoder; those beyond
            the stages come from stride-2 convolutions. Defaults to None: as in
            the other dicts, or 4.
        neck (dict, optional): Input projections. Defaults to None.
        encoder (dict, optional): Layers of the encoder. Defaults to None.
        decoder (dict, optional): Layers of each decoder. Defaults to None.
        positional_encoding (dict, optional): Encoding of the tokens. Defaults
            to None.
        bbox_head (dict, optional): Losses and depth of the heads, which are
            :class:`TaskDINOHead`. Defaults to None.
        dn_cfg (dict, optional): Denoising queries; None trains without.
            Defaults to ``dict()``: as in the paper.
        train_cfg (dict, optional): ``assigner``, with the costs of mmdet's
            ``HungarianAssigner``. Defaults to None.
        test_cfg (dict, optional): ``max_per_img``, boxes kept at test time.
            Defaults to None.
        with_box_refine (bool): DINO has it True. Defaults to True.
        as_two_stage (bool): DINO has it True. Defaults to True.
        share_decoder (bool): Whether one decoder serves all datasets
            (Foundation X+). Defaults to False: one per dataset
            (Foundation X).
        queries (str): Content queries ``'shared'`` by the datasets, as in the
            authors' code, or ``'per_task'``. Defaults to ``'shared'``.
        label_embedding (str): The same for the label embedding of the
            denoising queries. Defaults to ``'shared'``.
        num_labels (int, optional): Rows of a shared label embedding. Defaults
            to what the config's tasks need, active or not: a checkpoint of
            all is tested on one.
        memory_projection (bool): Whether each dataset projects the encoder
            memory before selection and decoder, as in the authors' code. The
            consistency feature stays the shared memory. Defaults to False.
        separate_outputs (bool): See :class:`TaskDINOHead`. Defaults to False.
        num_logits (int, optional): The same. Defaults to None.
        first_label (int): The same. Defaults to 0.
        proposal_loss_weight (float): The same. Defaults to 1.
        encoder_l2 (float): Weight of the squared L2 norm of the encoder in
            the loss (reference 1.4: 1e-4). Defaults to 0.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        UserError: If there are more queries than tokens, an option is
            unknown, or values contradict each other.
    """

    graph_outputs = ('boxes', 'scores', 'labels')
    fixed_shapes = ('encoder.encoder',)

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[float],
        tasks: TaskTable,
        stages: Sequence[int] = (1, 2, 3),
        norm_cfg: dict[str, Any] | None = dict(type='LN2d'),
        num_queries: int = 900,
        num_feature_levels: int | None = None,
        neck: dict[Any, Any] | None = None,
        encoder: dict[Any, Any] | None = None,
        decoder: dict[Any, Any] | None = None,
        positional_encoding: dict[Any, Any] | None = None,
        bbox_head: dict[Any, Any] | None = None,
        dn_cfg: dict[str, Any] | None = dict(),
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        with_box_refine: bool = True,
        as_two_stage: bool = True,
        share_decoder: bool = False,
        queries: str = 'shared',
        label_embedding: str = 'shared',
        num_labels: int | None = None,
        memory_projection: bool = False,
        separate_outputs: bool = False,
        num_logits: int | None = None,
        first_label: int = 0,
        proposal_loss_weight: float = 1.0,
        encoder_l2: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        for key, choice, known in (
            ('share_decoder', share_decoder, (False, True)),
            ('queries', queries, SHARING),
            ('label_embedding', label_embedding, SHARING),
        ):
            check_choice(f'model localization.{key}', choice, known)
        for key, value in (
            ('encoder_l2', encoder_l2),
            ('first_label', first_label),
            ('proposal_loss_weight', proposal_loss_weight),
        ):
            check_number(f'model localization.{key}', value, 0)
        self.stages = tuple(stages)
        self.dino_cfg = cfg = dino_config(
            dict(
                num_queries=num_queries,
                num_feature_levels=num_feature_levels,
                neck=neck,
                encoder=encoder,
                decoder=decoder,
                positional_encoding=positional_encoding,
                bbox_head=bbox_head,
                dn_cfg=dn_cfg,
                train_cfg=train_cfg,
                test_cfg=test_cfg,
                with_box_refine=with_box_refine,
                as_two_stage=as_two_stage,
            ),
            [in_channels[stage] for stage in stages],
        )
        self.num_levels = cfg['num_feature_levels']
        self.num_queries = cfg['num_queries']
        self.encoder_l2 = encoder_l2
        self.check_queries(tasks, strides)
        own = dict(
            separate_outputs=separate_outputs,
            num_logits=num_logits,
            first_label=first_label,
            proposal_loss_weight=proposal_loss_weight,
        )
        dims = cfg['neck']['out_channels']
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.encoder = PyramidEncoder(
                neck=copy.deepcopy(cfg['neck']),
                encoder=copy.deepcopy(cfg['encoder']),
                positional_encoding=cfg['positional_encoding'],
                norm_cfg=norm_cfg,
            )
            self.decoder = build_decoder(cfg) if share_decoder else None
            self.queries = (
                nn.Embedding(self.num_queries, dims)
                if queries == 'shared'
                else None
            )
            self.label_embedding = (
                nn.Embedding(
                    self._count_labels(tasks, num_labels, first_label), dims
                )
                if label_embedding == 'shared'
                else None
            )
            self.tasks = ModuleDict()
            for task in tasks:
                classes = len(task.classes)
                self.tasks[task.dataset] = LocalizationTask(
                    dims,
                    self.num_queries,
                    head=build_head(cfg, classes, **own),
                    denoising=None
                    if dn_cfg is None
                    else DenoisingQueries(
                        num_classes=classes,
                        first_label=first_label,
                        embed_dims=dims,
                        num_matching_queries=self.num_queries,
                        **cfg['dn_cfg'],
                    ),
                    decoder=None if self.decoder else build_decoder(cfg),
                    own_queries=queries == 'per_task',
                    own_labels=label_embedding == 'per_task',
                    memory_projection=memory_projection,
                )

    @staticmethod
    def _count_labels(
        tasks: TaskTable, num_labels: int | None, first_label: int
    ) -> int:
        needed = first_label + max(map(len, tasks.configured.values()))
        if num_labels is not None and num_labels < needed:
            raise UserError(
                f'model localization.num_labels is {num_labels}, but the '
                f'labels of the tasks need {needed} rows; raise it.'
            )
        return num_labels or needed

    def check_queries(
        self, tasks: Iterable[Task], strides: Sequence[float]
    ) -> None:
        """Refuse tasks whose images give fewer tokens than queries.

        Args:
            tasks (Iterable[Task]): Tasks, with ``img_size`` in pixels.
            strides (Sequence[float]): Strides of the backbone stages.

        Raises:
            UserError: Says which size.
        """
        for task in tasks:
            size = task.config.get('img_size')
            if size is None:
                continue
            sides = [math.ceil(size / strides[s]) for s in self.stages]
            while len(sides) < self.num_levels:
                sides.append(-(-sides[-1] // 2))
            self._refuse(sum(side * side for side in sides), f'{size} px')

    def _refuse(self, tokens: int, where: str) -> None:
        if tokens < self.num_queries:
            raise UserError(
                f'model localization.num_queries is {self.num_queries}, but '
                f'an image of {where} gives only {tokens} tokens; lower '
                'num_queries or raise img_size.'
            )

    def init_weights(self) -> None:
        """Initialise as mmdet's DINO does."""
        super().init_weights()
        own = self.tasks.values()
        decoders = [self.decoder] if self.decoder else [t.decoder for t in own]
        for coder in (self.encoder.encoder, *decoders):
            for parameter in coder.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
            for module in coder.modules():
                if isinstance(module, MultiScaleDeformableAttention):
                    module.init_weights()
        for task in own:
            nn.init.xavier_uniform_(task.selection[0].weight)
            if task.memory_projection is not None:
                nn.init.xavier_uniform_(task.memory_projection.weight)
        for holder in (self, *own):
            if holder.queries is not None:
                nn.init.xavier_uniform_(holder.queries.weight)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Fit the rows of a shared label embedding.

        It has a row for each class of the dataset with the most, and their
        number may have changed since the weights were saved.
        """
        name = f'{prefix}label_embedding.weight'
        saved = state_dict.get(name)
        if saved is not None and self.label_embedding is not None:
            rows = self.label_embedding.weight.detach().clone()
            common = min(len(rows), len(saved))
            if rows.shape[1:] == saved.shape[1:] and len(rows) != len(saved):
                rows[:common] = saved[:common]
                state_dict[name] = rows
        super()._load_from_state_dict(state_dict, prefix, *args)

    def encode(
        self, pyramid: tuple[Tensor, ...], data_samples: list[FXDataSample]
    ) -> State:
        """Run norms, input projections and encoder.

        Args:
            pyramid (tuple[Tensor]): Backbone maps.
            data_samples (list): Have ``img_shape`` and ``batch_input_shape``.

        Returns:
            dict: See :class:`PyramidEncoder`.
        """
        maps = [pyramid[stage] for stage in self.stages]
        return self.encoder(maps, data_samples)

    def consistency(self, state: State) -> FeatureGroups:
        """Backbone maps in use, and the encoder memory.

        Not the decoder states of the reference: their slots are ordered
        differently in student and teacher (reference, section 12).
        """
        return (state['maps'], (state['memory'],))

    def decode(
        self,
        state: State,
        dataset: str,
        data_samples: list[FXDataSample],
        denoise: bool,
    ) -> dict[str, Any]:
        """Select proposals and run the decoder of a dataset.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list): Have ``gt_instances`` if ``denoise``.
            denoise (bool): Whether to add denoising queries, if there are.

        Returns:
            dict: ``hidden_states`` (layers, B, queries, dims), ``references``
            (layers + 1, B, queries, 4), ``proposal_scores``,
            ``proposal_boxes`` and ``dn_meta``.
        """
        task = self.tasks[dataset]
        memory, mask = task.project(state['memory']), state['mask']
        self._refuse(memory.shape[1], 'this size')
        layout = state['layout']
        proposals = grid_proposals(
            layout['shapes'],
            memory.device,
            None if mask is None else layout['valid_ratios'],
        )
        scores, boxes, anchors = task.select(memory, mask, proposals)
        embedding = self.queries if task.queries is None else task.queries
        content = cast(nn.Embedding, embedding).weight.expand(
            memory.shape[0], -1, -1
        )
        dn_mask = dn_meta = None
        if denoise and task.denoising is not None:
            labels = task.label_embedding or self.label_embedding
            noisy, noisy_anchors, dn_mask, dn_meta = task.denoising(
                data_samples, labels
            )
            content = torch.cat([noisy, content], dim=1)
            anchors = torch.cat([noisy_anchors, anchors], dim=1)
        decoder = cast(nn.Module, task.decoder or self.decoder)
        hidden_states, references = decoder(
            query=content,
            value=memory,
            key_padding_mask=mask,
            self_attn_mask=dn_mask,
            reference_points=anchors.sigmoid(),
            reg_branches=task.head.reg_branches,
            **layout,
        )
        return dict(
            hidden_states=hidden_states,
            references=references,
            proposal_scores=scores,
            proposal_boxes=boxes,
            dn_meta=dn_meta,
        )

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> tuple[Tensor, Tensor]:
        """Class logits (layers, B, queries, C) and normalised cxcywh boxes."""
        outputs = self.decode(state, dataset, data_samples, denoise=False)
        return self.tasks[dataset].head(
            outputs['hidden_states'], outputs['references']
        )

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """DINO losses under mmdet's names.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``gt_instances`` with
                ``bboxes`` (n, 4), xyxy in pixels of the input, and
                ``labels`` (n,); n may be 0.

        Returns:
            dict[str, Tensor]: Losses of the last layer, the others (``d0.``),
            the denoising queries (``dn_``) and the proposals (``enc_``).
        """
        outputs = self.decode(
            state, dataset, data_samples, denoise=self.training
        )
        losses = self.tasks[dataset].head.loss(
            **outputs, data_samples=data_samples
        )
        encoder = self.encoder.encoder
        if self.encoder_l2 and next(encoder.parameters()).requires_grad:
            losses['loss_encoder_l2'] = self.encoder_l2 * sum(
                parameter.square().sum() for parameter in encoder.parameters()
            )
        return losses

    def fit_truth(
        self, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Return samples with true boxes in pixels of the input."""
        fitted = []
        for sample in data_samples:
            truth = sample.gt_instances
            scale = truth.bboxes.new_tensor(sample.scale_factor).repeat(2)
            moved = FXDataSample(metainfo=sample.metainfo)
            moved.gt_instances = InstanceData(
                bboxes=truth.bboxes * scale, labels=truth.labels
            )
            fitted.append(moved)
        return fitted

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> list[InstanceData]:
        """The best boxes (InstanceData) of each image in original pixels."""
        outputs = self.decode(state, dataset, data_samples, denoise=False)
        return self.tasks[dataset].head.predict(
            outputs['hidden_states'], outputs['references'], data_samples
        )

    def add_pred_to_datasample(
        self, answers: list[InstanceData], data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write ``pred_instances`` into the samples."""
        for sample, result in zip(data_samples, answers):
            sample.pred_instances = result
        return data_samples

    def tally(
        self,
        answers: list[InstanceData],
        data_samples: list[FXDataSample],
        task: Task,
    ) -> list[LocRecord]:
        """Keep boxes, predicted and true, as the task's metric does."""
        metric = _metric(task)
        samples = self.add_pred_to_datasample(answers, data_samples)
        metric.process(None, [sample.to_dict() for sample in samples])
        return metric.results

    def choose_thresholds(
        self, tallies: list[list[LocRecord]], task: Task
    ) -> list[tuple[float, float]]:
        """Choose the best F1 of boxes; a hit is that of the metric's FROC."""
        records = {r.img_id: r for records in tallies for r in records}
        metric = _metric(task)
        images = metric.finite([records[name] for name in sorted(records)])
        return [curve.best_f1() for curve in metric.froc(images)]

    def take_as_truth(
        self,
        answers: list[InstanceData],
        data_samples: list[FXDataSample],
        thresholds: Tensor,
    ) -> Tensor:
        """Write the boxes that reach the threshold of their class.

        Of several on one finding the best stays; without any, nothing is
        known of the image.
        """
        known = []
        for sample, found in zip(data_samples, answers):
            limits = thresholds.to(found.scores)[found.labels]
            found = found[found.scores >= limits]
            scale = found.bboxes.new_tensor(sample.scale_factor).repeat(2)
            boxes = found.bboxes * scale
            sides = boxes[:, 2:] - boxes[:, :2]
            large = (sides > 1).all(1)
            boxes, found = boxes[large].float(), found[large]
            best = batched_nms(
                boxes, found.scores.float(), found.labels, NMS_IOU
            )
            sample.gt_instances = InstanceData(
                bboxes=boxes[best], labels=found.labels[best]
            )
            known.append(len(best) > 0)
        return torch.tensor(known)

    def merge_flips(
        self,
        plain: list[InstanceData],
        mirrored: list[InstanceData],
        data_samples: list[FXDataSample],
    ) -> list[InstanceData]:
        """Join both views' boxes by NMS, as many as of one view stay."""
        return [_merge(*each) for each in zip(plain, mirrored, data_samples)]

    def graph(
        self, state: State, dataset: str, data_samples: list[Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best boxes as :meth:`TaskDINOHead.predict` chooses them.

        Returns:
            tuple[Tensor]: Boxes (B, n, 4), x1, y1, x2, y2 as shares of width
            and height; scores (B, n), the highest first; labels (B, n).
        """
        head = self.tasks[dataset].head
        decoded = self.decode(state, dataset, data_samples, denoise=False)
        logits, boxes = head(
            decoded['hidden_states'][-1:], decoded['references'][-2:]
        )
        scores = head.class_logits(logits[0]).sigmoid().flatten(1)
        scores, best = scores.topk(head.test_cfg['max_per_img'], dim=1)
        query = torch.div(best, head.num_classes, rounding_mode='floor')
        boxes = bbox_cxcywh_to_xyxy(boxes[0]).clamp(0, 1)
        boxes = boxes.gather(1, query[..., None].expand(-1, -1, 4))
        return boxes, scores, best % head.num_classes

    @torch.no_grad()
    def explain(
        self,
        pyramid: tuple[Tensor, ...],
        dataset: str,
        data_samples: list[FXDataSample],
        score_thr: float,
    ) -> list[Evidence]:
        """Show where the last decoder layer looked for each box.

        See :class:`Branch` for the arguments.
        """
        head = self.tasks[dataset].head
        decoder: Any = self.tasks[dataset].decoder or self.decoder
        state = self.encode(pyramid, data_samples)
        with recorded_samples(decoder.layers[-1].cross_attn) as samples:
            decoded = self.decode(state, dataset, data_samples, denoise=False)
        states, references = decoded['hidden_states'], decoded['references']
        logits, _ = head(states[-1:], references[-2:])
        scores = head.class_logits(logits[0, 0]).sigmoid().flatten()
        answer = head.predict(states, references, data_samples)[0]
        # the same choice as that of the answer, which does not say its queries
        kept, best = scores.topk(len(answer))
        queries = torch.div(best, head.num_classes, rounding_mode='floor')
        ((locations, weights),) = samples
        found = []
        for score, query, label, box in zip(
            kept.tolist(), queries, answer.labels.tolist(), answer.bboxes
        ):
            if score >= score_thr:
                points = locations[0, query].flatten(0, -2)
                shares = weights[0, query].flatten() / weights.shape[2]
                found.append(
                    Evidence(label, score, box, points=points, shares=shares)
                )
        return found

    def param_groups(self) -> list[ParamGroup]:
        """Shared norms to encoder, and the own groups of each dataset."""
        shared = ['neck', 'level_embed', 'encoder']
        if any(True for _ in self.encoder.norms.parameters()):
            shared.insert(0, 'norms')
        groups = [
            ParamGroup(f'localization/{name}', None, (f'encoder.{name}',))
            for name in shared
        ]
        groups += [
            ParamGroup(f'localization/{name}', None, (name,))
            for name in ('decoder', 'queries', 'label_embedding')
            if getattr(self, name) is not None
        ]
        for dataset, module in self.tasks.items():
            task = self.task_names[dataset]
            own = f'tasks.{dataset}'
            names = ['selection']
            if module.memory_projection is not None:
                names.append('memory_projection')
            prefixes = tuple(f'{own}.{name}' for name in names)
            groups.append(ParamGroup(f'{task}/selection', task, prefixes))
            for name in ('decoder', 'head', 'queries', 'label_embedding'):
                if getattr(module, name) is not None:
                    group = ParamGroup(
                        f'{task}/{name}',
                        task,
                        (f'{own}.{name}',),
                        heavy=name == 'decoder',
                    )
                    groups.append(group)
        return groups


def _metric(task: Task) -> LocMetric:
    metric = METRICS.build(task.metric_cfg())
    metric.dataset_meta = task.meta
    return metric


def _merge(
    plain: InstanceData, mirrored: InstanceData, sample: FXDataSample
) -> InstanceData:
    """Join the boxes of an image and its mirror image, in original pixels."""
    mirrored.bboxes = bbox_flip(mirrored.bboxes, sample.ori_shape[:2])
    both = InstanceData.cat([plain, mirrored])
    if not len(both):
        return plain
    # mmcv's needs operators that were compiled for the device
    kept = batched_nms(
        both.bboxes.float(), both.scores.float(), both.labels, NMS_IOU
    )
    return both[kept[: max(len(plain), len(mirrored))]]
