"""Phantom twins: phantom images in the official layouts of real datasets."""

from fx_mm.phantom.raw_layouts import (  # noqa: F401  registers the twins
    box_releases,
    label_releases,
    mask_releases,
    several_readers,
)
from fx_mm.phantom.raw_layouts.twins import TWINS, cases_of, write_release

__all__ = ['TWINS', 'cases_of', 'write_release']
