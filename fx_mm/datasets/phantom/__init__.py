"""Procedurally drawn frontal chest X-rays with labels, boxes and masks."""

from .findings import FINDINGS
from .hospitals import HOSPITALS
from .releases import TWINS, write_release
from .render import ORGANS, Phantom, render_phantom
from .writer import (
    DEFAULT_COUNTS,
    DIFFICULTIES,
    MASK_CLASSES,
    ensure_phantom,
)

__all__ = [
    'DEFAULT_COUNTS',
    'DIFFICULTIES',
    'FINDINGS',
    'HOSPITALS',
    'MASK_CLASSES',
    'ORGANS',
    'TWINS',
    'Phantom',
    'ensure_phantom',
    'render_phantom',
    'write_release',
]
