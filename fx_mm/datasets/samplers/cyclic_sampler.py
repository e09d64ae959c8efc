"""Endless task-homogeneous batches, walked in cycles of passes."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank, get_world_size

from fx_mm.datasets.samplers.keys import SampleKey
from fx_mm.datasets.samplers.mixing import (
    WALKED,
    apportion,
    is_mixed,
    mix_steps,
)
from fx_mm.datasets.samplers.pass_schedule import (
    Pass,
    PassSchedule,
    plan_cycle,
)
from fx_mm.registry import DATA_SAMPLERS
from fx_mm.tasks import MIXED, all_kinds, split_name
from fx_mm.utils.checks import check_keys, check_number
from fx_mm.utils.errors import UserError


@DATA_SAMPLERS.register_module()
class CyclicBatchSampler:
    """Batches of one task each, in the order of the cycle, without end.

    The order is a pure function of (seed, cycle, pass): nothing is stored, so
    training resumes at any iteration at no cost, with any number of workers.
    Every sample carries its own seed, so what its random transforms do does
    not depend on the worker that runs them either. All ranks walk the same
    task in the same step, each its slice of the same global batch.

    In a mixed order, every batch still holds one task, but a pass is a
    cycle's worth of steps (see :func:`plan_cycle`), its tasks drawn in random
    order; each has exactly its number of steps, at least one. A task's images
    are drawn without replacement until all were seen, and then anew.

    Args:
        sampler (Sampler): Carries ``dataset`` (a ``MultiTaskDataset``) and
            ``seed``; its own order is not used. The stock Runner gives it.
        batch_size (int): Nominal batch size, used only by auto-scaling of
            the learning rate.
        batch_sizes (dict): Task name to the batch size of one process.
        order (str or dict): ``cyclic``: task after task. ``shuffled``: the
            same with the tasks' order drawn anew in each cycle, a lock pass
            staying right before its release pass. The others are mixed.
            ``concurrent`` (Ark's ablation): all batches of the cycle in one
            shuffled stream, so every image at most once in a pass and a
            task's steps as in ``cyclic``, caps included. ``proportional``,
            ``sqrt``, ``uniform``: as many steps in all, but shared by the
            tasks' numbers of images, by their square roots, or evenly,
            whatever the batch size and the cap of a task. A dict of task or
            kind to weight: shared by these. Defaults to ``cyclic``.
        lock (str or list): See :func:`plan_cycle`. Defaults to ``paper``.
        lock_data_ratio (float): Share of the data in a lock pass, drawn anew
            each time, but all of them with ``lock="heads"``. Defaults to 0.5.
        max_batches (int or dict, optional): Cap on a release pass's batches:
            one for all, or per task or kind; a lock pass has
            ``lock_data_ratio`` of it. Defaults to None, no cap.
        min_batches (int): A release pass has at least so many, for which few
            images are walked again; a lock pass has ``lock_data_ratio`` of it.
            Defaults to 1.
        box_free_share (dict, optional): Task name to the share of images
            without boxes in each batch. Defaults to as in the data.
        rehearsal_ratio (float): Share of a cycle's steps that the tasks with
            ``rehearsal`` in their entry have together, in equal parts and at
            least one each, whatever their caps; the other tasks' steps stay
            as they are. Not in orders that share the steps themselves.
            Defaults to 0.5.

    Raises:
        UserError: If a task has no images, a share is not in 0..1, or the
            order is unknown.
    """

    def __init__(
        self,
        sampler: DefaultSampler,
        batch_size: int,
        batch_sizes: dict[Any, Any],
        order: str | dict[Any, Any] = 'cyclic',
        lock: str | list[Any] = 'paper',
        lock_data_ratio: float = 0.5,
        max_batches: int | dict[Any, Any] | None = None,
        min_batches: int = 1,
        box_free_share: dict[Any, Any] | None = None,
        rehearsal_ratio: float = 0.5,
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.seed = int(getattr(sampler, 'seed', None) or 0)
        self.rank, self.world_size = get_rank(), get_world_size()
        check_number('cycle.min_batches', min_batches, 1, whole=True)
        self.min_batches = int(min_batches)
        # there is no release pass that would see the rest
        self.lock_data_ratio = 1.0 if lock == 'heads' else lock_data_ratio
        self._tasks = {
            dataset.task.name: (i, dataset)
            for i, dataset in enumerate(sampler.dataset.datasets)
        }
        caps = (
            max_batches if isinstance(max_batches, dict) else {'': max_batches}
        )
        for cap in caps.values():
            if cap is not None:
                check_number('cycle.max_batches', cap, 1, whole=True)
        shares = dict(box_free_share or {}, lock_data_ratio=lock_data_ratio)
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
            known = [*self._tasks, *(kind.name for kind in all_kinds())]
            check_keys(max_batches, known, 'cycle.max_batches')
        tasks = [dataset.task for dataset in sampler.dataset.datasets]
        visits = [
            (visit, self._length(visit, max_batches))
            for visit in plan_cycle(tasks, lock)
        ]
        visits = self._rehearse(visits, rehearsal_ratio, order)
        passes = plan_cycle(tasks, lock, order)
        if is_mixed(order):
            counts = [self._mix(entry.mode, visits, order) for entry in passes]
        else:
            counts = [{visit.task: length} for visit, length in visits]
        self.schedule = PassSchedule(
            passes, counts, self.seed if order == 'shuffled' else None
        )
        self.start = 0
        self.current_pass = 0

    def reseed(self, seed: int) -> None:
        """Draw from another seed from now on, as a resumed run must."""
        self.seed = seed
        self.schedule.reseed(seed)

    def describe_draws(self) -> dict[Any, Any]:
        """Return what decides which images a batch holds, but the seed.

        Returns:
            dict: ``lock_data_ratio``, and ``pools``: task name to the size and
            the images a global batch of each of its pools.
        """
        pools = {
            name: [[len(pool), count] for pool, count in pools]
            for name, pools in self._pools.items()
        }
        return dict(lock_data_ratio=self.lock_data_ratio, pools=pools)

    def _make_pools(self, name: str, share: float | None) -> list[Any]:
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

    def _length(
        self, entry: Pass, max_batches: int | dict[Any, Any] | None
    ) -> int:
        """Return the batches of a pass; the last partial one is dropped."""
        pool, count = self._pools[entry.task][0]
        length = max(len(pool) // count, self.min_batches)
        if isinstance(max_batches, dict):
            kind = split_name(entry.task)[1]
            max_batches = max_batches.get(entry.task, max_batches.get(kind))
        if max_batches:
            length = min(length, max_batches)
        return self._locked_share(entry, length)

    def _rehearse(
        self,
        visits: list[Any],
        ratio: float,
        order: str | Mapping[str, float],
    ) -> list[Any]:
        """Give the visits of rehearsing tasks their share of the steps."""
        old = [
            name
            for name, (_, dataset) in self._tasks.items()
            if dataset.task.config.get('rehearsal') is not None
        ]
        if not old:
            return visits
        if not isinstance(ratio, int | float) or not 0 < ratio < 1:
            raise UserError(
                f'cycle.rehearsal_ratio is {ratio!r}; it must be a number '
                'between 0 and 1: the share of the steps that rehearse.'
            )
        if order not in (*WALKED, 'concurrent'):
            raise UserError(
                f'cycle.order is {order!r}, which shares the steps itself; '
                'with rehearsal, use cyclic, shuffled or concurrent.'
            )
        new = sum(n for (task, _), n in visits if task not in old)
        if not new:
            raise UserError(
                'All tasks rehearse: each has a "rehearsal", and none learns '
                'anything new.'
            )
        steps = max(round(new * ratio / (1 - ratio)), len(old))
        shares = dict(zip(old, apportion(steps, [1.0] * len(old))))
        return [
            (visit, self._locked_share(visit, shares[visit.task]))
            if visit.task in shares
            else (visit, length)
            for visit, length in visits
        ]

    def _locked_share(self, visit: Pass, length: int) -> int:
        """Return the batches of a pass of which a release pass has so many."""
        if visit.mode != 'release':
            length = int(length * self.lock_data_ratio)
        return max(length, 1)

    def _mix(
        self, mode: str, visits: list[Any], order: str | Mapping[str, float]
    ) -> dict[Any, Any]:
        """Return each task's batches in the mixed pass of a lock state."""
        steps: dict[Any, Any] = {}
        for visit, length in visits:
            if visit.mode == mode:
                steps[visit.task] = steps.get(visit.task, 0) + length
        images = {name: len(data) for name, (_, data) in self._tasks.items()}
        return mix_steps(steps, order, images)

    def walk_pass(self, index: int, offset: int = 0) -> Iterator[list[Any]]:
        """Draw the global batches of pass number ``index``.

        Args:
            index (int): Number of the pass, counted from the run's start.
            offset (int): Batches to leave out at its beginning. Defaults to
                0.

        Yields:
            list[SampleKey]: The same on every rank.
        """
        place = self.schedule.place(index)
        key = [self.seed, index // self.schedule.passes_per_cycle, place]
        rng = np.random.default_rng(key)
        counts = self.schedule.counts[place]
        numbers = [self._tasks[task][0] for task in counts]
        if self.schedule.passes[place].task == MIXED:
            order = rng.permutation(np.repeat(numbers, list(counts.values())))
            draws = {
                number: self._draw(
                    task, count, np.random.default_rng([*key, 1 + number])
                )
                for number, (task, count) in zip(numbers, counts.items())
            }
        else:
            ((task, count),) = counts.items()
            order = np.repeat(numbers, count)
            draws = {numbers[0]: self._draw(task, count, rng)}
        rows = np.empty(len(order), int)
        for number in numbers:
            chosen = order == number
            rows[chosen] = np.arange(chosen.sum())
        for number, row in zip(order[offset:].tolist(), rows[offset:]):
            indices, seeds = draws[number]
            yield [
                SampleKey(number, index, seed)
                for index, seed in zip(
                    indices[row].tolist(), seeds[row].tolist()
                )
            ]

    def _draw(
        self, task: str, length: int, rng: np.random.Generator
    ) -> tuple[Any, ...]:
        """Draw a task's images and their seeds, both (length, batch)."""
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
        return batches, rng.integers(2**31, size=batches.shape)

    def pass_batches(self, index: int) -> list[Any]:
        """List what :meth:`walk_pass` draws, the whole pass."""
        return list(self.walk_pass(index))

    def __iter__(self) -> Iterator[list[Any]]:
        index, offset = self.schedule.locate(self.start)
        while True:
            for batch in self.walk_pass(index, offset):
                yield batch[self.rank :: self.world_size]
            index, offset = index + 1, 0

    def __len__(self) -> int:
        """Return the iterations of the current pass."""
        return self.schedule.length(self.current_pass)
