"""Which classes the images of a split have, whatever the annotation is."""

from typing import Any

import numpy as np

from fx_mm.datasets.records import Records
from fx_mm.tasks import Task


def presence(task: Task, records: Records) -> np.ndarray:
    """Return which classes each image of a split has.

    Args:
        task (Task): The task.
        records (Records): Of the split.

    Returns:
        np.ndarray: float32 (N, C): 1 yes, 0 no, NaN unknown or uncertain,
        in between where the annotation is a number in between. Of boxes
        and masks: whether there is a box, a mask file. (N, 0) where that is
        no answer: of numbers, and where classes share a file of masks.
    """
    classes = task.classes
    if records.has('gt_score'):
        scores = np.stack(_column(records, 'gt_score'))
        # Below 0 are uncertain ones, which training draws anew each time.
        return np.where(scores < 0, np.nan, scores).astype(np.float32)
    found = np.zeros((len(records), len(classes)), np.float32)
    if records.has('box_labels'):
        for row, labels in zip(found, _column(records, 'box_labels')):
            row[labels] = 1
    elif records.has('mask_paths'):
        for row, paths in zip(found, _column(records, 'mask_paths')):
            files = [paths[name] for name in classes if paths[name]]
            if len(set(files)) < len(files):
                return found[:, :0]
            row[:] = [paths[name] is not None for name in classes]
    else:
        return found[:, :0]
    return found


def _column(records: Records, key: str) -> list[Any]:
    return list(records.column(key))
