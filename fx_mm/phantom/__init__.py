"""Procedurally drawn frontal chest X-rays with labels, boxes and masks."""

from fx_mm.phantom.draw_findings import FINDINGS
from fx_mm.phantom.hospitals import HOSPITALS
from fx_mm.phantom.raw_layouts import RAW_LAYOUTS
from fx_mm.phantom.raw_writer import write_raw
from fx_mm.phantom.render import ORGANS, TARGETS, Phantom, render_phantom
from fx_mm.phantom.tables import MASK_CLASSES
from fx_mm.phantom.writer import (
    DEFAULT_COUNTS,
    DIFFICULTIES,
    draw_phantoms,
    ensure_phantom,
)

__all__ = [
    'DEFAULT_COUNTS',
    'DIFFICULTIES',
    'FINDINGS',
    'HOSPITALS',
    'MASK_CLASSES',
    'ORGANS',
    'RAW_LAYOUTS',
    'TARGETS',
    'Phantom',
    'draw_phantoms',
    'ensure_phantom',
    'render_phantom',
    'write_raw',
]
