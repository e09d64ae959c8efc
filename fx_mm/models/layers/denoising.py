"""Contrastive denoising queries with an embedding given from outside."""

import torch
from mmdet.models.layers import CdnQueryGenerator
from torch import Tensor, nn


class DenoisingQueries(CdnQueryGenerator):
    """``mmdet.CdnQueryGenerator`` without an embedding of its own.

    The label embedding may be shared by datasets with different numbers of
    classes (the authors' layout), so it is an argument of the call; the label
    noise stays within the classes of the dataset.

    Args:
        num_dn_queries (int): Pairs of a positive and a negative query that an
            image gets at most, as long as its boxes are fewer. Defaults to
            100.
        **kwargs: Further arguments of ``mmdet.CdnQueryGenerator``;
            ``label_noise_scale`` is 0.5 and ``box_noise_scale`` 1.0 by
            default, as in the paper.
    """

    def __init__(self, num_dn_queries: int = 100, **kwargs) -> None:
        super().__init__(
            group_cfg=dict(dynamic=True, num_dn_queries=num_dn_queries),
            **kwargs,
        )
        del self.label_embedding

    def __call__(
        self, data_samples: list, label_embedding: nn.Embedding
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, int]]:
        """Draw noisy queries around the boxes of a batch.

        Args:
            data_samples (list): Have ``img_shape`` and ``gt_instances``.
            label_embedding (nn.Embedding): Rows for the classes.

        Returns:
            tuple: Content queries (B, n, dims), unactivated boxes (B, n, 4),
            the attention mask (n + queries, n + queries), True where
            blocked, and the counts ``num_denoising_queries`` and
            ``num_denoising_groups``.
        """
        boxes, labels, owners = [], [], []
        for index, sample in enumerate(data_samples):
            height, width = sample.img_shape[:2]
            truth = sample.gt_instances
            size = truth.bboxes.new_tensor([width, height, width, height])
            boxes.append(truth.bboxes / size)
            labels.append(truth.labels)
            owners.append(torch.full_like(truth.labels, index))
        most = max(len(x) for x in labels)
        groups = self.get_num_groups(most)
        noisy = self._noisy_labels(torch.cat(labels), groups)
        content, anchors = self.collate_dn_queries(
            label_embedding(noisy),
            self.generate_dn_bbox_query(torch.cat(boxes), groups),
            torch.cat(owners),
            len(data_samples),
            groups,
        )
        mask = self.generate_dn_mask(most, groups, content.device)
        meta = dict(
            num_denoising_queries=most * 2 * groups,
            num_denoising_groups=groups,
        )
        return content, anchors, mask, meta

    def _noisy_labels(self, labels: Tensor, groups: int) -> Tensor:
        """Repeat the labels and replace a share by random classes."""
        labels = labels.repeat(2 * groups)
        chosen = torch.rand(labels.shape, device=labels.device)
        random = torch.randint_like(labels, self.num_classes)
        # half of the scale, as in the DINO code
        return torch.where(
            chosen < self.label_noise_scale * 0.5, random, labels
        )
