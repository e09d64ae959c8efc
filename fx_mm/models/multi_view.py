"""Test-time augmentation: one prediction from several views of an image."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop, five_crop

from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


def build_views(tasks: Iterable[Task]) -> dict[str, 'MultiView']:
    """Return the augmentation of each task that has ``tta``, by name."""
    return {
        task.name: MultiView(task.config['tta'], task.config.get('img_size'))
        for task in tasks
        if task.config.get('tta') is not None
    }


class MultiView:
    """Predict on several views, one after the other, and merge.

    Each view is a batch of its own, so memory stays that of one. Probabilities
    of crops are averaged; an image and its mirror image are merged by
    :meth:`Branch.merge_flips`.

    Where classes have a side (left lung, right lung), a mirror image does not
    show what the model has learned.

    Args:
        name (str): ``'flip'``: the image and its mirror image;
            ``'center_crop'`` and ``'ten_crop'`` (labels): the four corners,
            the centre and their mirror images, each of ``img_size``, of
            images that the test pipeline makes larger (Ark: 224 of 256
            pixels).
        img_size (int, optional): Side of a crop in pixels; not needed for
            ``flip``.
    """

    def __init__(self, name: str, img_size: int | None) -> None:
        self.name = name
        self.img_size = img_size

    def __call__(
        self,
        infer: Callable[[Tensor, list[FXDataSample]], Any],
        merge_flips: Callable[[Any, Any, list[FXDataSample]], Any],
        inputs: Tensor,
        data_samples: list[FXDataSample],
    ) -> Any:
        """Infer on each view and merge.

        Args:
            infer (Callable): From images and samples to the result of
                :meth:`Branch.infer`.
            merge_flips (Callable): :meth:`Branch.merge_flips`.
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
        plain = infer(inputs, data_samples)
        mirrored = infer(mirror_maps(inputs, data_samples), data_samples)
        return merge_flips(plain, mirrored, data_samples)

    def _crops(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> Iterator[tuple[Tensor, list[Any]]]:
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


def _mean(answers: Iterable[Tensor]) -> Tensor:
    """Average tensors, holding two at a time."""
    total: Any = 0
    count = 0
    for answer in answers:
        total, count = total + answer.float(), count + 1
    return total / count


def mirror_maps(maps: Tensor, data_samples: list[FXDataSample]) -> Tensor:
    """Flip maps (B, C, H, W) left to right; padding stays where it is."""
    maps = maps.clone()
    for image, sample in zip(maps, data_samples):
        height, width = sample.img_shape[:2]
        part = image[:, :height, :width]
        part.copy_(part.flip(-1))
    return maps
