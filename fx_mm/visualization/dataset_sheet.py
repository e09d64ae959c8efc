"""Contact sheets of datasets: what training will read, drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.datasets.presence import presence
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.image_io.masks import mask_sources
from fx_mm.image_io.xray import read_xray
from fx_mm.tasks import Task, TaskTable
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


def present_classes(
    datasets: Sequence[TaskDataset],
) -> dict[tuple[str, str], list[str]]:
    """Map each task and class, as names, to the paths of what has it.

    An image has a number that is known. Of kinds that tell neither, all images
    have all. What nobody found anything on comes last, under two empty names.
    """
    found: dict[tuple[str, str], list[str]] = {}
    rest: dict[str, None] = {}
    for dataset in datasets:
        task, records = dataset.task, dataset.data_list
        paths = list(records.column('img_path'))
        rest.update(dict.fromkeys(paths))
        has = presence(task, records) > 0
        if records.has('gt_value'):
            has = ~np.isnan(np.stack(list(records.column('gt_value'))))
        elif not has.shape[1]:
            has = np.ones((len(paths), len(task.classes)), bool)
        for name, here in zip(task.classes, has.T):
            rows = here.nonzero()[0]
            found[task.name, name] = [paths[row] for row in rows]
    for members in found.values():
        for path in members:
            rest.pop(path, None)
    return {**found, ('', ''): list(rest)}


def reading_line(reading: Mapping[str, Any]) -> str:
    """Return in short what was decided while an image was read."""
    parts = [f'{reading["format"]} {reading["depth"]} bit']
    if reading['mapping'] != 'as stored':
        low, high = reading['range'] or (None, None)
        ends = '' if low is None else f' {low:g}..{high:g}'
        parts.append(f'{reading["mapping"]}{ends}')
    if reading['inverted']:
        parts.append('inverted')
    if reading['orientation'] != 1:
        parts.append(f'orientation {reading["orientation"]}')
    warned = [f'! {reading["warnings"][0]}'] if reading['warnings'] else []
    return ', '.join([*parts, *warned])


def mask_lines(record: Mapping[str, Any], task: Task) -> list[str]:
    """Return in short how the masks of an image were read; [] without any."""
    if 'mask_paths' not in record:
        return []
    sources = mask_sources(
        record['mask_paths'], task.classes, record.get('mask_format')
    )
    planes = [source.code.read(source.path) for source in sources]
    formats = ', '.join(dict.fromkeys(plane.format for plane in planes))
    warned = [w for p in planes for w in p.decisions.warnings.values()]
    return [f'masks: {formats}'] * bool(planes) + [
        f'! {warning}' for warning in warned[:1]
    ]


def draw_sample(
    path: str, places: Sequence[Place], names: Sequence[str], size: int
) -> np.ndarray:
    """Draw one image with the annotation of all tasks.

    Args:
        path (str): The image.
        places (Sequence[tuple]): Its (dataset, index) in each task.
        names (Sequence[str]): All class names, which colours depend on.
        size (int): Pixels along an edge of the tile.

    Returns:
        np.ndarray: The tile, uint8 (H, W, 3) RGB.
    """
    image, reading = read_xray(path, decisions=True)
    drawn = Marks(lines=[Path(path).name, reading_line(reading)])
    for dataset, index in places:
        task = dataset.task
        sample = dataset.sample(index, 0)['data_samples']
        marks = result_class(task).mark_truth(task, sample, names)
        drawn.boxes += marks.boxes
        drawn.masks += marks.masks
        drawn.lines += marks.lines
        drawn.lines += mask_lines(dataset.get_data_info(index), task)
        if marks.ignored is not None:
            drawn.ignored = marks.ignored
    return draw_tile(
        image, drawn.boxes, drawn.masks, drawn.lines, size, drawn.ignored
    )
