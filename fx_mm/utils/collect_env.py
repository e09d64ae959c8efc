"""Versions, compiled operators and devices: the table for bug reports.

``python -m fx_mm.utils.collect_env [NAME=VALUE ...]`` prints it, followed by
the given rows.
"""

import importlib
import os
import platform
import sys
from importlib import metadata

DISTRIBUTIONS = (
    ('torch',),
    ('torchvision',),
    ('onedl-mmengine', 'mmengine'),
    ('onedl-mmcv', 'mmcv'),
    ('onedl-mmdetection', 'mmdet'),
    ('onedl-mmsegmentation', 'mmsegmentation'),
    ('onedl-mmpretrain', 'mmpretrain'),
    ('numpy',),
    ('opencv-python', 'opencv-python-headless'),
    ('scikit-learn',),
    ('scipy',),
    ('pycocotools',),
    ('faster-coco-eval',),
    ('pydicom',),
    ('pillow',),
)
"""The packages to report: the maintained name, then the other ones."""


def _version(names) -> str:
    for name in names:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return version if name == names[0] else f'{version} ({name})'
    return 'not installed'


def _operators() -> str:
    """Returns what mmcv's operators were compiled for."""
    try:
        importlib.import_module('torch')
        extension = importlib.import_module('mmcv._ext')
    except ImportError as error:
        return f'not compiled ({error})'
    cuda = extension.get_compiling_cuda_version()
    if cuda == 'not available':
        return 'compiled for CPU'
    return f'compiled for CPU and CUDA {cuda}'


def _devices() -> str:
    try:
        torch = importlib.import_module('torch')
    except ImportError:
        return 'unknown (no torch)'
    cpu = f'CPU ({os.cpu_count()} cores, {torch.get_num_threads()} threads)'
    gpus = [
        torch.cuda.get_device_name(index)
        for index in range(torch.cuda.device_count())
    ]
    return ', '.join([cpu, *(gpus or ['no GPU'])])


def collect_env() -> dict[str, str]:
    """Collects what decides whether and how fast fx_mm runs.

    Nothing is required to be installed: what is missing is reported as such.

    Returns:
        dict[str, str]: Rows of the table, in the order to show them.
    """
    from fx_mm import __version__

    rows = {
        'fx_mm': __version__,
        'Python': f'{platform.python_version()} ({sys.executable})',
        'System': f'{platform.platform()} {platform.machine()}',
    }
    rows |= {names[0]: _version(names) for names in DISTRIBUTIONS}
    rows['mmcv operators'] = _operators()
    rows['Devices'] = _devices()
    return rows


def main() -> None:
    """Prints the table."""
    rows = collect_env()
    rows |= dict(argument.split('=', 1) for argument in sys.argv[1:])
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f'{name:<{width}}  {value}')


if __name__ == '__main__':
    main()
