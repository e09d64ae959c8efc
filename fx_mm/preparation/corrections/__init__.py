"""Predictions to annotation servers, and what people corrected back."""

from fx_mm.preparation.corrections.annotated import (
    AnnotatedImage,
    Box,
    Heads,
    file_stem,
)
from fx_mm.preparation.corrections.coco import (
    read_coco_masks,
    write_coco,
)
from fx_mm.preparation.corrections.label_studio import (
    read_label_studio,
    write_label_studio,
)
from fx_mm.preparation.corrections.predicted import read_predictions
from fx_mm.preparation.corrections.tables import write_tables

__all__ = [
    'AnnotatedImage',
    'Box',
    'Heads',
    'file_stem',
    'read_coco_masks',
    'read_label_studio',
    'read_predictions',
    'write_coco',
    'write_label_studio',
    'write_tables',
]
