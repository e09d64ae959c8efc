"""Writing tiny raw datasets and reading them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from fx_mm.preparation import RawFolder, find_raw


def write_files(root: Path, files: dict) -> Path:
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


def read_with_notes(name: str, root: Path, **options) -> tuple:
    """Read a raw dataset; return its images and what it skipped."""
    raw = find_raw(name)
    folder = RawFolder(root, raw.holds)
    images = list(raw.read(folder, **options))
    return images, folder.skipped.notes


def read(name: str, root: Path, **options) -> list:
    """Read a raw dataset."""
    return read_with_notes(name, root, **options)[0]


def by_name(name: str, root: Path, **options) -> dict:
    """Read a raw dataset; return its images by their names."""
    images = read(name, root, **options)
    found = {image.name: image for image in images}
    assert len(found) == len(images)
    return found


def drawn(image, name: str, shape: tuple = (16, 12)) -> np.ndarray:
    """Draw the mask of a class: the union of its pieces."""
    return np.logical_or.reduce(
        [piece.draw(*shape) for piece in image.masks[name]]
    )


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
