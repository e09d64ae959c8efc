"""Contact sheets of datasets: what training will read, drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fx_mm.datasets import TaskDataset, read_xray
from fx_mm.tasks.table import TaskTable
from fx_mm.visualization.contact_sheet import color_of, draw_tile

PIPELINE = [
    dict(type='LoadXray'),
    dict(type='LoadXrayAnnotations'),
    dict(type='PackXray'),
]
"""Loads what is stored, without any transform."""


def open_tasks(name: str, entry: dict, split: str) -> list:
    """Open one split of a dataset's config, a ``TaskDataset`` a kind.

    Args:
        name (str): Name of the dataset.
        entry (dict): What the config says of it.
        split (str): ``train``, ``val`` or ``test``.

    Raises:
        UserError: If the config or its files are wrong.
    """
    # Sizes and transforms play no part here: the sheet shows what is stored.
    usual = dict(img_size=128, batch_size=1, flip_prob=None)
    usual |= dict(train_pipeline=PIPELINE, test_pipeline=PIPELINE)
    kinds = entry.get('tasks') or {}
    tasks = {kind: dict(task, **usual) for kind, task in kinds.items()}
    table = TaskTable.from_cfg(dict(datasets={name: dict(entry, tasks=tasks)}))
    return [
        TaskDataset(**task.dataset_cfg(split), test_mode=True)
        for task in table
    ]


def collect_images(datasets: Sequence[TaskDataset]) -> dict:
    """Map each image path to its places: (dataset, index)."""
    places: dict = {}
    for dataset in datasets:
        for index in range(len(dataset)):
            path = dataset.records[index]['img_path']
            places.setdefault(path, []).append((dataset, index))
    return places


def draw_sample(
    path: str, places: Sequence[tuple], names: Sequence[str], size: int
) -> tuple[np.ndarray, set]:
    """Draw one image with what all tasks know of it.

    Args:
        path (str): The image.
        places (Sequence[tuple]): Its (dataset, index) in each task.
        names (Sequence[str]): All class names, which colours depend on.
        size (int): Pixels along an edge of the tile.

    Returns:
        tuple: The tile, uint8 (H, W, 3) RGB, and the set of the classes that
        the image has.
    """
    boxes, masks, lines = [], [], []
    present = set()
    for dataset, index in places:
        classes = dataset.task.classes
        sample = dataset.sample(index, 0)['data_samples']
        if sample.kind == 'cls':
            scores = dict(zip(classes, sample.gt_score.tolist()))
            labels = [name for name in classes if scores[name] > 0]
            unknown = sum(np.isnan(list(scores.values())))
            text = ', '.join(labels) or 'no finding'
            lines.append(text + (f', {unknown} unknown' if unknown else ''))
            present.update(labels)
        elif sample.kind == 'loc':
            truth = sample.gt_instances
            corners = getattr(truth.bboxes, 'tensor', truth.bboxes)
            for box, label in zip(corners.tolist(), truth.labels.tolist()):
                name = classes[label]
                boxes.append((*box, name, color_of(name, names)))
                present.add(name)
        else:
            for name, mask in zip(classes, sample.gt_sem_seg.data.numpy()):
                if mask.any():
                    masks.append((mask, color_of(name, names)))
                    present.add(name)
    lines.insert(0, Path(path).name)
    return draw_tile(read_xray(path), boxes, masks, lines, size), present
