"""Transforms of X-rays; mmdet's, mmcv's and mmpretrain's work beside them."""

from .formatting import PackXray
from .loading import LoadXray, LoadXrayAnnotations

__all__ = ['LoadXray', 'LoadXrayAnnotations', 'PackXray']
