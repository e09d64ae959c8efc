"""Matching of queries and boxes, all layers and images at once."""

import numpy as np
import torch
from mmdet.structures.bbox import (
    bbox_cxcywh_to_xyxy,
    bbox_overlaps,
    bbox_xyxy_to_cxcywh,
)
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fx_mm.registry import TASK_UTILS


@TASK_UTILS.register_module()
class StackedMatcher:
    """Hungarian matching on one cost tensor.

    Gives the indices of ``mmdet.HungarianAssigner`` with focal, L1 and GIoU
    costs, but computes the costs of all decoder layers and images together
    and copies them to the host once. Costs that are not finite count as very
    high, so a diverged step reaches its (non-finite) loss and can be skipped
    there, instead of failing in the assignment.

    Args:
        cls_weight (float): Weight of the focal cost. Defaults to 2.
        box_weight (float): Weight of the L1 cost of normalised cxcywh boxes.
            Defaults to 5.
        iou_weight (float): Weight of the GIoU cost. Defaults to 2.
        alpha (float): Of the focal cost. Defaults to 0.25.
        gamma (float): Of the focal cost. Defaults to 2.
    """

    def __init__(
        self,
        cls_weight: float = 2.0,
        box_weight: float = 5.0,
        iou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        self.cls_weight = cls_weight
        self.box_weight = box_weight
        self.iou_weight = iou_weight
        self.alpha = alpha
        self.gamma = gamma

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
            tuple[Tensor]: For the N matches of each layer, the image (N,),
            the query (K, N) and the true box (K, N), the latter as an index
            into the boxes of the batch in order.
        """
        counts = [len(x) for x in labels]
        if sum(counts) == 0:
            empty = scores.new_zeros((len(scores), 0), dtype=torch.long)
            return empty[0], empty, empty
        cost = self.cost(
            scores,
            boxes,
            pad_sequence(labels, batch_first=True),
            pad_sequence(truth, batch_first=True),
            sizes[:, None],
        )
        cost = cost.nan_to_num(1e8, 1e8, -1e8).cpu().numpy()
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
        packed = np.stack([np.concatenate(images), *queries, *matches])
        packed = torch.from_numpy(packed).to(scores.device, non_blocking=True)
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
        inputs give equal indices.
        """
        pixels = bbox_cxcywh_to_xyxy(boxes) * sizes
        probs = scores.sigmoid()
        negative = -(1 - probs + 1e-12).log() * (1 - self.alpha)
        negative = negative * probs.pow(self.gamma)
        positive = -(probs + 1e-12).log() * self.alpha
        positive = positive * (1 - probs).pow(self.gamma)
        index = labels[:, None].expand(*scores.shape[:3], -1)
        focal = positive.gather(-1, index) - negative.gather(-1, index)

        ours = bbox_xyxy_to_cxcywh(pixels) / sizes
        theirs = bbox_xyxy_to_cxcywh(truth) / sizes
        gap = (ours[..., None, :] - theirs[:, None]).abs().sum(-1)

        overlap = bbox_overlaps(
            pixels, truth.expand(len(boxes), *truth.shape), mode='giou'
        )
        costs = [
            focal * self.cls_weight,
            gap * self.box_weight,
            -overlap * self.iou_weight,
        ]
        return torch.stack(costs).sum(dim=0)
