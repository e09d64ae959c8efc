"""Official datasets as downloaded: one module per dataset, named like it."""

import importlib
import pkgutil

from fx_mm.preparation.raw_dataset import RAW_DATASETS, RawDataset
from fx_mm.utils.errors import UserError

for _module in pkgutil.iter_modules(__path__, f'{__name__}.'):
    importlib.import_module(_module.name)  # which registers its dataset


def find_raw(name: str) -> RawDataset:
    """Find a raw dataset by its name.

    Raises:
        UserError: If there is none; lists those that are known.
    """
    if name not in RAW_DATASETS:
        known = ', '.join(sorted(RAW_DATASETS))
        raise UserError(f'Unknown raw dataset "{name}"; known: {known}.')
    return RAW_DATASETS[name]
