"""A few images beside those that a model finds most alike."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.neighbour_metric import NeighbourMetric
from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.xray import read_xray
from fx_mm.visualization.contact_sheet import draw_tile

QUERIES = 5
NEAREST = 4
SIDE = 96
"""Of an image in the picture, in pixels."""


def draw_neighbours(
    ax: Axes, metric: NeighbourMetric, records: list[Any]
) -> None:
    """Draw a few images, each with its nearest others behind it.

    The images are spread over the split. Nothing is drawn where the files are
    not known, as of saved predictions, or cannot be read.

    Args:
        ax (Axes): Where to.
        metric (NeighbourMetric): Finds the neighbours.
        records (list[NeighbourRecord]): One per image.
    """
    ax.axis('off')
    near = metric.neighbours(np.stack([r.direction for r in records]))
    count = min(QUERIES, len(records))
    chosen = np.linspace(0, len(records) - 1, count).astype(int)
    rows: list[np.ndarray] = []
    for query in chosen:
        places = [query, *near[query, :NEAREST]]
        try:
            tiles = [_tile(records[place].path) for place in places]
        except ImageReadError:
            return
        missing = NEAREST + 1 - len(tiles)
        tiles += [np.zeros_like(tiles[0])] * missing
        tiles.insert(1, np.full_like(tiles[0][:, :8], 255))
        rows.append(np.concatenate(tiles, axis=1))
    ax.imshow(np.concatenate(rows))
    label = f'left: an image; right: its {NEAREST} nearest'
    ax.plot([], [], ' ', label=label)


def _tile(path: str) -> np.ndarray:
    if not path:
        raise ImageReadError('the file is not known')
    return draw_tile(read_xray(path), size=SIDE)
