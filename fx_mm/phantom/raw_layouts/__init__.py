"""Layouts of official datasets: one module per dataset, named like it."""

import importlib
import pkgutil

from fx_mm.phantom.raw_layout import RAW_LAYOUTS, RawLayout
from fx_mm.utils.errors import UserError

for _module in pkgutil.iter_modules(__path__, f'{__name__}.'):
    importlib.import_module(_module.name)  # which registers its layout


def find_layout(name: str) -> RawLayout:
    """Find a layout by the name of its dataset.

    Raises:
        UserError: If there is none; lists those that are known.
    """
    if name not in RAW_LAYOUTS:
        known = ', '.join(sorted(RAW_LAYOUTS))
        raise UserError(
            f'There is no raw layout of "{name}"; choose one of: {known}.'
        )
    return RAW_LAYOUTS[name]
