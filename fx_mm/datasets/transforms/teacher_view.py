"""A second image for the teacher."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from fx_mm.registry import TRANSFORMS
from fx_mm.tasks import find_kind
from fx_mm.utils.errors import UserError


@TRANSFORMS.register_module()
class TeacherView(BaseTransform):
    """Keep the image as it is here for the teacher.

    The steps before are the teacher's too, those behind are the student's
    alone. Ark puts it between the geometric and the photometric steps; Ark+
    puts it first, with a resize of its own, so that the teacher sees the
    whole image. For boxes and masks, whose consistency compares place by
    place, both views must have one geometry; ``PackXray`` refuses others.

    Required Keys:

    - img

    Added Keys:

    - teacher_img (np.uint8): (h, w, 3)
    - teacher_geometry (dict): For :func:`check_teacher_view`

    Args:
        transforms (Sequence[dict]): Further steps of the teacher's image
            alone. Defaults to ().
    """

    def __init__(self, transforms: Sequence[dict[Any, Any]] = ()) -> None:
        self.transforms = [TRANSFORMS.build(step) for step in transforms]

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Add the teacher's image."""
        view = dict(results)
        if view.get('gt_bboxes') is not None:
            # mmdet's transforms move boxes in place
            view['gt_bboxes'] = view['gt_bboxes'].clone()
        for step in self.transforms:
            view = step(view)
        results['teacher_img'] = view['img'].copy()
        results['teacher_geometry'] = _geometry(view)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.transforms})'


def check_teacher_view(results: dict[str, Any]) -> None:
    """Refuse a teacher's image that lies otherwise than boxes or masks.

    Compared are the shape, the recorded homography (mmdet's transforms and
    those of this package record it) and the truth itself, so that a
    transform that records nothing is found out as soon as it moves a box or
    a mask.

    Args:
        results (dict): At the end of a pipeline with ``TeacherView``.

    Raises:
        UserError: Says what to change.
    """
    before, now = results['teacher_geometry'], _geometry(results)
    places = now['boxes'] is not None or now['masks'] is not None
    if results.get('pseudo'):  # what the teacher finds will lie somewhere
        places = find_kind(results['kind']).places
    if not places:
        return  # labels of a whole image lie nowhere
    if not all(_equal(before[key], now[key]) for key in now):
        raise UserError(
            f'The teacher view of task {results["task"]} lies otherwise than '
            'the image, but the consistency of boxes and masks compares place '
            'by place; put TeacherView behind LoadXrayAnnotations and all '
            'geometric transforms.'
        )


def _geometry(results: dict[str, Any]) -> dict[Any, Any]:
    boxes, masks = results.get('gt_bboxes'), results.get('gt_masks')
    return dict(
        shape=results['img_shape'][:2],
        homography=results.get('homography_matrix', np.eye(3)),
        boxes=None if boxes is None else boxes.tensor.numpy().copy(),
        masks=None if masks is None else masks.masks,
    )


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if one is None or other is None or np.shape(one) != np.shape(other):
        return False
    return np.allclose(one, other, atol=1e-3)
