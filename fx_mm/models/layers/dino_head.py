"""DINO head of one dataset: its layers share one set of weights."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from mmdet.models.dense_heads import DINOHead
from mmdet.models.layers import inverse_sigmoid
from mmdet.models.losses import CrossEntropyLoss, FocalLoss
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from torch import Tensor, nn

from fx_mm.models.layers.denoising import image_sizes
from fx_mm.models.task_modules import StackedMatcher
from fx_mm.registry import MODELS
from fx_mm.utils.dist import count_per_rank
from fx_mm.utils.errors import UserError


class BoxMLP(nn.Sequential):
    """Three-layer box regression that stays in float32 under autocast.

    Args:
        dims (int): Width of input and hidden layers.
        num_fcs (int): Number of hidden layers. Defaults to 2.
    """

    def __init__(self, dims: int, num_fcs: int = 2) -> None:
        layers = []
        for _ in range(num_fcs):
            layers += [nn.Linear(dims, dims), nn.ReLU()]
        super().__init__(*layers, nn.Linear(dims, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Unactivated box offsets (..., 4) of features (..., dims)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


@MODELS.register_module()
class TaskDINOHead(DINOHead):
    """``mmdet.DINOHead`` with the weight sharing of the paper.

    All decoder layers share one class and one box branch; the encoder's
    proposals have branches of their own (reference 1.4). mmdet's DINO can
    only have both shared or none. The losses have mmdet's values and names,
    but all layers and images are computed together and matched in one call.
    The authors' code has more logits than classes, counts its labels from 1
    and has output branches apart from the decoder's; the last three options
    reproduce that.

    Args:
        num_classes (int): Number of classes of the dataset.
        num_layers (int): Number of decoder layers.
        embed_dims (int): Width of the queries.
        matcher (StackedMatcher): Matches queries and true boxes.
        proposal_loss_weight (float): Weight of the loss on the encoder
            proposals; 0 as in the reference code. Defaults to 1.
        separate_outputs (bool): Whether the predicted boxes come from a box
            branch of their own, while ``box_branch`` only refines the
            reference boxes inside the decoder. Defaults to False.
        num_logits (int, optional): Width of the class branches; all logits
            enter the focal loss and rank the proposals, predictions drop
            those that belong to no class. None: ``first_label`` and the
            number of classes. Defaults to None.
        first_label (int): Logit, and row of the label embedding, of class 0.
            Defaults to 0.
        **kwargs (Any): Further arguments of ``mmdet.DINOHead``.

    Raises:
        UserError: If ``num_logits`` does not hold the classes, or the class
            loss is not one of single logits.
    """

    def __init__(
        self,
        num_classes: int,
        num_layers: int,
        embed_dims: int,
        matcher: StackedMatcher,
        proposal_loss_weight: float = 1.0,
        separate_outputs: bool = False,
        num_logits: int | None = None,
        first_label: int = 0,
        **kwargs: Any,
    ) -> None:
        needed = first_label + num_classes
        if num_logits is not None and num_logits < needed:
            raise UserError(
                f'model localization.num_logits is {num_logits}, but '
                f'{num_classes} classes from first_label {first_label} on '
                f'need {needed}; raise it.'
            )
        self.separate_outputs = separate_outputs
        self.num_logits = num_logits or needed
        self.first_label = first_label
        self.num_layers = num_layers
        self.proposal_loss_weight = proposal_loss_weight
        super().__init__(
            num_classes=num_classes,
            embed_dims=embed_dims,
            share_pred_layer=True,
            num_pred_layer=num_layers + 1,
            as_two_stage=True,
            train_cfg=None,
            **kwargs,
        )
        self.matcher = matcher
        loss = self.loss_cls
        if not (
            isinstance(loss, (FocalLoss, CrossEntropyLoss))
            and loss.use_sigmoid
        ):
            raise UserError(
                'model localization.bbox_head.loss_cls is a '
                f'{type(loss).__name__}; use FocalLoss, or CrossEntropyLoss '
                'with use_sigmoid=True.'
            )

    def _init_layers(self) -> None:
        """One pair of branches for the layers, one for the proposals."""
        dims, logits = self.embed_dims, self.num_logits
        self.cls_branch = nn.Linear(dims, logits)
        self.box_branch = BoxMLP(dims, self.num_reg_fcs)
        self.proposal_cls_branch = nn.Linear(dims, logits)
        self.proposal_box_branch = BoxMLP(dims, self.num_reg_fcs)
        if self.separate_outputs:
            self.output_box_branch = BoxMLP(dims, self.num_reg_fcs)

    def init_weights(self) -> None:
        """Initialise as mmdet's head; boxes start at their references."""
        super().init_weights()
        if self.separate_outputs:
            last = cast(nn.Linear, self.output_box_branch[-1])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def cls_branches(self) -> list[nn.Linear]:
        """Class branch by layer; the last one is the proposals'."""
        return [self.cls_branch] * self.num_layers + [self.proposal_cls_branch]

    @property
    def reg_branches(self) -> list[BoxMLP]:
        """Refining box branch by layer; the last one is the proposals'."""
        return [self.box_branch] * self.num_layers + [self.proposal_box_branch]

    def forward(
        self,
        hidden_states: Tensor,
        references: Tensor | Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Class logits and boxes of all layers, in float32.

        Args:
            hidden_states (Tensor): (layers, B, queries, dims).
            references (Tensor): Reference boxes (layers + 1, B, queries, 4),
                normalised cxcywh; the last one is not used.

        Returns:
            tuple[Tensor]: Logits (layers, B, queries, C) and boxes
            (layers, B, queries, 4), normalised cxcywh.
        """
        box_branch = (
            self.output_box_branch
            if self.separate_outputs
            else self.box_branch
        )
        with torch.autocast(hidden_states.device.type, enabled=False):
            hidden_states = hidden_states.float()
            anchors = inverse_sigmoid(references[:-1])
            boxes = box_branch(hidden_states) + anchors
            return self.cls_branch(hidden_states), boxes.sigmoid()

    def loss(
        self,
        hidden_states: Tensor,
        references: Tensor,
        proposal_scores: Tensor,
        proposal_boxes: Tensor,
        data_samples: list[Any],
        dn_meta: dict[str, int] | None,
    ) -> dict[str, Tensor]:
        """Losses of all layers, the denoising queries and the proposals.

        Args:
            hidden_states (Tensor): (layers, B, queries, dims).
            references (Tensor): Reference boxes (layers + 1, B, queries, 4),
                normalised cxcywh.
            proposal_scores (Tensor): Class logits of the selected proposals.
            proposal_boxes (Tensor): Their boxes, normalised cxcywh.
            data_samples (list): Have ``gt_instances`` and ``img_shape``.
            dn_meta (dict, optional): Counts of the denoising queries; None
                without denoising.

        Returns:
            dict[str, Tensor]: Losses under mmdet's names: ``loss_cls``,
            ``loss_bbox``, ``loss_iou``, with ``d0.`` .. for earlier layers,
            ``dn_`` for denoising queries and ``enc_`` for proposals.
        """
        scores, boxes = self(hidden_states, references)
        labels = [
            sample.gt_instances.labels + self.first_label
            for sample in data_samples
        ]
        truth = [sample.gt_instances.bboxes for sample in data_samples]
        sizes = image_sizes(data_samples, boxes)
        target = (torch.cat(labels), torch.cat(truth), sizes)
        names = [f'd{i}.' for i in range(self.num_layers - 1)] + ['']

        losses = {}
        count = dn_meta['num_denoising_queries'] if dn_meta else 0
        if dn_meta is not None:
            pairs = self._denoising_pairs(labels, dn_meta)
            values = self._losses(
                scores[:, :, :count], boxes[:, :, :count], *pairs, *target
            )
            losses.update(self._named(values, [n + 'dn_' for n in names]))
        scores, boxes = scores[:, :, count:], boxes[:, :, count:]
        weight = self.proposal_loss_weight
        if weight:
            scores = torch.cat([scores, proposal_scores[None]])
            boxes = torch.cat([boxes, proposal_boxes[None]])
            names = [*names, 'enc_']
        pairs = self.matcher(scores, boxes, labels, truth, sizes)
        values = self._losses(scores, boxes, *pairs, *target)
        losses.update(self._named(values, names))
        if weight not in (0, 1):
            for key in losses:
                if key.startswith('enc_'):
                    losses[key] = losses[key] * weight
        return losses

    @staticmethod
    def _named(
        values: dict[str, Tensor], prefixes: list[str]
    ) -> dict[str, Tensor]:
        return {
            prefix + key: value
            for key, layers in values.items()
            for prefix, value in zip(prefixes, layers.unbind())
        }

    @staticmethod
    def _denoising_pairs(
        labels: list[Tensor], dn_meta: dict[str, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Image, query and true box of the positive denoising queries."""
        groups = dn_meta['num_denoising_groups']
        width = dn_meta['num_denoising_queries'] // groups
        device = labels[0].device
        images = [torch.full_like(x, i) for i, x in enumerate(labels)]
        slots = [torch.arange(len(x), device=device) for x in labels]
        starts = torch.arange(groups, device=device)[:, None] * width
        queries = (starts + torch.cat(slots)).flatten()
        boxes = torch.arange(sum(map(len, labels)), device=device)
        return (
            torch.cat(images).repeat(groups),
            queries[None],
            boxes.repeat(groups)[None],
        )

    def _losses(
        self,
        scores: Tensor,
        boxes: Tensor,
        images: Tensor,
        queries: Tensor,
        matches: Tensor,
        labels: Tensor,
        truth: Tensor,
        sizes: Tensor,
    ) -> dict[str, Tensor]:
        """Losses (K,) of K layers.

        Args:
            scores (Tensor): Class logits (K, B, Q, C).
            boxes (Tensor): Boxes (K, B, Q, 4), normalised cxcywh.
            images (Tensor): Image of each match (N,).
            queries (Tensor): Query of each match (K or 1, N).
            matches (Tensor): True box of each match (K or 1, N).
            labels (Tensor): Logit of each true box of the batch.
            truth (Tensor): True boxes of the batch, xyxy in pixels.
            sizes (Tensor): (B, 4), width, height twice, in pixels.
        """
        layers = torch.arange(len(scores), device=scores.device)[:, None]
        average = count_per_rank(scores.new_full((1,), float(len(images))))
        target = labels.new_full(scores.shape[:3], self.num_logits)
        target[layers, images, queries] = labels[matches]
        # One-hot: from labels, mmdet's focal loss needs an operator of mmcv on
        # a GPU, and waits for the labels' range elsewhere.
        classes = torch.arange(self.num_logits, device=scores.device)
        focal = self.loss_cls(
            scores.flatten(0, 2),
            (target.flatten()[:, None] == classes).to(scores.dtype),
            reduction_override='none',
        )
        losses = dict(loss_cls=focal.reshape(len(scores), -1).sum(1) / average)
        if len(images) == 0:
            zero = boxes.flatten(1).sum(1) * 0
            return dict(losses, loss_bbox=zero, loss_iou=zero)
        ours = boxes[layers, images, queries]
        factor = sizes[images]
        theirs = bbox_xyxy_to_cxcywh(truth[matches] / factor)
        theirs = theirs.expand_as(ours)
        gap = self.loss_bbox(ours, theirs, reduction_override='none')
        overlap = self.loss_iou(
            (bbox_cxcywh_to_xyxy(ours) * factor).flatten(0, 1),
            (bbox_cxcywh_to_xyxy(theirs) * factor).flatten(0, 1),
            reduction_override='none',
        )
        losses['loss_bbox'] = gap.sum((1, 2)) / average
        losses['loss_iou'] = overlap.view(ours.shape[:2]).sum(1) / average
        return losses

    def class_logits(self, logits: Tensor) -> Tensor:
        """The logits (..., num_classes) of the dataset's own classes."""
        return logits.narrow(-1, self.first_label, self.num_classes)

    def predict(
        self,
        hidden_states: Tensor,
        references: Tensor,
        data_samples: list[Any],
    ) -> list[Any]:
        """Best boxes of the last layer in original pixels.

        Returns:
            list[InstanceData]: ``bboxes`` xyxy, ``scores``, ``labels``, the
            latter from 0 to ``num_classes - 1``.
        """
        scores, boxes = self(hidden_states[-1:], references[-2:])
        return self.predict_by_feat(
            self.class_logits(scores).contiguous(),
            boxes,
            batch_img_metas=[sample.metainfo for sample in data_samples],
            rescale=True,
        )
