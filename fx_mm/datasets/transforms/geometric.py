"""Geometric transforms whose boxes and masks follow the image."""

from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.structures.mask import BitmapMasks

from fx_mm.registry import TRANSFORMS
from fx_mm.utils.checks import check_choice, check_number
from fx_mm.utils.errors import UserError

BORDERS = dict(constant=cv2.BORDER_CONSTANT, reflect=cv2.BORDER_REFLECT_101)


def move_boxes(results: dict[str, Any], matrix: np.ndarray) -> None:
    """Move the boxes, cut them at the image, drop those that left it.

    A box becomes the upright one around its four corners. What left the image
    must go at once: cut to a line, it would grow again under a rotation.

    Args:
        results (dict): With ``img_shape`` after the transform. Without
            ``gt_bboxes`` nothing happens.
        matrix (np.ndarray): Homography (3, 3) in pixels, the image's corner
            at (0, 0).
    """
    boxes = results.get('gt_bboxes')
    if boxes is None:
        return
    boxes.project_(matrix)
    boxes.clip_(results['img_shape'])
    kept = (boxes.widths > 0) & (boxes.heights > 0)
    results['gt_bboxes'] = boxes[kept]
    for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
        if key in results:
            results[key] = results[key][kept.numpy()]


def record_homography(results: dict[str, Any], matrix: np.ndarray) -> None:
    """Add a step to ``homography_matrix``, as mmdet's transforms do."""
    before = results.get('homography_matrix')
    matrix = matrix.astype(np.float32)
    results['homography_matrix'] = (
        matrix if before is None else matrix @ before
    )


@TRANSFORMS.register_module()
class ShiftScaleRotate(BaseTransform):
    """Shift, scale and rotate about the centre in one interpolation.

    The four values are drawn evenly and apart from each other, as of the
    transform of this name in Albumentations, which Foundation X and Ark use.
    With only ``rotate_limit`` it rotates. Boxes become the upright ones around
    their four corners; those that left the image are dropped with their
    labels.

    Required Keys:

    - img, img_shape
    - gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (optional)

    Modified Keys:

    - img (linear), gt_masks (nearest), gt_bboxes, gt_bboxes_labels,
      gt_ignore_flags, homography_matrix

    Args:
        shift_limit (float): Largest shift as a part of width and height.
            Defaults to 0.0625.
        scale_limit (float): The scale is in 1 - limit .. 1 + limit.
            Defaults to 0.1.
        rotate_limit (float): Largest angle in degrees. Defaults to 10.
        prob (float): Defaults to 0.5.
        border (str): What comes in from outside: ``'constant'``, black and no
            object, or ``'reflect'``, the image and its masks mirrored at the
            border, as the papers' code does. Mirrored objects have no boxes,
            so it is refused where there are boxes. Defaults to
            ``'constant'``.

    Raises:
        UserError: If a limit makes no sense, or boxes meet ``'reflect'``.
    """

    def __init__(
        self,
        shift_limit: float = 0.0625,
        scale_limit: float = 0.1,
        rotate_limit: float = 10.0,
        prob: float = 0.5,
        border: str = 'constant',
    ) -> None:
        for name, value, high in (
            ('shift_limit', shift_limit, 1),
            ('scale_limit', scale_limit, 0.99),
            ('rotate_limit', rotate_limit, 180),
            ('prob', prob, 1),
        ):
            check_number(f'ShiftScaleRotate.{name}', value, 0, high)
        check_choice('ShiftScaleRotate.border', border, BORDERS)
        self.limits = (shift_limit, shift_limit, scale_limit, rotate_limit)
        self.prob = prob
        self.border = border

    @cache_randomness
    def _draw(self) -> np.ndarray | None:
        """Shift in x and y, change of scale, angle; or None: stay."""
        if np.random.rand() >= self.prob:
            return None
        return np.random.uniform(-1, 1, 4) * self.limits

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Transform image, boxes and masks alike."""
        if self.border == 'reflect' and 'gt_bboxes' in results:
            raise UserError(
                f'ShiftScaleRotate of task {results["task"]} has '
                'border="reflect", which mirrors objects that have no box; '
                'write border="constant".'
            )
        drawn = self._draw()
        if drawn is None:
            return results
        height, width = results['img_shape'][:2]
        x, y, change, angle = drawn
        matrix = np.eye(3)
        matrix[:2] = cv2.getRotationMatrix2D(
            (width / 2, height / 2), angle, 1 + change
        )
        matrix[:2, 2] += x * width, y * height
        # boxes count from the corner of the first pixel, OpenCV from its
        # middle
        to_middle = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
        warp = (to_middle @ matrix @ np.linalg.inv(to_middle))[:2]

        def warped(image: np.ndarray, interpolation: int) -> np.ndarray:
            return cv2.warpAffine(
                image,
                warp,
                (width, height),
                flags=interpolation,
                borderMode=BORDERS[self.border],
            )

        results['img'] = warped(results['img'], cv2.INTER_LINEAR)
        masks = results.get('gt_masks')
        if masks is not None:
            moved = np.zeros_like(masks.masks)
            for target, mask in zip(moved, masks.masks):
                if mask.any():
                    target[:] = warped(mask, cv2.INTER_NEAREST)
            results['gt_masks'] = BitmapMasks(moved, height, width)
        move_boxes(results, matrix)
        record_homography(results, matrix)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(limits={self.limits}, prob={self.prob}, '
            f'border={self.border!r})'
        )


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """mmpretrain's ``RandomResizedCrop``, which boxes and masks follow.

    Boxes are cut at the border of the crop; those outside are dropped with
    their labels.

    Required Keys:

    - img
    - gt_bboxes, gt_bboxes_labels, gt_ignore_flags, gt_masks (optional)

    Modified Keys:

    - img, img_shape, gt_masks (nearest), gt_bboxes, gt_bboxes_labels,
      gt_ignore_flags, homography_matrix

    Args:
        scale (Sequence[int] | int): Height and width of the result.
        backend (str): ``'pillow'`` averages over the pixels that make one,
            as in the papers; ``'cv2'`` does not and is faster. Defaults to
            ``'pillow'``.
        **kwargs: Further arguments of mmpretrain's transform:
            ``crop_ratio_range``, by default (0.08, 1), ``aspect_ratio_range``,
            by default (3/4, 4/3), ``max_attempts``, ``interpolation``.
    """

    def __init__(
        self,
        scale: tuple[float, float],
        backend: str = 'pillow',
        **kwargs: Any,
    ) -> None:
        # built here, since mmpretrain takes more than a second to import
        self.crop = TRANSFORMS.build(
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=scale,
                backend=backend,
                **kwargs,
            )
        )

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Crop and resize image, boxes and masks alike."""
        y, x, height, width = self.crop.rand_crop_params(results['img'])
        shape = tuple(self.crop.scale)
        results['img'] = mmcv.imresize(
            np.ascontiguousarray(
                results['img'][y : y + height, x : x + width]
            ),
            shape[::-1],
            interpolation=self.crop.interpolation,
            backend=self.crop.backend,
        )
        results['img_shape'] = shape
        if results.get('gt_masks') is not None:
            box = np.array([x, y, x + width, y + height])
            results['gt_masks'] = results['gt_masks'].crop(box).resize(shape)
        by_x, by_y = shape[1] / width, shape[0] / height
        matrix = np.array(
            [[by_x, 0, -x * by_x], [0, by_y, -y * by_y], [0, 0, 1]]
        )
        move_boxes(results, matrix)
        record_homography(results, matrix)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.crop!r})'
