"""Which task is walked when: cycles, passes and their lengths."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import numpy as np

from fx_mm.datasets.samplers.mixing import check_order, is_mixed
from fx_mm.tasks import MIXED, MODES, Task
from fx_mm.utils.errors import UserError

LOCK_PLANS = ('paper', 'plus', 'heads', 'none')


class Pass(NamedTuple):
    """One walk over a task's training data with one lock state.

    ``mode`` is ``release`` (everything learns, all the data), ``lock``
    (Foundation X: shared parts frozen) or ``lock_plus`` (Foundation X+: only
    the task's light head learns); both locks walk a random share of the data.
    In a mixed order ``task`` is ``mixed``: every step has one task, and the
    lock state holds for all tasks of the pass.
    """

    task: str
    mode: str


def plan_cycle(
    tasks: Iterable[Task],
    lock: str | Sequence[tuple[str, str]],
    order: str | Mapping[str, float] = 'cyclic',
) -> list[Pass]:
    """List the passes of one cycle (reference: paper, Lock-Release, table).

    In a mixed order the passes of equal lock state are one: with ``paper`` a
    lock pass over the tasks that have one, and a release pass over all.

    Args:
        tasks (Iterable[Task]): Active tasks in order.
        lock (str or list): ``paper``: tasks whose kind has a lock pass
            (boxes and masks) walk it before their release pass, the others
            (labels) have none. ``plus``: every task has one, with the
            localization decoder locked too. ``heads``: lock passes alone, so
            only own groups ever learn. ``none``: no lock passes. Or an
            explicit list of (task, mode). A task that only rehearses (its
            entry has ``rehearsal``) or is without annotation (``pseudo``)
            has no lock pass but with ``heads`` or such a list.
        order (str or dict): See :class:`CyclicBatchSampler`. Defaults to
            ``cyclic``.

    Returns:
        list[Pass]: 29 for the paper's 20 tasks with ``paper``.

    Raises:
        UserError: If the plan, the order, a task or a mode is unknown.
    """
    tasks = list(tasks)
    check_order(order, [task.name for task in tasks])
    passes = _walk_tasks(tasks, lock)
    if not is_mixed(order):
        return passes
    present = {entry.mode for entry in passes}
    return [Pass(MIXED, mode) for mode in MODES if mode in present]


def _walk_tasks(
    tasks: Sequence[Task], lock: str | Sequence[tuple[str, str]]
) -> list[Pass]:
    """List the passes of a cycle that walks task after task."""
    if isinstance(lock, str):
        if lock not in LOCK_PLANS:
            raise UserError(
                f'cycle.lock is "{lock}"; it must be one of '
                f'{", ".join(LOCK_PLANS)} or a list of (task, mode).'
            )
        passes = []
        for task in tasks:
            new = task.config.get('rehearsal') is None and not task.pseudo
            own = lock == 'heads' or (
                lock == 'paper' and task.kind.lock_pass and new
            )
            if lock == 'plus' and new:
                passes.append(Pass(task.name, 'lock_plus'))
            elif own:
                passes.append(Pass(task.name, 'lock'))
            if lock != 'heads':
                passes.append(Pass(task.name, 'release'))
        return passes
    try:
        passes = [Pass(*entry) for entry in lock]
    except TypeError as error:
        raise UserError(
            f'cycle.lock is {lock!r}; it must be one of '
            f'{", ".join(LOCK_PLANS)} or a list of (task, mode).'
        ) from error
    if not passes:
        raise UserError(
            'cycle.lock is an empty list; list (task, mode), or use one of '
            f'{", ".join(LOCK_PLANS)}.'
        )
    names = [task.name for task in tasks]
    for entry in passes:
        if entry.task not in names:
            raise UserError(
                f'cycle.lock names the task "{entry.task}", which is not '
                f'active; active: {", ".join(names)}.'
            )
        if entry.mode not in MODES:
            raise UserError(
                f'cycle.lock gives "{entry.task}" the mode "{entry.mode}"; '
                f'it must be one of {", ".join(MODES)}.'
            )
    return passes


class PassSchedule:
    """Closed-form map between iterations, passes and cycles.

    Args:
        passes (list[Pass]): The passes of one cycle.
        counts (list[dict]): Task to iterations in each of them, the same in
            every cycle.
        shuffle_seed (int, optional): Draws the order of the tasks anew in
            each cycle; passes of a task that follow each other stay
            together. Defaults to None, the order of ``passes``.

    Attributes:
        passes, counts, lengths (list): Of one cycle, before shuffling.
    """

    def __init__(
        self,
        passes: Sequence[tuple[str, str]],
        counts: Sequence[Mapping[str, int]],
        shuffle_seed: int | None = None,
    ) -> None:
        self.passes = [Pass(*entry) for entry in passes]
        self.counts = [dict(entry) for entry in counts]
        self.lengths = [sum(entry.values()) for entry in self.counts]
        self.shuffle_seed = shuffle_seed
        # the last cycle asked for: several hooks ask at each iteration
        self._drawn: tuple[int, list[int]] = (-1, [])
        places = range(len(self.passes))
        self._blocks = [
            list(block)
            for _, block in groupby(places, lambda i: self.passes[i].task)
        ]

    @property
    def passes_per_cycle(self) -> int:
        """int: Passes in one cycle."""
        return len(self.passes)

    @property
    def iters_per_cycle(self) -> int:
        """int: Iterations in one cycle."""
        return sum(self.lengths)

    def reseed(self, seed: int) -> None:
        """Shuffle by another seed, if at all."""
        if self.shuffle_seed is not None:
            self.shuffle_seed = seed
            self._drawn = (-1, [])

    def places(self, cycle: int) -> list[int]:
        """Return the numbers in ``passes`` in the order of a cycle."""
        if self._drawn[0] != cycle:
            blocks = self._blocks
            if self.shuffle_seed is not None:
                # no pass of the cycle has this number
                key = [self.shuffle_seed, cycle, len(self.passes)]
                drawn = np.random.default_rng(key).permutation(len(blocks))
                blocks = [blocks[i] for i in drawn]
            places = [place for block in blocks for place in block]
            self._drawn = cycle, places
        return self._drawn[1]

    def place(self, index: int) -> int:
        """Return the number in ``passes`` of the pass number ``index``."""
        cycle, step = divmod(index, len(self.passes))
        return self.places(cycle)[step]

    def __getitem__(self, index: int) -> Pass:
        """Return the pass number ``index``, counted from the run's start."""
        return self.passes[self.place(index)]

    def length(self, index: int) -> int:
        """Return the iterations of pass number ``index``."""
        return self.lengths[self.place(index)]

    def start(self, index: int) -> int:
        """Return the iteration at which pass number ``index`` begins."""
        cycle, step = divmod(index, len(self.passes))
        before = self.places(cycle)[:step]
        return cycle * self.iters_per_cycle + sum(
            self.lengths[place] for place in before
        )

    def locate(self, iteration: int) -> tuple[Any, ...]:
        """Return (pass number, offset in the pass) of an iteration."""
        cycle, rest = divmod(iteration, self.iters_per_cycle)
        ends = accumulate(self.lengths[place] for place in self.places(cycle))
        step = bisect_right(list(ends), rest)
        index = cycle * len(self.passes) + step
        return index, iteration - self.start(index)
