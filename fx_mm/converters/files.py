"""Writing a checkpoint that somebody may want to keep."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.weight_files import SAFETENSORS, dump_safetensors


def to_bytes(checkpoint: dict[str, Any], suffix: str = '.pth') -> bytes:
    """Return a file's content; the same for the same checkpoint.

    Args:
        checkpoint (dict): What to save.
        suffix (str): Of the file: ``.safetensors``, or anything else for
            ``torch.save``. Defaults to ``.pth``.

    Raises:
        UserError: If the format cannot hold it.
    """
    if suffix == SAFETENSORS:
        weights = checkpoint.get('state_dict', checkpoint)
        if not all(isinstance(value, Tensor) for value in weights.values()):
            raise UserError(
                f'A {SAFETENSORS} file holds plain weights, which is not the '
                'form that was asked for; give a name that ends in .pth.'
            )
        return dump_safetensors(weights, checkpoint.get('meta'))
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def check_free(path: str | Path) -> None:
    """Refuse to write over a file.

    Raises:
        UserError: If there is one.
    """
    if Path(path).exists():
        raise UserError(f'{path} exists already; give another name.')


def write_checkpoint(
    checkpoint: dict[str, Any] | bytes, path: str | Path
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        checkpoint (dict | bytes): What to save, or the file's content.
        path (str | Path): Where no file is yet; a name that ends in
            ``.safetensors`` chooses that format.

    Raises:
        UserError: If there is one, or it cannot be written.
    """
    check_free(path)
    if isinstance(checkpoint, dict):
        checkpoint = to_bytes(checkpoint, Path(path).suffix)
    try:
        write_whole(path, checkpoint)
    except OSError as error:
        raise UserError(
            f'{path} cannot be written ({error.strerror}); give another name.'
        ) from error
