"""The first steps of a pipeline: the image, and what is known about it."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from fx_mm.datasets.cache import Cached, ImageCache, reduce_mask
from fx_mm.image_io.decisions import log_warnings
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.image_io.masks import mask_sources
from fx_mm.image_io.pixels import check_percentiles
from fx_mm.image_io.xray import read_xray
from fx_mm.registry import TRANSFORMS
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError


def build_cache(
    name: str,
    folder: str | None,
    size: int | None,
    percentiles: Sequence[float] | None = None,
) -> ImageCache | None:
    """Build the cache that a transform's arguments ask for, if they do.

    Raises:
        UserError: If one of folder and size is missing, or the size is none.
    """
    if folder is None and size is None:
        return None
    if not folder or size is None:
        raise UserError(
            f'{name} has cache_dir={folder!r} and cache_size={size!r}; give '
            'both, or none to read the originals.'
        )
    check_number(f'cache_size of {name}', size, 1, whole=True)
    return ImageCache(folder, int(size), percentiles)


@TRANSFORMS.register_module()
class LoadXray(BaseTransform):
    """Load an X-ray (PNG, JPEG, TIFF, DICOM) as three equal channels.

    With a cache, the image comes reduced (see
    :class:`fx_mm.datasets.cache.ImageCache`), and ``img_shape`` is smaller
    than ``ori_shape`` from the start. An experiment's ``cache`` fills the
    arguments in for training only; figures that are published should come
    from the originals.

    Required Keys:

    - img_path

    Added Keys:

    - img (np.uint8): (H, W, 3)
    - img_shape, loaded_shape (tuple): (H, W)
    - ori_shape (tuple): (H, W) of the file
    - scale_factor (tuple): width and height, loaded to original

    Args:
        cache_dir (str, optional): Folder of the reduced images. Defaults to
            None, which reads the originals.
        cache_size (int, optional): Pixels of their shorter side. Defaults to
            None.
        percentiles (Sequence[float], optional): Low and high percentile of
            deeper files without a window that become 0 and 255; see
            :func:`fx_mm.apis.read_xray`. Defaults to None.

    Raises:
        ImageReadError: If the file cannot be read.
        UserError: If one of cache_dir and cache_size is missing, or the
            percentiles are none.
    """

    def __init__(
        self,
        cache_dir: str | None = None,
        cache_size: int | None = None,
        percentiles: Sequence[float] | None = None,
    ) -> None:
        check_percentiles(percentiles)
        self.percentiles = percentiles
        self.cache = build_cache(
            type(self).__name__, cache_dir, cache_size, percentiles
        )

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Add the image to the results."""
        grey, ori_shape = self._load(results['img_path'])
        shape = grey.shape
        results['img'] = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        results['img_shape'] = results['loaded_shape'] = shape
        results['ori_shape'] = ori_shape
        results['scale_factor'] = _scale(shape, ori_shape)
        return results

    def _load(self, path: str) -> Cached:
        if self.cache is not None:
            return self.cache.image(path)
        grey = read_xray(path, percentiles=self.percentiles)
        return Cached(grey, grey.shape)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}({_describe(self.cache)}, '
            f'percentiles={self.percentiles})'
        )


