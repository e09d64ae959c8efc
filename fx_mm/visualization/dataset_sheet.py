"""Contact sheets of datasets: what training will read, drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.datasets.io.xray import read_xray
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.tasks import TaskTable
from fx_mm.visualization.contact_sheet import draw_tile
from fx_mm.visualization.results import Marks, result_class

PIPELINE = [
    dict(type='LoadXray'),
    dict(type='LoadXrayAnnotations'),
    dict(type='PackXray'),
]
"""Loads what is stored, without any transform."""

Place = tuple[TaskDataset, int]
"""A dataset and an index in it."""


def open_tasks(
    name: str, entry: dict[str, Any], split: str
) -> list[TaskDataset]:
    """Open one split of a dataset's config, one ``TaskDataset`` per kind.

    Args:
        name (str): Name of the dataset.
        entry (dict): Its entry in the config.
        split (str): ``train``, ``val`` or ``test``.

    Raises:
        UserError: If the config or its files are wrong.
    """
    # Sizes and transforms play no part here: the sheet shows what is stored.
    usual: dict[str, Any] = dict(img_size=128, batch_size=1, flip_prob=None)
    usual |= dict(train_pipeline=PIPELINE, test_pipeline=PIPELINE)
    kinds = entry.get('tasks') or {}
    tasks = {kind: dict(task, **usual) for kind, task in kinds.items()}
    table = TaskTable.from_cfg(dict(datasets={name: dict(entry, tasks=tasks)}))
    return [TaskDataset(task, split, test_mode=True) for task in table]


def collect_images(datasets: Sequence[TaskDataset]) -> dict[str, list[Place]]:
    """Map each image path to its places: (dataset, index)."""
    places: dict[str, list[Place]] = {}
    for dataset in datasets:
        for index in range(len(dataset)):
            path = dataset.get_data_info(index)['img_path']
            places.setdefault(path, []).append((dataset, index))
    return places


def draw_sample(
    path: str, places: Sequence[Place], names: Sequence[str], size: int
) -> tuple[np.ndarray, set[str]]:
    """Draw one image with the annotation of all tasks.

    Args:
        path (str): The image.
        places (Sequence[tuple]): Its (dataset, index) in each task.
        names (Sequence[str]): All class names, which colours depend on.
        size (int): Pixels along an edge of the tile.

    Returns:
        tuple: The tile, uint8 (H, W, 3) RGB, and the set of the classes that
        the image has.
    """
    drawn = Marks(lines=[Path(path).name])
    for dataset, index in places:
        task = dataset.task
        sample = dataset.sample(index, 0)['data_samples']
        marks = result_class(task).mark_truth(task, sample, names)
        drawn.boxes += marks.boxes
        drawn.masks += marks.masks
        drawn.lines += marks.lines
        drawn.present |= marks.present
        if marks.ignored is not None:
            drawn.ignored = marks.ignored
    tile = draw_tile(
        read_xray(path),
        drawn.boxes,
        drawn.masks,
        drawn.lines,
        size,
        drawn.ignored,
    )
    return tile, drawn.present
