"""The first steps of a pipeline: the image, and what is known about it."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from ...registry import TRANSFORMS
from ...utils.errors import UserError
from ..readers.masks import split_bit
from ..xray_io import read_mask, read_xray


@TRANSFORMS.register_module()
class LoadXray(BaseTransform):
    """Load an X-ray (PNG, JPEG, TIFF, DICOM) as three equal channels.

    Required Keys:

    - img_path

    Added Keys:

    - img (np.uint8): (H, W, 3)
    - img_shape, ori_shape (tuple): (H, W)
    - scale_factor (tuple): (1.0, 1.0)

    Raises:
        ImageReadError: If the file cannot be read.
    """

    def transform(self, results: dict) -> dict:
        """Add the image to the results."""
        grey = read_xray(results['img_path'])
        results['img'] = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        results['img_shape'] = results['ori_shape'] = grey.shape
        results['scale_factor'] = (1.0, 1.0)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class LoadXrayAnnotations(BaseTransform):
    """Turn a record into what mmdet's transforms work on.

    Before geometric transforms (training), boxes and masks follow the image.
    After them (test), the truth stays at the size of the original.

    Required Keys:

    - kind, ori_shape, img_shape, img_path
    - gt_score (cls); boxes, box_labels (loc); mask_paths (seg)

    Added Keys:

    - gt_score (np.float32): (C,), for cls
    - gt_bboxes (HorizontalBoxes), gt_bboxes_labels (np.int64),
      gt_ignore_flags (np.bool_): n boxes, for loc
    - gt_masks (BitmapMasks): exactly one 0/1 mask a class, for seg
    - truth_at_ori_shape (bool): whether the image has been resized before

    Raises:
        ImageReadError: If a mask cannot be read.
        UserError: If boxes or masks belong to an image of another size.
    """

    def transform(self, results: dict) -> dict:
        """Add the annotation of the sample's kind."""
        results['truth_at_ori_shape'] = (
            results['img_shape'] != results['ori_shape']
        )
        if results['kind'] == 'loc':
            self._boxes(results)
        elif results['kind'] == 'seg':
            self._masks(results)
        return results

    @staticmethod
    def _boxes(results: dict) -> None:
        height, width = results['ori_shape']
        size = results.get('ann_size')
        if size is not None and tuple(size) != (width, height):
            raise UserError(
                f'{results["img_path"]}: the image has {width}x{height} '
                f'pixels, but its boxes are for {size[0]}x{size[1]}; scale '
                'the boxes (and width and height) of the annotation file.'
            )
        boxes = np.asarray(results['boxes'], np.float32).reshape(-1, 4)
        # other names than the record's, which a mmdet.Resize before this
        # step would already scale
        results['gt_bboxes'] = HorizontalBoxes(boxes)
        results['gt_bboxes_labels'] = results['box_labels']
        results['gt_ignore_flags'] = np.zeros(len(boxes), bool)

    @staticmethod
    def _masks(results: dict) -> None:
        height, width = results['ori_shape']
        paths = results['mask_paths']
        masks = np.zeros((len(paths), height, width), np.uint8)
        loaded: dict = {}
        for mask, name in zip(masks, results['classes']):
            if paths[name] is None:
                continue
            path, bit = split_bit(paths[name])
            if path not in loaded:
                loaded[path] = read_mask(path)
            values = loaded[path]
            if values.shape != (height, width):
                raise UserError(
                    f'{path}: the mask has {values.shape[1]}x'
                    f'{values.shape[0]} pixels, but its image '
                    f'{results["img_path"]} has {width}x{height}; they must '
                    'be of one size.'
                )
            if bit is None:
                np.greater(values, 0, out=mask.view(bool))
            else:
                np.bitwise_and(values >> bit, 1, out=mask, casting='unsafe')
        results['gt_masks'] = BitmapMasks(masks, height, width)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
