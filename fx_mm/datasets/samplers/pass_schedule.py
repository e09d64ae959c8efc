"""Which task is walked when: cycles, passes and their lengths."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ...tasks import MODES
from ...utils.errors import UserError

LOCK_PLANS = ('paper', 'plus', 'none')


class Pass(NamedTuple):
    """One walk over a task's training data with one lock state.

    ``mode`` is ``release`` (everything learns, all the data), ``lock``
    (Foundation X: shared parts frozen) or ``lock_plus`` (Foundation X+: only
    the task's light head learns); both locks walk a random share of the data.
    """

    task: str
    mode: str


def plan_cycle(tasks: Sequence[str], lock: str | Sequence) -> list:
    """List the passes of one cycle (reference: paper, Lock-Release, table).

    Args:
        tasks (list[str]): Active tasks in order, ``dataset/kind``.
        lock (str or list): ``paper``: ``loc`` and ``seg`` have a lock pass
            before their release pass, ``cls`` has none. ``plus``: every task
            has one, with the localization decoder locked too. ``none``: no
            lock passes. Or an explicit list of (task, mode).

    Returns:
        list[Pass]: 29 for the paper's 20 tasks with ``paper``.

    Raises:
        UserError: If the plan, a task or a mode in it is unknown.
    """
    if isinstance(lock, str):
        if lock not in LOCK_PLANS:
            raise UserError(
                f'cycle.lock is "{lock}"; it must be one of '
                f'{", ".join(LOCK_PLANS)} or a list of (task, mode).'
            )
        passes = []
        for task in tasks:
            kind = task.rsplit('/', 1)[1]
            if lock == 'plus':
                passes.append(Pass(task, 'lock_plus'))
            elif lock == 'paper' and kind != 'cls':
                passes.append(Pass(task, 'lock'))
            passes.append(Pass(task, 'release'))
        return passes
    passes = [Pass(*entry) for entry in lock]
    for entry in passes:
        if entry.task not in tasks:
            raise UserError(
                f'cycle.lock names the task "{entry.task}", which is not '
                f'active; active: {", ".join(tasks)}.'
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
        lengths (list[int]): Iterations of each of them, the same in every
            cycle.
    """

    def __init__(self, passes: Sequence, lengths: Sequence[int]) -> None:
        self.passes = [Pass(*entry) for entry in passes]
        self.lengths = list(lengths)
        self._ends = list(accumulate(self.lengths))

    @property
    def passes_per_cycle(self) -> int:
        """int: Passes in one cycle."""
        return len(self.passes)

    @property
    def iters_per_cycle(self) -> int:
        """int: Iterations in one cycle."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> Pass:
        """Give the pass number ``index``, counted from the run's start."""
        return self.passes[index % len(self.passes)]

    def length(self, index: int) -> int:
        """Give the iterations of pass number ``index``."""
        return self.lengths[index % len(self.passes)]

    def start(self, index: int) -> int:
        """Give the iteration at which pass number ``index`` begins."""
        cycle, step = divmod(index, len(self.passes))
        before = self._ends[step - 1] if step else 0
        return cycle * self.iters_per_cycle + before

    def locate(self, iteration: int) -> tuple:
        """Give (pass number, offset in the pass) of an iteration."""
        cycle, rest = divmod(iteration, self.iters_per_cycle)
        step = bisect_right(self._ends, rest)
        index = cycle * len(self.passes) + step
        return index, iteration - self.start(index)
