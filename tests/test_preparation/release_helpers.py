"""Writing tiny releases and reading them."""

import json
from pathlib import Path

from fx_mm.preparation.entries import find_release


def write_release(root: Path, files: dict) -> Path:
    """Write files; text as it is, lists and dicts as JSON."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        else:
            path.write_text(json.dumps(content))
    return root


def read(name: str, root: Path, **options) -> list:
    """Read a release."""
    return list(find_release(name).read(root, **options))


def by_name(name: str, root: Path, **options) -> dict:
    """Read a release; give its entries by their names."""
    entries = read(name, root, **options)
    found = {entry.name: entry for entry in entries}
    assert len(found) == len(entries)
    return found
