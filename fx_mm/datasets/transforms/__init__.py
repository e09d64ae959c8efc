"""Transforms of X-rays; mmdet's, mmcv's and mmpretrain's work beside them."""

from .formatting import PackXray
from .geometric import RandomResizedCrop, ShiftScaleRotate
from .loading import LoadXray, LoadXrayAnnotations
from .photometric import RandomBrightnessContrast, RandomGamma
from .teacher_view import TeacherView

__all__ = [
    'LoadXray',
    'LoadXrayAnnotations',
    'PackXray',
    'RandomBrightnessContrast',
    'RandomGamma',
    'RandomResizedCrop',
    'ShiftScaleRotate',
    'TeacherView',
]
