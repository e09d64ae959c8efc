"""Writing a checkpoint that somebody may want to keep."""

import io
from pathlib import Path
from typing import Any

import torch

from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole


def to_bytes(checkpoint: dict[str, Any]) -> bytes:
    """Return what ``torch.save`` writes; the same for the same content."""
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
        path (str | Path): Where no file is yet.

    Raises:
        UserError: If there is one, or it cannot be written.
    """
    check_free(path)
    if isinstance(checkpoint, dict):
        checkpoint = to_bytes(checkpoint)
    try:
        write_whole(path, checkpoint)
    except OSError as error:
        raise UserError(
            f'{path} cannot be written ({error.strerror}); give another name.'
        ) from error
