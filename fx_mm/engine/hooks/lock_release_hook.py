"""Lock shared parts for a pass, then release them."""

import logging
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from fx_mm.datasets.samplers.pass_schedule import Pass
from fx_mm.models.mean_teacher import bare_model
from fx_mm.models.param_groups import ParamGroup
from fx_mm.registry import HOOKS
from fx_mm.tasks import MIXED

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@HOOKS.register_module()
class LockReleaseHook(Hook):
    """Apply the freeze plan of each pass (Foundation X, Lock-Release).

    At the start of a pass the model's ``freeze_plan`` names the parts to
    lock; they get no gradient, no weight decay and are in eval mode, and keep
    their optimizer state. Which passes lock is the ``cycle`` of the config;
    in a mixed pass the state holds for all its tasks.
    The state depends on the pass alone, so a resumed run needs no catching
    up: it is applied when the pass it stopped in starts again.

    What a lock pass locks is logged the first time that it comes.

    Examples:
        >>> cycle = dict(lock='paper', lock_data_ratio=0.5)
        >>> custom_hooks = [
        ...     dict(type='LockReleaseHook'),
        ...     dict(type='MeanTeacherHook', decay=0.8)]
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self._logged: set[Pass] = set()

    def before_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Lock what the pass locks and release all else."""
        entry = runner.train_loop.current_pass
        model = bare_model(runner.model).student
        locked = model.freeze_plan(entry.task, entry.mode)
        model.lock(locked)
        known = not locked or entry in self._logged
        self._logged.add(entry)
        runner.logger.log(
            logging.DEBUG if known else logging.INFO,
            f'{entry.task} {entry.mode} locks '
            + describe(model.param_groups(), locked, entry.task),
        )

    def after_train(self, runner: 'MultiTaskRunner') -> None:
        """Leave the model with nothing locked."""
        bare_model(runner.model).student.lock(())


def describe(
    groups: Iterable[ParamGroup], locked: Collection[str], task: str
) -> str:
    """Summarise what is locked in a pass.

    Args:
        groups (Iterable[ParamGroup]): All groups of the model.
        locked (Collection[str]): Names of those that are locked.
        task (str): The task of the pass.

    Returns:
        str: Shared groups, by branch where all of a branch are locked, the
        task's own, and how many other tasks have locked groups.
    """
    shared: dict[str, list[str]] = {}
    own, others = [], set()
    for group in groups:
        if group.task is None:
            shared.setdefault(group.name.split('/')[0], []).append(group.name)
        elif group.name in locked and task in (group.task, MIXED):
            own.append(group.name)
        elif group.name in locked:
            others.add(group.task)
    names = []
    for branch, members in shared.items():
        chosen = [name for name in members if name in locked]
        names += [branch] if chosen == members else chosen
    names += own
    if others:
        tasks = 'task' if len(others) == 1 else 'tasks'
        names.append(f'parts of {len(others)} other {tasks}')
    return ', '.join(names) or 'nothing'
