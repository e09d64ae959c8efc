"""Matching of queries and boxes."""

from typing import Optional

from mmdet.models.task_modules.assigners import (
    AssignResult,
    BBoxL1Cost,
    HungarianAssigner,
)
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmengine.structures import InstanceData
from torch import Tensor

from fx_mm.registry import TASK_UTILS


@TASK_UTILS.register_module()
class BoxL1Cost(BBoxL1Cost):
    """L1 cost of normalised boxes without ``torch.cdist``.

    Same values as ``mmdet.BBoxL1Cost``; ``cdist`` is slow for four numbers a
    row and has no half-precision form.
    """

    def __call__(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        img_meta: Optional[dict] = None,
        **kwargs,
    ) -> Tensor:
        """Cost matrix.

        Args:
            pred_instances (InstanceData): ``bboxes`` (num_queries, 4), xyxy
                in pixels.
            gt_instances (InstanceData): ``bboxes`` (num_boxes, 4), the same.
            img_meta (dict): Has ``img_shape`` (h, w).

        Returns:
            Tensor: Costs of shape (num_queries, num_boxes).
        """
        pred, truth = pred_instances.bboxes, gt_instances.bboxes
        if self.box_format == 'xywh':
            pred = bbox_xyxy_to_cxcywh(pred)
            truth = bbox_xyxy_to_cxcywh(truth)
        height, width = img_meta['img_shape']
        factor = truth.new_tensor([[width, height, width, height]])
        gap = (pred / factor)[:, None] - (truth / factor)[None]
        return gap.abs().sum(-1) * self.weight


@TASK_UTILS.register_module()
class FiniteHungarianAssigner(HungarianAssigner):
    """Hungarian assigner that survives a diverging step.

    ``linear_sum_assignment`` raises on NaN before any loss exists, so a
    non-finite step could not be skipped by its loss. Predictions that are
    not finite are replaced for the matching only; the loss stays NaN.
    """

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        img_meta: Optional[dict] = None,
        **kwargs,
    ) -> AssignResult:
        """Match queries to boxes, see ``mmdet.HungarianAssigner``."""
        finite = InstanceData(
            scores=pred_instances.scores.nan_to_num(0.0, 1e4, -1e4),
            bboxes=pred_instances.bboxes.nan_to_num(0.0, 1e4, -1e4),
        )
        return super().assign(finite, gt_instances, img_meta, **kwargs)
