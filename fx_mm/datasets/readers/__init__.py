"""Readers: annotation files to records, one file a format."""

from .base import BaseReader
from .coco import CocoReader
from .label_csv import CsvLabelReader
from .label_list import ListLabelReader
from .labels import LabelReader
from .masks import MaskReader

__all__ = [
    'BaseReader',
    'CocoReader',
    'CsvLabelReader',
    'LabelReader',
    'ListLabelReader',
    'MaskReader',
]
