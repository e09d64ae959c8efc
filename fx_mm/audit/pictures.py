"""Pictures of an audit: duplicates side by side, odd images, prevalence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from fx_mm.image_io.xray import read_xray
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError
from fx_mm.visualization.contact_sheet import draw_tile, make_grid
from fx_mm.visualization.dataset_sheet import reading_line
from fx_mm.visualization.tiles import save_picture

PAIRS = 6
"""Pairs that are drawn of each finding."""
ODD = 8
"""Images that are drawn of each oddity."""
SHEET = 48
TILE = 224
COLORS = dict(train='#4477aa', val='#ddaa33', test='#bb5566')
MARKED = 60
"""Classes up to which the matrix's cells carry numbers or names."""


def draw_pairs(found: dict[Any, Any], out_file: Path) -> Path | None:
    """Draw pairs of equal images side by side.

    Args:
        found (dict): Name of a finding to its pairs.
        out_file (Path): The picture.

    Returns:
        Path: ``out_file``; None if there is nothing to draw.
    """
    tiles = []
    for name, pairs in found.items():
        _, first, second = name.split(':')
        for pair in pairs[:PAIRS]:
            score = 'equal' if pair.exact else f'{pair.score:.3f}'
            lines = [f'{first} : {second}', f'{score} {pair.change}']
            tiles += [
                _tile(path, [*lines, '/'.join(Path(path).parts[-3:])])
                for path in (pair.first, pair.second)
            ]
    return _sheet(tiles, out_file, 6, 'the same image: pairs side by side')


def draw_odd(found: dict[Any, Any], out_file: Path) -> Path | None:
    """Draw odd images.

    Args:
        found (dict): Check to paths.
        out_file (Path): The picture.
    """
    tiles = [
        _tile(path, [check, Path(path).name])
        for check, paths in found.items()
        for path in paths[:ODD]
    ]
    return _sheet(tiles, out_file, 8, 'odd images')


def _sheet(
    tiles: list[Any], out_file: Path, columns: int, title: str
) -> Path | None:
    if not tiles:
        out_file.unlink(missing_ok=True)
        return None
    return save_picture(make_grid(tiles[:SHEET], columns, title), out_file)


def _tile(path: str, lines: Sequence[str]) -> np.ndarray:
    try:
        image, reading = read_xray(path, decisions=True)
        lines = [*lines, reading_line(reading)]
    except UserError as error:
        image, lines = np.zeros((TILE, TILE), np.uint8), [*lines, str(error)]
    # An extreme shape would make drawing fail or the tile empty.
    height, width = image.shape
    if max(height, width) > TILE * min(height, width):
        image = cv2.resize(image, (TILE, TILE))
    return draw_tile(image, caption_lines=lines, size=TILE)


def draw_prevalence(tables: dict[Any, Any], out_file: Path) -> Path | None:
    """Draw, for each task, how often each class is positive in each split.

    Args:
        tables (dict): Task to split to :func:`~.labels.label_table`.
        out_file (Path): The picture.
    """
    tables = {
        task: splits
        for task, splits in tables.items()
        if next(iter(splits.values()))['classes']
    }
    if not tables:
        return None
    sizes = [
        max(len(next(iter(splits.values()))['classes']), 2)
        for splits in tables.values()
    ]
    figure = Figure(
        figsize=(9, sum(0.3 * size + 1 for size in sizes)),
        layout='constrained',
    )
    panels = figure.subplots(
        len(tables), 1, squeeze=False, gridspec_kw=dict(height_ratios=sizes)
    )
    for ax, (task, splits) in zip(panels[:, 0], tables.items()):
        names = list(next(iter(splits.values()))['classes'])
        here = [split for split in SPLITS if split in splits]
        height = 0.8 / len(here)
        for number, split in enumerate(here):
            classes = splits[split]['classes']
            shares = [100 * (classes[n]['prevalence'] or 0) for n in names]
            rows = np.arange(len(names)) + (number + 0.5) * height - 0.4
            bars = ax.barh(
                rows, shares, height, color=COLORS[split], label=split
            )
            labels = [f' {classes[n]["positive"]}' for n in names]
            ax.bar_label(bars, labels, fontsize=6)
        ax.set_yticks(range(len(names)), names, fontsize=8)
        ax.invert_yaxis()
        ax.margins(x=0.1)
        ax.set_title(task, fontsize=10, loc='left')
    panels[0, 0].legend(fontsize=7)
    panels[-1, 0].set_xlabel('positive images in % of the known; number')
    figure.savefig(out_file, dpi=100)
    return out_file


def draw_together(tables: dict[Any, Any], out_file: Path) -> Path | None:
    """Draw, for each classification task, which classes come together.

    A row says of the training images with its class how many, in percent,
    have the column's class too.
    """
    chosen = {
        task: splits.get('train') or next(iter(splits.values()))
        for task, splits in tables.items()
        if task.endswith('/cls')
        and len(next(iter(splits.values()))['classes']) > 1
    }
    if not chosen:
        return None
    figure = Figure(figsize=(8, 7 * len(chosen)), layout='constrained')
    panels = figure.subplots(len(chosen), 1, squeeze=False)
    for ax, (task, table) in zip(panels[:, 0], chosen.items()):
        counts = np.array(table['together'], float)
        total = np.maximum(np.diag(counts), 1)[:, None]
        shares = 100 * counts / total
        ax.imshow(shares, cmap='Blues', vmin=0, vmax=100)
        names = list(table['classes'])
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        ax.set_yticks(range(len(names)), names, fontsize=8)
        if len(names) <= MARKED:
            for row, column in np.ndindex(*shares.shape):
                value = shares[row, column]
                ax.text(
                    column,
                    row,
                    f'{value:.0f}',
                    ha='center',
                    va='center',
                    fontsize=6,
                    color='white' if value > 50 else 'black',
                )
        ax.set_title(f'{task}: % of the row that has the column', fontsize=10)
    figure.savefig(out_file, dpi=100)
    return out_file
