"""Preparation: from official datasets to the files that configs name."""

from fx_mm.preparation.prepare_dataset import prepare
from fx_mm.preparation.prepared_checks import CheckReport, check_prepared
from fx_mm.preparation.raw import find_raw
from fx_mm.preparation.raw_dataset import (
    RAW_DATASETS,
    RawDataset,
    RawError,
    RawImage,
    raw_dataset,
)
from fx_mm.preparation.raw_folder import RawFolder

__all__ = [
    'RAW_DATASETS',
    'CheckReport',
    'RawDataset',
    'RawError',
    'RawFolder',
    'RawImage',
    'check_prepared',
    'find_raw',
    'prepare',
    'raw_dataset',
]
