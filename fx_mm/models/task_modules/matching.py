"""Matching of queries and boxes, all layers and images at once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.models.task_modules.assigners import (
    BBoxL1Cost,
    FocalLossCost,
    IoUCost,
)
from mmdet.registry import TASK_UTILS as MMDET
from mmdet.structures.bbox import (
    bbox_cxcywh_to_xyxy,
    bbox_overlaps,
    bbox_xyxy_to_cxcywh,
)
from mmengine.registry import DefaultScope
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fx_mm.registry import TASK_UTILS
from fx_mm.utils.errors import UserError


class _Batch(NamedTuple):
    scores: Tensor
    pixels: Tensor
    labels: Tensor
    truth: Tensor
    sizes: Tensor


@TASK_UTILS.register_module()
class StackedMatcher:
    """Hungarian matching on one cost tensor.

    Takes the config of ``mmdet.HungarianAssigner`` and returns its indices,
    but computes the costs of all decoder layers and images together and
    copies them to the host once. Costs that are not finite count as very
    high, so a diverged step reaches its (non-finite) loss and can be skipped
    there, instead of failing in the assignment.

    Args:
        match_costs (dict or Sequence[dict]): Configs of ``mmdet``'s
            ``FocalLossCost``, ``BBoxL1Cost`` and ``IoUCost``, in the order
            in which they are summed.

    Raises:
        UserError: If there is another cost, or none.
    """

    def __init__(
        self, match_costs: dict[str, Any] | Sequence[dict[str, Any]]
    ) -> None:
        if isinstance(match_costs, dict):
            match_costs = [match_costs]
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.match_costs = [MMDET.build(cost) for cost in match_costs]
        for cost in self.match_costs or [None]:
            if type(cost) not in COSTS or getattr(cost, 'binary_input', False):
                raise UserError(
                    'model localization.train_cfg.assigner.match_costs has '
                    f'{type(cost).__name__}; known are FocalLossCost (of '
                    'labels), BBoxL1Cost and IoUCost.'
                )

    @torch.no_grad()
    def __call__(
        self,
        scores: Tensor,
        boxes: Tensor,
        labels: list[Tensor],
        truth: list[Tensor],
        sizes: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match every layer of every image.

        Args:
            scores (Tensor): Class logits (K, B, Q, C) of K layers.
            boxes (Tensor): Boxes (K, B, Q, 4), normalised cxcywh.
            labels (list[Tensor]): Class of each true box, (n,) per image.
            truth (list[Tensor]): True boxes, (n, 4) per image, xyxy in pixels.
            sizes (Tensor): (B, 4), width, height, width, height of the images
                in pixels.

        Returns:
            tuple[Tensor, Tensor, Tensor]: For the N matches of each layer,
            the image (N,), the query (K, N) and the true box (K, N), the
            latter as an index into the boxes of the batch in order.
        """
        counts = [len(x) for x in labels]
        if sum(counts) == 0:
            empty = scores.new_zeros((len(scores), 0), dtype=torch.long)
            return empty[0], empty, empty
        costs = self.cost(
            scores,
            boxes,
            pad_sequence(labels, batch_first=True),
            pad_sequence(truth, batch_first=True),
            sizes[:, None],
        )
        cost = costs.nan_to_num(1e8, 1e8, -1e8).cpu().numpy()
        images, queries, matches = [], [], []
        for layer in range(len(cost)):
            start = 0
            row, column = [], []
            for image, count in enumerate(counts):
                query, match = linear_sum_assignment(
                    cost[layer, image, :, :count]
                )
                row.append(query)
                column.append(match + start)
                start += count
                if layer == 0:
                    images.append(np.full(len(query), image))
            queries.append(np.concatenate(row))
            matches.append(np.concatenate(column))
        found = np.stack([np.concatenate(images), *queries, *matches])
        packed = torch.from_numpy(found).to(scores.device, non_blocking=True)
        layers = len(queries)
        return packed[0], packed[1 : 1 + layers], packed[1 + layers :]

    def cost(
        self,
        scores: Tensor,
        boxes: Tensor,
        labels: Tensor,
        truth: Tensor,
        sizes: Tensor,
    ) -> Tensor:
        """Cost (K, B, Q, G) of giving a query to one of G padded boxes.

        The order of operations is mmdet's, pixels and back, so that equal
        inputs lead to equal indices.
        """
        pixels = bbox_cxcywh_to_xyxy(boxes) * sizes
        batch = _Batch(scores, pixels, labels, truth, sizes)
        costs = [
            COSTS[type(cost)](cost, batch) * cost.weight
            for cost in self.match_costs
        ]
        return torch.stack(costs).sum(dim=0)


def _focal(cost: FocalLossCost, batch: _Batch) -> Tensor:
    probs = batch.scores.sigmoid()
    negative = -(1 - probs + cost.eps).log() * (1 - cost.alpha)
    negative = negative * probs.pow(cost.gamma)
    positive = -(probs + cost.eps).log() * cost.alpha
    positive = positive * (1 - probs).pow(cost.gamma)
    index = batch.labels[:, None].expand(*probs.shape[:3], -1)
    return positive.gather(-1, index) - negative.gather(-1, index)


def _distance(cost: BBoxL1Cost, batch: _Batch) -> Tensor:
    ours, theirs = batch.pixels, batch.truth
    if cost.box_format == 'xywh':
        ours, theirs = bbox_xyxy_to_cxcywh(ours), bbox_xyxy_to_cxcywh(theirs)
    ours, theirs = ours / batch.sizes, theirs / batch.sizes
    return (ours[..., None, :] - theirs[:, None]).abs().sum(-1)


def _overlap(cost: IoUCost, batch: _Batch) -> Tensor:
    truth = batch.truth.expand(len(batch.pixels), *batch.truth.shape)
    return -bbox_overlaps(batch.pixels, truth, mode=cost.iou_mode)


COSTS: dict[type, Callable[[Any, _Batch], Tensor]] = {
    FocalLossCost: _focal,
    BBoxL1Cost: _distance,
    IoUCost: _overlap,
}
