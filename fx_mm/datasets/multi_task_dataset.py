"""All tasks of a run as one dataset."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset

from fx_mm.datasets.samplers.keys import SampleKey
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.registry import DATASETS
from fx_mm.tasks import Task


class TaskSamples(Protocol):
    """The samples of one task, such as a :class:`TaskDataset`.

    Attributes:
        task (Task): The task.
        empty (np.ndarray): bool (N,), True where an image of a task with
            boxes has none.
        metainfo (dict): Of the task.
    """

    task: Task
    empty: np.ndarray

    @property
    def metainfo(self) -> dict[str, Any]: ...

    def __len__(self) -> int: ...

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """Return a sample, see :meth:`TaskDataset.sample`."""
        ...


@DATASETS.register_module()
class MultiTaskDataset(Dataset):
    """The task datasets of a run side by side, addressed by sample keys.

    One dataset means one loader with one set of workers for all tasks. No
    label space is merged: a sample carries its own task's annotation only.

    Args:
        tasks (Iterable[Task]): The tasks, such as a ``TaskTable``.
        split (str): ``train``, ``val`` or ``test``.

    Attributes:
        datasets (list[TaskSamples]): In the order of the tasks.
        split (str): Which split they are.
        metainfo (dict): ``tasks``: the metainfo of each.

    Examples:
        >>> dataset = MultiTaskDataset(TaskTable.from_cfg(cfg), 'train')
        >>> sample = dataset[SampleKey(task=1, image=7, seed=42)]
    """

    def __init__(self, tasks: Iterable[Task], split: str) -> None:
        self.split = split
        self.datasets = [self.open_task(task, split) for task in tasks]
        self.metainfo = dict(tasks=[d.metainfo for d in self.datasets])
        self._ends = np.cumsum([len(d) for d in self.datasets])

    def open_task(self, task: Task, split: str) -> TaskSamples:
        """Open one split of a task."""
        return TaskDataset(task, split)

    @property
    def tasks(self) -> list[Task]:
        """list[Task]: The tasks, in order."""
        return [dataset.task for dataset in self.datasets]

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.datasets else 0

    def __getitem__(self, key: SampleKey | int) -> dict[Any, Any]:
        """Return a sample.

        Args:
            key (SampleKey | int): Task, image and seed; or a number from 0 to
                ``len(self) - 1`` over all tasks (with seed 0), as tools that
                walk any dataset ask for.

        Returns:
            dict: See :meth:`TaskDataset.sample`.
        """
        if isinstance(key, tuple):
            task, index, seed = key
            return self.datasets[task].sample(index, seed)
        if not -len(self) <= key < len(self):
            raise IndexError(f'sample {key} of {len(self)}')
        key = int(key) % len(self)
        task = int(np.searchsorted(self._ends, key, side='right'))
        start = self._ends[task] - len(self.datasets[task])
        return self.datasets[task].sample(int(key - start), 0)
