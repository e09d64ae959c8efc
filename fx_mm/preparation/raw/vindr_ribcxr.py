"""VinDr-RibCXR: a polygon per rib."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fx_mm.preparation.polygons import Polygon
from fx_mm.preparation.raw_dataset import MaskPiece, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = tuple(f'{side}{n}' for side in 'RL' for n in range(1, 11))
"""Ribs of the right and the left side, from above."""
SPLITS = dict(train='train', val='test')
"""The official validation split tests."""


@raw_dataset(
    'vindr_ribcxr',
    classes=CLASSES,
    holds='Vindr_RibCXR_train_mask.json, Vindr_RibCXR_val_mask.json and the '
    'images',
    val_ratio=0.1,
    official_counts=dict(images=245, test=49),
)
def read_vindr_ribcxr(folder: RawFolder) -> Iterator[RawImage]:
    """Read the two files."""
    images = folder.find_images('.', '.png').values()
    files = {path.name: path for path in images}
    for official, split in SPLITS.items():
        name = f'V*_RibCXR_{official}_mask.json'
        path = folder.find(name, f'**/{name}')
        data = folder.read_json(path)
        missing = sorted({'img', *CLASSES}.difference(data))
        if missing:
            raise UserError(
                f'{path}: has no "{missing[0]}"; is it the official file?'
            )
        ribs = {rib: dict(_items(data[rib])) for rib in CLASSES}
        for key, image in _items(data['img']):
            # paths of the file begin with data/, which may be Data/ on disk
            source = files.get(Path(image).name, folder.root / image)
            yield RawImage(
                source.relative_to(folder.root).as_posix(),
                source,
                source.stem,
                split,
                masks={
                    rib: _read_rib(
                        ribs[rib].get(key), f'{path}, {rib} of image {key}'
                    )
                    for rib in CLASSES
                },
            )


def _items(values: Any) -> list[tuple[str, Any]]:
    """Return the pairs of a dict of numbers as text, or of a list."""
    if isinstance(values, dict):
        return list(values.items())
    return [(str(i), value) for i, value in enumerate(values)]


def _read_rib(points: Any, where: str) -> list[MaskPiece]:
    """Read one rib; ``None``, as text or not, is one that nobody drew."""
    if not points or points == 'None':
        return []
    try:
        corners = [(p['x'], p['y']) for p in points]
    except (KeyError, TypeError):
        corners = points  # which Polygon refuses by name
    return [Polygon(corners, where)]
