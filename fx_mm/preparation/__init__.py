"""Preparation: from official releases to the files that configs name."""

from fx_mm.preparation.checks import CheckReport, check_prepared
from fx_mm.preparation.conversion import prepare
from fx_mm.preparation.entries import (
    RELEASES,
    Entry,
    Release,
    find_release,
    release,
)
from fx_mm.preparation.reading import ReleaseError

__all__ = [
    'RELEASES',
    'CheckReport',
    'Entry',
    'Release',
    'ReleaseError',
    'check_prepared',
    'find_release',
    'prepare',
    'release',
]
