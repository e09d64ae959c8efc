"""Packages that only some users need."""

import importlib
from types import ModuleType

from fx_mm.utils.errors import UserError


def import_extra(name: str, what: str, extra: str) -> ModuleType:
    """Import what needs a package of an extra.

    Args:
        name (str): A module, of fx_mm or of a package.
        what (str): What needs it, in the plural, for the message.
        extra (str): The extra of fx_mm that installs it.

    Raises:
        UserError: If the package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or '').partition('.')[0]
        if package == 'fx_mm':
            raise
        raise UserError(
            f'{what} need the package "{package}"; run: '
            f'pip install "onedl-fx-mm[{extra}]"'
        ) from error
