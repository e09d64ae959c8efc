"""Files that appear whole or not at all."""

import os
from pathlib import Path


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a file beside its place, flush it to disk, then rename it.

    A kill or a full disk leaves the previous file, if any, untouched.

    Args:
        path (str | Path): The file; its folder is made if missing.
        content (str | bytes): Text is written as UTF-8.

    Returns:
        Path: ``path``.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode('utf-8') if isinstance(content, str) else content
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
