"""Preparation: from official releases to the files that configs name."""

from .checks import CheckReport, check_prepared
from .conversion import prepare
from .entries import RELEASES, Entry, Release, find_release, release
from .reading import ReleaseError

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
