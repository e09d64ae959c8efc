"""Readers: annotation files to records, one file per format."""

from fx_mm.datasets.readers.base import BaseReader
from fx_mm.datasets.readers.coco import CocoReader
from fx_mm.datasets.readers.image_list import ImageReader
from fx_mm.datasets.readers.label_csv import CsvLabelReader
from fx_mm.datasets.readers.label_list import ListLabelReader
from fx_mm.datasets.readers.labels import LabelReader
from fx_mm.datasets.readers.masks import MaskReader
from fx_mm.datasets.readers.report_csv import CsvReportReader
from fx_mm.datasets.readers.report_files import (
    IndianaReportReader,
    MimicReportReader,
)
from fx_mm.datasets.readers.value_csv import CsvValueReader

__all__ = [
    'BaseReader',
    'CocoReader',
    'CsvLabelReader',
    'CsvReportReader',
    'CsvValueReader',
    'ImageReader',
    'IndianaReportReader',
    'LabelReader',
    'ListLabelReader',
    'MaskReader',
    'MimicReportReader',
]
