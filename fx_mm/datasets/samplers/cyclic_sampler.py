"""Endless task-homogeneous batches, walked in cycles of passes."""

from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_rank, get_world_size

from ...registry import DATA_SAMPLERS
from ...tasks import KINDS, check_keys
from ...utils.errors import UserError
from .keys import SampleKey
from .pass_schedule import PassSchedule, plan_cycle


@DATA_SAMPLERS.register_module()
class CyclicBatchSampler:
    """Batches of one task each, in the order of the cycle, without end.

    The order is a pure function of (seed, cycle, pass): nothing is stored, so
    training resumes at any iteration at no cost, with any number of workers.
    Every sample carries its own seed, so what its random transforms do does
    not depend on the worker that runs them either. All ranks walk the same
    task in the same step, each its slice of the same global batch.

    Args:
        sampler (Sampler): Carries ``dataset`` (a ``MultiTaskDataset``) and
            ``seed``; its own order is not used. The stock Runner gives it.
        batch_size (int): Nominal batch size, used only by auto-scaling of
            the learning rate.
        batch_sizes (dict): Task name to the batch size of one process.
        lock (str or list): See :func:`plan_cycle`. Defaults to ``paper``.
        lock_share (float): Share of the data in a lock pass, drawn anew each
            time. Defaults to 0.5.
        max_batches (int or dict, optional): Cap on a release pass's batches:
            one for all, or per task or kind; a lock pass has ``lock_share``
            of it. Defaults to None, no cap.
        box_free_share (dict, optional): Task name to the share of images
            without boxes in each batch. Defaults to as in the data.

    Raises:
        UserError: If a task has no images, or a share is not in 0..1.
    """

    def __init__(
        self,
        sampler,
        batch_size: int,
        batch_sizes: dict,
        lock: str | list = 'paper',
        lock_share: float = 0.5,
        max_batches: int | dict | None = None,
        box_free_share: dict | None = None,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.seed = int(getattr(sampler, 'seed', None) or 0)
        self.rank, self.world_size = get_rank(), get_world_size()
        self.lock_share = lock_share
        self._tasks = {
            dataset.task.name: (i, dataset)
            for i, dataset in enumerate(sampler.dataset.datasets)
        }
        shares = dict(box_free_share or {}, lock_share=lock_share)
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise UserError(
                    f'The share of "{name}" is {share}; it must be in 0..1.'
                )
        self._batch_sizes = {
            name: batch_sizes[name] * self.world_size for name in self._tasks
        }
        self._pools = {
            name: self._make_pools(name, (box_free_share or {}).get(name))
            for name in self._tasks
        }
        if isinstance(max_batches, dict):
            known = [*self._tasks, *KINDS]
            check_keys(max_batches, known, 'cycle.max_batches')
        passes = plan_cycle(list(self._tasks), lock)
        self.schedule = PassSchedule(
            passes, [self._length(p, max_batches) for p in passes]
        )
        self.start = 0
        self.current_pass = 0

    def _make_pools(self, name: str, share: float | None) -> list:
        """Split a task's images into pools, each with its count a batch."""
        dataset, size = self._tasks[name][1], self._batch_sizes[name]
        if not len(dataset):
            raise UserError(f'Task "{name}" has no training images.')
        free = np.flatnonzero(dataset.empty)
        boxed = np.flatnonzero(~dataset.empty)
        if share is None or not len(free) or not len(boxed):
            return [(np.arange(len(dataset)), size)]
        n_free = min(max(round(size * share), 0), size)
        return [
            (pool, count)
            for pool, count in ((boxed, size - n_free), (free, n_free))
            if count
        ]

    def _length(self, entry, max_batches) -> int:
        """Give the batches of a pass; the last partial one is dropped."""
        pool, count = self._pools[entry.task][0]
        length = len(pool) // count
        if isinstance(max_batches, dict):
            kind = entry.task.rsplit('/', 1)[1]
            max_batches = max_batches.get(entry.task, max_batches.get(kind))
        if max_batches:
            length = min(length, max_batches)
        if entry.mode != 'release':
            length = int(length * self.lock_share)
        return max(length, 1)

    def pass_batches(self, index: int) -> list:
        """Draw the global batches of pass number ``index``.

        Returns:
            list[list[SampleKey]]: The same on every rank.
        """
        task = self.schedule[index].task
        number, _ = self._tasks[task]
        cycle, step = divmod(index, self.schedule.passes_per_cycle)
        rng = np.random.default_rng([self.seed, cycle, step])
        length = self.schedule.length(index)
        columns = []
        for pool, count in self._pools[task]:
            need = length * count
            # A pool smaller than the pass is walked again, reshuffled.
            rounds = -(-need // len(pool))
            order = np.concatenate(
                [rng.permutation(pool) for _ in range(rounds)]
            )
            columns.append(order[:need].reshape(length, count))
        batches = np.concatenate(columns, axis=1)
        # Otherwise the ranks' slices would differ in their share of boxes.
        batches = rng.permuted(batches, axis=1)
        seeds = rng.integers(2**31, size=batches.shape)
        return [
            [SampleKey(number, int(i), int(s)) for i, s in zip(*row)]
            for row in zip(batches, seeds)
        ]

    def __iter__(self) -> Iterator[list]:
        index, offset = self.schedule.locate(self.start)
        while True:
            for batch in self.pass_batches(index)[offset:]:
                yield batch[self.rank :: self.world_size]
            index, offset = index + 1, 0

    def __len__(self) -> int:
        """Give the iterations of the current pass."""
        return self.schedule.length(self.current_pass)
