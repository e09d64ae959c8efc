"""Batches for validation and test."""

from collections.abc import Iterator
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank, get_world_size

from fx_mm.datasets.samplers.keys import SampleKey
from fx_mm.registry import DATA_SAMPLERS
from fx_mm.utils.errors import UserError


@DATA_SAMPLERS.register_module()
class TaskSequentialBatchSampler:
    """Walks all tasks of a dataset one after the other, in its order.

    Every batch holds images of one task. In distributed runs, rank r takes
    the images r, r + world size, ... of each task: every image exactly once
    over all ranks, so ranks may differ by one batch per task.

    Args:
        sampler (Sampler): Gives the dataset (``sampler.dataset``, a
            :class:`MultiTaskDataset`); its order is not used. Kept as an
            attribute, since mmengine's hooks look for it.
        batch_size (int): Size for tasks that ``batch_sizes`` does not name.
        batch_sizes (dict, optional): Task name to batch size. Defaults to
            None.
        drop_last (bool): Only False is of use; evaluation needs all images.
            Defaults to False.

    Raises:
        UserError: If ``batch_sizes`` names an unknown task or a size is not
            positive.
    """

    def __init__(
        self,
        sampler: DefaultSampler,
        batch_size: int,
        batch_sizes: dict[Any, Any] | None = None,
        drop_last: bool = False,
    ) -> None:
        if drop_last:
            raise UserError(
                'Evaluation needs every image; remove drop_last=True from '
                'the batch sampler.'
            )
        self.sampler = sampler
        self.batch_size = batch_size
        datasets = sampler.dataset.datasets
        names = [dataset.task.name for dataset in datasets]
        sizes = dict(batch_sizes or {})
        for name, size in [*sizes.items(), ('batch_size', batch_size)]:
            if name not in [*names, 'batch_size']:
                raise UserError(
                    f'batch_sizes names the task "{name}"; the tasks are: '
                    f'{", ".join(names)}.'
                )
            if int(size) < 1:
                raise UserError(
                    f'The batch size of "{name}" is {size}; it must be 1 or '
                    'more.'
                )
        self._tasks = [
            (len(dataset), int(sizes.get(name, batch_size)))
            for name, dataset in zip(names, datasets)
        ]

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Yield the batches of this rank."""
        for task, (indices, size) in enumerate(self._shares()):
            for start in range(0, len(indices), size):
                yield [
                    SampleKey(task, index, 0)
                    for index in indices[start : start + size]
                ]

    def __len__(self) -> int:
        """Count the batches of this rank."""
        return sum(
            -(-len(indices) // size) for indices, size in self._shares()
        )

    def _shares(self) -> list[Any]:
        rank, world = get_rank(), get_world_size()
        return [
            (range(rank, length, world), size) for length, size in self._tasks
        ]
