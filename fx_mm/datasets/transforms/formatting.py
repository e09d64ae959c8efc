"""The last step of a pipeline."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from fx_mm.datasets.transforms.teacher_view import check_teacher_view
from fx_mm.registry import TRANSFORMS
from fx_mm.structures import FXDataSample
from fx_mm.utils.errors import UserError

META_KEYS = (
    'task',
    'dataset',
    'kind',
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'replaced',
)


@TRANSFORMS.register_module()
class PackXray(BaseTransform):
    """Pack image and annotation for the model.

    Required Keys:

    - img (np.uint8): (H, W, 3)
    - gt_bboxes and gt_bboxes_labels, or gt_masks, or any other arrays and
      texts whose names begin with ``gt_``, such as gt_score: fields of the
      sample

    Args:
        min_box_size (float): Boxes must be wider and higher than this, in
            pixels; a geometric transform may have pushed the others out of
            the image. Defaults to 0.
        meta_keys (Sequence[str]): Further keys for the metainfo, where the
            results have them. Defaults to ('flip', 'flip_direction',
            'homography_matrix', 'pseudo', 'question').
    """

    def __init__(
        self,
        min_box_size: float = 0,
        meta_keys: Sequence[str] = (
            'flip',
            'flip_direction',
            'homography_matrix',
            'pseudo',
            'question',
        ),
    ) -> None:
        self.min_box_size = min_box_size
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Return the sample.

        Returns:
            dict: ``inputs`` (uint8 Tensor (3, H, W)), ``data_samples``
            (FXDataSample) and, behind a ``TeacherView``, ``teacher_inputs``
            (uint8 Tensor (3, h, w)).

        Raises:
            UserError: If the pipeline did not treat the annotation as it
                treated the image.
        """
        sample = FXDataSample(
            metainfo={key: results[key] for key in META_KEYS}
            | {k: results[k] for k in self.meta_keys if k in results}
        )
        if 'gt_bboxes' in results:
            sample.gt_instances = self._instances(results)
        elif 'gt_masks' in results:
            sample.gt_sem_seg = self._sem_seg(results)
        else:
            for key, value in results.items():
                if key.startswith('gt_'):
                    setattr(sample, key, as_field(value))
        packed = dict(inputs=_tensor(results['img']), data_samples=sample)
        if 'teacher_img' in results:
            check_teacher_view(results)
            packed['teacher_inputs'] = _tensor(results['teacher_img'])
        return packed

    def _instances(self, results: dict[str, Any]) -> InstanceData:
        boxes = results['gt_bboxes']
        keep = (boxes.widths > self.min_box_size) & (
            boxes.heights > self.min_box_size
        )
        labels = torch.from_numpy(results['gt_bboxes_labels'])
        return InstanceData(bboxes=boxes[keep], labels=labels[keep])

    @staticmethod
    def _sem_seg(results: dict[str, Any]) -> PixelData:
        masks = results['gt_masks'].masks
        classes = len(results['classes'])
        expected = classes + results.get('n_ignore_masks', 0)
        if len(masks) != expected:
            raise UserError(
                f'The pipeline of task {results["task"]} left {len(masks)} of '
                f'{expected} masks; use transforms that keep all masks.'
            )
        at_original = results['truth_at_ori_shape']
        shape = results['ori_shape' if at_original else 'img_shape']
        if masks.shape[1:] != tuple(shape):
            raise UserError(
                f'The pipeline of task {results["task"]} left masks of '
                f'{masks.shape[1:]} where {tuple(shape)} is due; use '
                'transforms that treat gt_masks as they treat the image.'
            )
        data = torch.from_numpy(np.ascontiguousarray(masks))
        if expected == classes:
            return PixelData(data=data)
        return PixelData(data=data[:classes], ignore=data[classes:])

    def __repr__(self) -> str:
        return f'{type(self).__name__}(min_box_size={self.min_box_size})'


def as_field(value: np.ndarray | str) -> torch.Tensor | str:
    """Return an annotation as a sample holds it."""
    return value if isinstance(value, str) else torch.from_numpy(value)


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
