"""Files of a federated training."""

from pathlib import Path
from typing import Any

from fx_mm.converters.files import to_bytes
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole


def save_weights(content: dict[str, Any], path: Path) -> None:
    """Write a file for ``torch.load``, whole or not at all.

    Raises:
        UserError: If it cannot be written.
    """
    try:
        write_whole(path, to_bytes(content))
    except OSError as error:
        raise UserError(
            f'{path} cannot be written ({error.strerror}); what was there '
            'before is intact: make room and go on with --resume.'
        ) from error
