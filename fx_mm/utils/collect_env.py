"""Versions, compiled operators and devices: the table for bug reports.

``python -m fx_mm.utils.collect_env [NAME=VALUE ...]`` prints it, followed by
the given rows.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

import torch
from mmengine.utils.dl_utils import collect_env as collect_base_env

from fx_mm.version import __version__

DISTRIBUTIONS = (
    ('onedl-mmengine', 'mmengine'),
    ('onedl-mmcv', 'mmcv'),
    ('onedl-mmdetection', 'mmdet'),
    ('onedl-mmsegmentation', 'mmsegmentation'),
    ('onedl-mmpretrain', 'mmpretrain'),
    ('numpy',),
    ('scikit-learn',),
    ('scipy',),
    ('pycocotools',),
    ('pydicom',),
    ('pillow',),
)
"""The packages to report: the maintained name, then the other ones."""


def _version(names: Sequence[str]) -> str:
    for name in names:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return version if name == names[0] else f'{version} ({name})'
    return 'not installed'


def mmcv_operators() -> str:
    """Return what mmcv's operators were compiled for."""
    try:
        extension = importlib.import_module('mmcv._ext')
    except ImportError as error:
        return f'not compiled ({error})'
    cuda = extension.get_compiling_cuda_version()
    if cuda == 'not available':
        return 'compiled for CPU'
    return f'compiled for CPU and CUDA {cuda}'


def collect_env() -> dict[str, str]:
    """Collect what decides whether and how fast fx_mm runs.

    Returns:
        dict[str, str]: Rows of the table, in the order to show them:
        mmengine's, then those of fx_mm.
    """
    rows = {name: str(value) for name, value in collect_base_env().items()}
    rows |= {names[0]: _version(names) for names in DISTRIBUTIONS}
    rows['mmcv operators'] = mmcv_operators()
    rows['CPU'] = f'{os.cpu_count()} cores, {torch.get_num_threads()} threads'
    rows['fx_mm'] = __version__
    return rows


def main() -> None:
    """Print the table."""
    rows = collect_env()
    rows |= dict(argument.split('=', 1) for argument in sys.argv[1:])
    for name, value in rows.items():
        print(f'{name}: {value}')


if __name__ == '__main__':
    main()
