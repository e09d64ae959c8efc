"""Check that what fx_mm needs but does not declare is installed.

setup.py names none of the OpenMMLab packages (see
``requirements/openmmlab.txt``), so the tools ask here before they start.
"""

import importlib
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from fx_mm.utils.errors import UserError

OPENMMLAB = {
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmdet': 'onedl-mmdetection',
    'mmseg': 'onedl-mmsegmentation',
    'mmpretrain': 'onedl-mmpretrain',
}
"""Import name -> distribution of the maintained fork."""

COMPILE = 'compile it with `bash tools/setup_env.sh` in a checkout of fx_mm'


def check_environment() -> None:
    """Check the OpenMMLab packages, mmcv's operators and OpenCV.

    Raises:
        UserError: A package is missing, mmcv came without compiled operators
            or with some compiled against another torch, or OpenCV lacks a
            system library. The message names the remedy.
    """
    for module, distribution in OPENMMLAB.items():
        if find_spec(module) is None:
            how = (
                COMPILE
                if module == 'mmcv'
                else f'run `pip install {distribution}`'
            )
            raise UserError(f'{module} is not installed: {how}.')
    try:
        importlib.import_module('cv2')
    except ImportError as error:
        raise UserError(
            f'OpenCV does not load ({error}): a slim Debian needs '
            '`apt-get install libgl1 libglib2.0-0`.'
        ) from error
    # torch's libraries have to be in the process before mmcv's
    torch = importlib.import_module('torch')
    try:
        importlib.import_module('mmcv._ext')
    except ModuleNotFoundError as error:
        raise UserError(
            'mmcv is installed without its compiled operators, which mmdet '
            f'imports: {COMPILE}.'
        ) from error
    except ImportError as error:
        raise UserError(
            "mmcv's operators were compiled against another torch than the "
            f'installed {torch.__version__} ({error}): {COMPILE}.'
        ) from error


def leave_out_multimodal() -> None:
    """Let mmpretrain be imported beside a transformers that it cannot use.

    Beside transformers 5, which many images hold, importing
    ``mmpretrain.models`` and so ``mmdet.models`` ends with a TypeError in the
    multimodal models. fx_mm uses none of them, and mmpretrain leaves them out
    where transformers is absent; which versions they work with stands in its
    extra ``multimodal``. Call it before the first of the two imports.
    """
    try:
        version = metadata.version('transformers')
        lines = metadata.requires(OPENMMLAB['mmpretrain']) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        unfit = version not in requirement.specifier
        if requirement.name == 'transformers' and unfit:
            module = importlib.import_module('mmpretrain.utils.dependency')
            vars(module)['WITH_MULTIMODAL'] = False
