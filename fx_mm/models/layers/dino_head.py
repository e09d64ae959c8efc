"""DINO head of one dataset: its layers share one set of weights."""

from typing import Dict, List, Optional, Tuple

import torch
from mmdet.models.dense_heads import DINOHead
from torch import Tensor, nn

from fx_mm.registry import MODELS


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
    only have both shared or none. The losses are mmdet's, computed in
    float32.

    Args:
        num_classes (int): Number of classes of the dataset.
        num_layers (int): Number of decoder layers.
        embed_dims (int): Width of the queries.
        proposal_loss_weight (float): Weight of the loss on the encoder
            proposals; 0 as in the reference code. Defaults to 1.
        **kwargs: Further arguments of ``mmdet.DINOHead`` (losses,
            ``train_cfg``, ``test_cfg``).
    """

    def __init__(
        self,
        num_classes: int,
        num_layers: int,
        embed_dims: int,
        proposal_loss_weight: float = 1.0,
        **kwargs,
    ) -> None:
        self.num_layers = num_layers
        self.proposal_loss_weight = proposal_loss_weight
        super().__init__(
            num_classes=num_classes,
            embed_dims=embed_dims,
            sync_cls_avg_factor=True,
            share_pred_layer=True,
            num_pred_layer=num_layers + 1,
            as_two_stage=True,
            **kwargs,
        )

    def _init_layers(self) -> None:
        """One pair of branches for the layers, one for the proposals."""
        dims, classes = self.embed_dims, self.cls_out_channels
        self.cls_branch = nn.Linear(dims, classes)
        self.box_branch = BoxMLP(dims, self.num_reg_fcs)
        self.proposal_cls_branch = nn.Linear(dims, classes)
        self.proposal_box_branch = BoxMLP(dims, self.num_reg_fcs)

    @property
    def cls_branches(self) -> List[nn.Module]:
        """Class branch by layer; the last one is the proposals'."""
        return [self.cls_branch] * self.num_layers + [self.proposal_cls_branch]

    @property
    def reg_branches(self) -> List[nn.Module]:
        """Box branch by layer; the last one is the proposals'."""
        return [self.box_branch] * self.num_layers + [self.proposal_box_branch]

    def loss(
        self,
        hidden_states: Tensor,
        references: List[Tensor],
        proposal_scores: Tensor,
        proposal_boxes: Tensor,
        data_samples: List,
        dn_meta: Optional[Dict[str, int]],
    ) -> Dict[str, Tensor]:
        """Losses of all layers, the denoising queries and the proposals.

        Args:
            hidden_states (Tensor): (layers, B, queries, dims).
            references (list[Tensor]): ``layers + 1`` reference boxes
                (B, queries, 4), normalised cxcywh.
            proposal_scores (Tensor): Class logits of the selected proposals.
            proposal_boxes (Tensor): Their boxes, normalised cxcywh.
            data_samples (list): Have ``gt_instances``.
            dn_meta (dict, optional): Counts of the denoising queries; None
                without denoising.

        Returns:
            dict[str, Tensor]: Losses under mmdet's names.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            losses = super().loss(
                hidden_states.float(),
                references,
                proposal_scores,
                proposal_boxes,
                data_samples,
                dn_meta,
            )
        for key in losses:
            if key.startswith('enc_'):
                losses[key] = losses[key] * self.proposal_loss_weight
        return losses

    @staticmethod
    def split_outputs(
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        dn_meta: Optional[Dict[str, int]],
    ) -> Tuple[Optional[Tensor], ...]:
        """Split matching and denoising outputs; all match without meta."""
        if dn_meta is None:
            return all_layers_cls_scores, all_layers_bbox_preds, None, None
        return DINOHead.split_outputs(
            all_layers_cls_scores, all_layers_bbox_preds, dn_meta
        )

    def predict(
        self,
        hidden_states: Tensor,
        references: List[Tensor],
        data_samples: List,
    ) -> List:
        """Best boxes of the last layer in original pixels.

        Returns:
            list[InstanceData]: ``bboxes`` xyxy, ``scores``, ``labels``.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            return super().predict(
                hidden_states[-1:].float(),
                references[-2:],
                data_samples,
                rescale=True,
            )
