"""Resuming where tasks or the cycle are others than the checkpoint's."""

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from fx_mm.datasets.samplers.pass_schedule import PassSchedule
from fx_mm.models.mean_teacher import MeanTeacher
from fx_mm.tasks import MIXED, all_kinds
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

TEACHER, STUDENT = (f'{name}.' for name in PREDICTORS)
FITTED = 'localization.label_embedding.weight'
"""Its rows are fitted by the branch."""


def describe_schedule(schedule: PassSchedule) -> list[list[Any]]:
    """Return the cycle's passes as [task, mode, iterations].

    A fourth entry holds what else an iteration's place depends on: a mixed
    pass's iterations by task, or the seed that shuffles the tasks.
    """
    rows = []
    for entry, counts in zip(schedule.passes, schedule.counts):
        row = [*entry, sum(counts.values())]
        if entry.task == MIXED:
            row.append(dict(counts))
        elif schedule.shuffle_seed is not None:
            row.append(schedule.shuffle_seed)
        rows.append(row)
    return rows


def _tasks(rows: list[list[Any]]) -> set[str]:
    """Return the names of the tasks of a described cycle."""
    return {
        name
        for task, _, _, *more in rows
        for name in (more[0] if task == MIXED else [task])
    }


def describe_draws(runner: 'MultiTaskRunner') -> dict[str, Any]:
    """Return what else decides which images a step sees."""
    draws = runner.train_loop.sampler.describe_draws()
    accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    return dict(draws, accumulated=accumulated)


def move_checkpoint(
    checkpoint: dict[str, Any], runner: 'MultiTaskRunner'
) -> str:
    """Move a checkpoint's position to where it stands in another cycle.

    Tasks, batch sizes, data or processes may have changed since. The count
    of whole cycles is what stays; a cycle that was begun starts
    again. Weights and optimizer state are matched by name elsewhere.

    Args:
        checkpoint (dict): A loaded checkpoint, changed in place.
        runner (Runner): With the loop that trains from now on.

    Returns:
        str: What changed and where training goes on; empty if the cycle is
        the same.

    Raises:
        UserError: If a scheduler's state cannot be moved.
    """
    meta, schedule = checkpoint['meta'], runner.train_loop.schedule
    saved, now = meta.get('schedule'), describe_schedule(schedule)
    draws = describe_draws(runner)
    if saved is None or (saved == now and meta.get('draws', draws) == draws):
        return ''
    cycle = meta['epoch'] // len(saved)
    meta['epoch'] = cycle * schedule.passes_per_cycle
    meta['iter'] = cycle * schedule.iters_per_cycle
    for state in checkpoint.get('param_schedulers') or []:
        if set(state) != {'_global_step'}:
            raise UserError(
                'The cycle of the checkpoint is another one than the '
                "config's, and one of its schedulers cannot be moved there; "
                'use CycleCosineLR, or start from its weights with '
                '--cfg-options load_from=CHECKPOINT.'
            )
        state['_global_step'] = meta['epoch']
    before, after = _tasks(saved), _tasks(now)
    changes = [
        f'{what} {", ".join(sorted(names))}'
        for what, names in (
            ('without', before - after),
            ('with the new task', after - before),
        )
        if names
    ]
    what_changed = ' and '.join(changes) or 'with other passes'
    return (
        f"The cycle differs from the checkpoint's: training goes on "
        f'{what_changed} at the beginning of cycle {cycle + 1}.'
    )


def match_weights(
    state_dict: dict[str, Tensor], model: MeanTeacher, saved: Iterable[str]
) -> str:
    """Make a training's weights those of a model with other tasks.

    What the model does not have is left out; what the weights do not have
    keeps the model's initialisation, but a teacher is the student's copy.

    Args:
        state_dict (dict): Weights of a ``MeanTeacher``, changed in place.
        model (MeanTeacher): The model that will load them.
        saved (Iterable[str]): Names of the tasks that they were trained on.

    Returns:
        str: What was left out and what is new, by task or branch; empty if
        the names are the same.

    Raises:
        UserError: If a weight has another shape.
    """
    tasks = {*saved, *model.student.task_names}
    wanted = model.state_dict()
    whole = has_teacher(state_dict) != has_teacher(wanted)
    extra = [key for key in state_dict if key not in wanted]
    new = [key for key in wanted if key not in state_dict]
    for key in extra:
        del state_dict[key]
    for key in new:
        # a teacher starts as the student is, whose weights come before
        twin = key.replace(TEACHER, STUDENT, 1) if whole else key
        state_dict[key] = state_dict.get(twin, wanted[key])
    for key, value in wanted.items():
        old = state_dict[key]
        if old.shape != value.shape and not key.endswith(FITTED):
            raise UserError(_other_shape(key, old, value))
    sentences = []
    for what, keys in (('left out', extra), ('newly initialised', new)):
        owners = {
            'the teacher'
            if whole and key.startswith(TEACHER)
            else _owner(key, tasks)
            for key in keys
        }
        if owners:
            names = ', '.join(sorted(owners))
            sentences.append(f'{what}: {names} ({len(keys)} weights)')
    return '; '.join(sentences)


def has_teacher(names: Iterable[str]) -> bool:
    """Return whether weights of these names have a teacher's."""
    return any(name.startswith(TEACHER) for name in names)


def check_weights(state_dict: dict[str, Tensor], model: nn.Module) -> None:
    """Refuse weights to start from that are another model's.

    Args:
        state_dict (dict): Of a ``MeanTeacher`` or of its student alone.
        model (MeanTeacher): The model that will load them.

    Raises:
        UserError: If a weight has another shape, or none has a known name.
    """
    wanted = model.state_dict()
    known = 0
    for key, value in state_dict.items():
        ours = wanted.get(key, wanted.get(STUDENT + key.removeprefix(TEACHER)))
        if ours is None:
            continue
        known += 1
        if ours.shape != value.shape and not key.endswith(FITTED):
            raise UserError(_other_shape(key, value, ours))
    if not known:
        raise UserError(
            'load_from names a checkpoint with no weight that this model '
            f'has; its first is {next(iter(state_dict), None)!r}. Weights of '
            'a backbone alone go to model.student.backbone.init_cfg.'
        )


def _other_shape(key: str, found: Tensor, wanted: Tensor) -> str:
    return (
        f'The checkpoint has the shape {tuple(found.shape)} for {key} and the '
        f'config {tuple(wanted.shape)}; use the model config it was trained '
        'with.'
    )


def _owner(key: str, tasks: Container[str]) -> str:
    """Name the task, or the branch, that a weight belongs to.

    Args:
        key (str): Name in the state dict of a ``MeanTeacher``, such as
            ``student.segmentation.heads.phantom_c.weight``.
        tasks (Container[str]): Names of the tasks of both sides.
    """
    branch, *modules = key.split('.')[1:]
    for kind in all_kinds():
        for module in modules[:2]:
            name = f'{module}/{kind.name}'
            if kind.branch == branch and name in tasks:
                return name
    return branch
