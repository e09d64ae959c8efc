"""Transforms of X-rays; mmdet's, mmcv's and mmpretrain's work beside them."""

from fx_mm.datasets.transforms.formatting import PackXray
from fx_mm.datasets.transforms.geometric import (
    RandomResizedCrop,
    ShiftScaleRotate,
)
from fx_mm.datasets.transforms.loading import LoadXray, LoadXrayAnnotations
from fx_mm.datasets.transforms.photometric import (
    JpegCompression,
    RandomBrightnessContrast,
    RandomGamma,
)
from fx_mm.datasets.transforms.teacher_view import TeacherView

__all__ = [
    'JpegCompression',
    'LoadXray',
    'LoadXrayAnnotations',
    'PackXray',
    'RandomBrightnessContrast',
    'RandomGamma',
    'RandomResizedCrop',
    'ShiftScaleRotate',
    'TeacherView',
]