@TRANSFORMS.register_module()
class LoadXrayAnnotations(BaseTransform):
    """Turn a record into what mmdet's transforms work on.

    Before geometric transforms (training), boxes and masks are put at the
    size of the loaded image, which the cache may have reduced, and follow it
    from there. After them, and wherever the dataset is in test mode, the
    truth is given at the size of the original.

    Required Keys:

    - ori_shape, img_shape, img_path
    - loaded_shape (tuple): of LoadXray (optional, as ori_shape)
    - boxes and box_labels, or mask_paths and mask_format (optional), or
      other fields of the record
    - test_mode (bool): of the dataset (optional)

    Added Keys:

    - gt_bboxes (HorizontalBoxes), gt_bboxes_labels (np.int64),
      gt_ignore_flags (np.bool_): n boxes
    - gt_masks (BitmapMasks): one 0/1 mask per class, and n_ignore_masks
      (int) behind them of the pixels that nobody annotated: none, one for
      all classes, or one per class
    - truth_at_ori_shape (bool): whether the truth is at the size of the
      original, and not of the image

    Modified Keys:

    - scale_factor (tuple): to the original, where the truth is there and a
      reduced image was resized

    Args:
        cache_dir (str, optional): As of :class:`LoadXray`, for masks.
            Defaults to None.
        cache_size (int, optional): As of :class:`LoadXray`. Defaults to
            None.

    Raises:
        ImageReadError: If a mask cannot be read.
        UserError: If boxes or masks belong to an image of another size, or
            in training come behind a step that moved the image, or the
            values of a mask file do not fit its format.
    """

    def __init__(
        self, cache_dir: str | None = None, cache_size: int | None = None
    ) -> None:
        self.cache = build_cache(type(self).__name__, cache_dir, cache_size)

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Add boxes or masks; other annotations are in the record."""
        original = results['ori_shape']
        loaded = results.get('loaded_shape', original)
        at_original = (
            results.get('test_mode', False) or results['img_shape'] != loaded
        )
        results['truth_at_ori_shape'] = at_original
        if results.get('test_mode') is False:
            _check_unmoved(results, loaded)
        if at_original and loaded != original:
            # a resize knows only the image that it was given
            results['scale_factor'] = _scale(results['img_shape'], original)
        shape = original if at_original else loaded
        if 'boxes' in results:
            self._boxes(results, shape)
        elif 'mask_paths' in results:
            self._masks(results, shape)
        return results

    @staticmethod
    def _boxes(results: dict[str, Any], shape: tuple[Any, ...]) -> None:
        height, width = results['ori_shape']
        size = results.get('ann_size')
        if size is not None and tuple(size) != (width, height):
            turned = tuple(size) == (height, width)
            raise UserError(
                f'{results["img_path"]}: the image has {width}x{height} '
                f'pixels, but its boxes are for {size[0]}x{size[1]}; '
                f'{"turn" if turned else "scale"} the boxes (and width and '
                'height) of the annotation file'
                f'{" to the upright picture" if turned else ""}.'
            )
        boxes: np.ndarray = np.asarray(results['boxes'], np.float32)
        boxes = boxes.reshape(-1, 4)
        if shape != results['ori_shape']:
            boxes = boxes * np.array(
                _scale(shape, (height, width)) * 2, np.float32
            )
        # other names than the record's, which a mmdet.Resize before this
        # step would already scale
        results['gt_bboxes'] = HorizontalBoxes(boxes)
        results['gt_bboxes_labels'] = results['box_labels']
        results['gt_ignore_flags'] = np.zeros(len(boxes), bool)

    def _masks(self, results: dict[str, Any], shape: tuple[Any, ...]) -> None:
        classes = results['classes']
        sources = mask_sources(
            results['mask_paths'],
            classes,
            results.get('mask_format'),
        )
        masks = np.zeros((len(classes), *shape), np.uint8)
        ignored = np.zeros((0, *shape), np.uint8)
        for source in sources:
            values = self._values(source.path, source.code, shape, results)
            found = source.fill(values, masks)
            if found is None:
                continue
            numbers, area = found
            if not len(ignored):
                ignored = np.zeros_like(masks)
            ignored[numbers] |= area
        if len(ignored) and (ignored == ignored[:1]).all():
            ignored = ignored[:1]
        results['n_ignore_masks'] = len(ignored)
        if len(ignored):
            masks[np.broadcast_to(ignored > 0, masks.shape)] = 0
            masks = np.concatenate([masks, ignored])
        results['gt_masks'] = BitmapMasks(masks, *shape)

    def _values(
        self,
        path: str,
        code: MaskCode,
        shape: tuple[Any, ...],
        results: dict[str, Any],
    ) -> np.ndarray:
        """Read a mask file at the size of the truth."""
        if self.cache is not None and not results['truth_at_ori_shape']:
            values, original = self.cache.mask(path, code)
        else:
            plane = code.read(path)
            log_warnings(path, plane.decisions)
            values = plane.values
            original = values.shape
        if original != tuple(results['ori_shape']):
            height, width = results['ori_shape']
            raise UserError(
                f'{path}: the mask has {original[1]}x{original[0]} pixels, '
                f'but its image {results["img_path"]} has {width}x{height}; '
                'they must be of one size.'
            )
        return reduce_mask(values, shape)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({_describe(self.cache)})'


def _check_unmoved(results: dict[str, Any], loaded: tuple[Any, ...]) -> None:
    """Refuse boxes and masks that would not follow the image in training.

    mmdet's geometric transforms record the homography.
    """
    if 'boxes' not in results and 'mask_paths' not in results:
        return
    if 'homography_matrix' in results or results['img_shape'] != loaded:
        raise UserError(
            f'In the train_pipeline of task {results["task"]}, '
            'LoadXrayAnnotations comes behind a step that resizes, turns or '
            'mirrors the image, which boxes and masks would not follow; put '
            'it right behind LoadXray.'
        )


def _scale(
    shape: tuple[Any, ...], original: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return width and height of a shape in parts of the original's."""
    return shape[1] / original[1], shape[0] / original[0]


def _describe(cache: ImageCache | None) -> str:
    folder, size = (cache.folder, cache.size) if cache else (None, None)
    return f'cache_dir={folder!r}, cache_size={size}'
