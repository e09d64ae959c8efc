"""Contrastive denoising queries with an embedding given from outside."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.layers import CdnQueryGenerator
from torch import Tensor, nn


def image_sizes(data_samples: list[Any], like: Tensor) -> Tensor:
    """Width, height, width, height of the images in pixels.

    Args:
        data_samples (list): Have ``img_shape``.
        like (Tensor): Gives dtype and device.

    Returns:
        Tensor: (B, 4).
    """
    sizes = [[*sample.img_shape[1::-1]] * 2 for sample in data_samples]
    # A copy that blocks would wait for all kernels in flight.
    return torch.tensor(sizes, dtype=like.dtype).to(
        like.device, non_blocking=True
    )


class DenoisingQueries(CdnQueryGenerator):
    """``mmdet.CdnQueryGenerator`` without an embedding of its own.

    The label embedding may be shared by datasets with different numbers of
    classes (the authors' layout), so it is an argument of the call; the label
    noise stays within the classes of the dataset, also where the embedding
    has further rows (the authors draw from all rows). Nothing waits for the
    device.

    Args:
        first_label (int): Row of class 0 in the label embedding. Defaults to
            0.
        **kwargs (Any): Arguments of ``mmdet.CdnQueryGenerator``. By its
            dynamic groups an image gets at most ``num_dn_queries`` pairs of
            a positive and a negative query, as long as its boxes are fewer.
    """

    def __init__(self, first_label: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        del self.label_embedding
        self.first_label = first_label

    def __call__(
        self, data_samples: list[Any], label_embedding: nn.Embedding
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
        truth = [sample.gt_instances for sample in data_samples]
        labels = torch.cat([x.labels for x in truth])
        boxes = torch.cat([x.bboxes for x in truth])
        owners = torch.cat(
            [torch.full_like(x.labels, i) for i, x in enumerate(truth)]
        )
        slots = torch.cat(
            [torch.arange(len(x), device=boxes.device) for x in truth]
        )
        most = max(len(x) for x in truth)
        groups = self.get_num_groups(most)
        boxes = boxes / image_sizes(data_samples, boxes)[owners]
        # A pair of blocks, positive and negative, per group.
        blocks = torch.arange(2 * groups, device=boxes.device)
        index = (
            owners.repeat(2 * groups),
            (blocks[:, None] * most + slots).flatten(),
        )
        shape = (len(truth), 2 * groups * most)
        content = label_embedding(self._noisy_labels(labels, groups))
        content = content.new_zeros(*shape, self.embed_dims).index_put(
            index, content
        )
        anchors = self.generate_dn_bbox_query(boxes, groups)
        anchors = anchors.new_zeros(*shape, 4).index_put(index, anchors)
        mask = self.generate_dn_mask(most, groups, boxes.device)
        meta = dict(
            num_denoising_queries=most * 2 * groups,
            num_denoising_groups=groups,
        )
        return content, anchors, mask, meta

    def generate_dn_mask(
        self, max_num_target: int, num_groups: int, device: torch.device
    ) -> Tensor:
        """Attention mask of ``mmdet.CdnQueryGenerator`` in one comparison.

        Args:
            max_num_target (int): Most boxes of an image.
            num_groups (int): Number of denoising groups.
            device (torch.device): Where to build it.

        Returns:
            Tensor: (n + queries, n + queries), True where blocked: a
            denoising query is seen by its own group alone.
        """
        group = torch.arange(num_groups, device=device)
        group = group.repeat_interleave(2 * max_num_target)
        group = F.pad(group, (0, self.num_matching_queries), value=num_groups)
        return (group[:, None] != group) & (group < num_groups)

    def _noisy_labels(self, labels: Tensor, groups: int) -> Tensor:
        """Repeat the labels and replace a share by random classes.

        Returns:
            Tensor: Rows of the label embedding.
        """
        labels = labels.repeat(2 * groups)
        chosen = torch.rand(labels.shape, device=labels.device)
        random = torch.randint_like(labels, self.num_classes)
        # half of the scale, as in the DINO code
        noisy = torch.where(
            chosen < self.label_noise_scale * 0.5, random, labels
        )
        return noisy + self.first_label
