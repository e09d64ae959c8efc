"""Test-time augmentation: one prediction from several views of an image."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.structures.bbox import bbox_flip
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.transforms.functional import center_crop, five_crop

from fx_mm.structures import FXDataSample
from fx_mm.utils.errors import UserError

NMS = dict(type='nms', iou_threshold=0.5)
"""Merges the boxes of two views, as mmdet's test-time augmentation does."""


def build_views(tasks: Sequence[dict]) -> dict[str, 'MultiView']:
    """Give the augmentation of each task that has ``tta``."""
    return {
        f'{task["dataset"]}/{task["kind"]}': MultiView(
            task['kind'], task['tta'], task.get('img_size')
        )
        for task in tasks
        if task.get('tta') is not None
    }


class MultiView:
    """Predict on several views, one after the other, and merge.

    Each view is a batch of its own, so memory stays that of one. What is
    averaged are probabilities:

    - classification: the vectors of all views;
    - segmentation: the maps of the image and of its mirror image, flipped
      back;
    - localization: the boxes of both go through NMS class by class (a
      single view has none); as many as of one view stay.

    Where classes have a side (left lung, right lung), a mirror image does not
    show what the model has learned.

    Args:
        kind (str): Task kind, ``'cls'``, ``'loc'`` or ``'seg'``.
        name (str): ``'flip'``: the image and its mirror image; for ``cls``
            also ``'center_crop'`` and ``'ten_crop'``: the four corners, the
            centre and their mirror images, each of ``img_size``, of images
            that the test pipeline makes larger (Ark: 224 of 256 pixels).
        img_size (int): Side of a crop in pixels.
    """

    def __init__(self, kind: str, name: str, img_size: int) -> None:
        self.kind = kind
        self.name = name
        self.img_size = img_size

    def __call__(
        self,
        infer: Callable[[Tensor, list], Any],
        inputs: Tensor,
        data_samples: list,
    ) -> Any:
        """Infer on each view and merge.

        Args:
            infer (Callable): Gives the answer of a branch, see
                :meth:`Branch.infer`, to images and samples.
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task, with
                ``img_shape``, the part of the image that is no padding.

        Returns:
            Tensor or list: Like one answer of ``infer``.

        Raises:
            UserError: If an image is too small for the crops.
        """
        if self.name != 'flip':
            return _mean(infer(*v) for v in self._crops(inputs, data_samples))
        answers = (
            infer(inputs, data_samples),
            infer(_mirrored(inputs, data_samples), data_samples),
        )
        if self.kind == 'loc':
            return [_merge(*each) for each in zip(*answers, data_samples)]
        if self.kind == 'seg':
            answers = answers[0], _mirrored(answers[1], data_samples)
        return _mean(answers)

    def _crops(
        self, inputs: Tensor, data_samples: list
    ) -> Iterator[tuple[Tensor, list]]:
        side = self.img_size
        wholes = []
        for image, sample in zip(inputs, data_samples):
            height, width = sample.img_shape[:2]
            if min(height, width) < side or height == width == side:
                raise UserError(
                    f'{sample.img_path}: the test pipeline of task '
                    f'{sample.task} makes it {width}x{height} pixels, but '
                    f'tta="{self.name}" cuts {side}x{side} out of a larger '
                    'image; resize to "resize_size" there, or set tta to '
                    'None.'
                )
            wholes.append(image[:, :height, :width])
        shape = dict.fromkeys(
            ('img_shape', 'pad_shape', 'batch_input_shape'), (side, side)
        )
        samples = [
            FXDataSample(metainfo=dict(sample.metainfo, **shape))
            for sample in data_samples
        ]
        if self.name == 'center_crop':
            yield torch.stack([center_crop(x, side) for x in wholes]), samples
            return
        for crops in zip(*(five_crop(x, side) for x in wholes)):
            view = torch.stack(crops)
            yield view, samples
            yield view.flip(-1), samples


def _mean(answers) -> Tensor:
    """Average tensors, holding two at a time."""
    total, count = 0, 0
    for answer in answers:
        total, count = total + answer.float(), count + 1
    return total / count


def _mirrored(maps: Tensor, data_samples: list) -> Tensor:
    """Flip maps (B, C, H, W) left to right; padding stays where it is."""
    maps = maps.clone()
    for image, sample in zip(maps, data_samples):
        height, width = sample.img_shape[:2]
        part = image[:, :height, :width]
        part.copy_(part.flip(-1))
    return maps


def _merge(
    plain: InstanceData, mirrored: InstanceData, sample: FXDataSample
) -> InstanceData:
    """Join the boxes of an image and its mirror image, in original pixels."""
    mirrored.bboxes = bbox_flip(mirrored.bboxes, sample.ori_shape[:2])
    both = InstanceData.cat([plain, mirrored])
    if not len(both):
        return plain
    _, kept = batched_nms(
        both.bboxes.float(), both.scores.float(), both.labels, NMS
    )
    return both[kept[: max(len(plain), len(mirrored))]]
