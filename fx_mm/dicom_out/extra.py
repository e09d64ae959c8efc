"""The packages that only DICOM results and archives need."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from types import ModuleType

from fx_mm.utils.extras import import_extra


def need(name: str) -> ModuleType:
    """Import what needs an extra package.

    Args:
        name (str): A module, of this room or of a package.

    Raises:
        UserError: If the package is not installed.
    """
    return import_extra(name, 'DICOM results and archives', 'dicom')


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the DICOM libraries say out of the log.

    Their warnings quote the values of elements, names of patients too.
    """
    loggers = [
        logging.getLogger(name)
        for name in ('highdicom', 'pydicom', 'dicomweb_client')
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
