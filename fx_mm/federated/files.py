"""Files of a federated training."""

import io
from pathlib import Path
from typing import Any

import torch

from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole


def save_weights(content: dict[str, Any], path: Path) -> None:
    """Write a file for ``torch.load``, whole or not at all.

    Raises:
        UserError: If it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise UserError(
            f'{path} cannot be written ({error.strerror}); what was there '
            'before is intact: make room and go on with --resume.'
        ) from error
