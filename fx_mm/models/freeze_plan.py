"""What stands still in a lock pass; the only place that knows."""

from collections.abc import Sequence

from fx_mm.models.parts import BRANCHES, Part
from fx_mm.tasks.table import MIXED, MODES
from fx_mm.utils.errors import UserError

# The shared parts that stand still in a localization lock pass (paper,
# section 3.2; the reference leaves the last four trainable).
LOC_LOCK = (
    'backbone',
    'localization/encoder',
    'localization/norms',
    'localization/neck',
    'localization/level_embed',
    'localization/queries',
    'localization/label_embedding',
    'localization/decoder',
)


def freeze_plan(
    parts: Sequence[Part], tasks: Sequence[str], task_name: str, mode: str
) -> tuple[str, ...]:
    """Names of the parts that stand still in a pass.

    Args:
        parts (Sequence[Part]): The parts of the model.
        tasks (Sequence[str]): Names of its tasks.
        task_name (str): The task of the pass, such as ``'phantom_b/loc'``, or
            ``'mixed'`` for a pass over several: a shared part is locked if
            the plan of any task whose branch uses it locks it; own parts
            follow their task's plan.
        mode (str): ``'lock'`` (Foundation X, section 3.2): localization
            trains its decoder, head, selection layers and own queries;
            classification and segmentation train their head.
            ``'lock_plus'`` (Foundation X+): localization's decoder stands
            still too; selection layers learn, since here they are the
            dataset's (the authors' are shared and locked). ``'release'``:
            nothing stands still.

    Returns:
        tuple[str]: Names of parts.

    Raises:
        UserError: If the task or the mode is unknown.
    """
    if task_name not in (MIXED, *tasks):
        raise UserError(
            f'the model has no task {task_name!r}; it has {", ".join(tasks)}.'
        )
    if mode not in MODES:
        raise UserError(
            f'lock mode {mode!r} is unknown; use one of {", ".join(MODES)}.'
        )
    if mode == 'release':
        return ()
    if task_name == MIXED:
        return _mixed_plan(parts, tasks, mode)
    if task_name.endswith('/loc') and mode == 'lock':
        return tuple(part.name for part in parts if part.name in LOC_LOCK)
    return tuple(
        part.name
        for part in parts
        if part.task != task_name or part.name == f'{task_name}/decoder'
    )


def _mixed_plan(
    parts: Sequence[Part], tasks: Sequence[str], mode: str
) -> tuple[str, ...]:
    """The plan of a pass over several tasks, see :func:`freeze_plan`.

    All tasks of the model are asked, also those without a lock pass of their
    own: the parts that only these use get no gradient in it.
    """
    plans = {task: freeze_plan(parts, tasks, task, mode) for task in tasks}

    def locks(task: str, part: Part) -> bool:
        branch = BRANCHES[task.rsplit('/', 1)[1]][0]
        owner = part.task or part.name.split('/')[0]
        used = owner in (task, branch, 'backbone')
        return used and part.name in plans[task]

    return tuple(
        part.name for part in parts if any(locks(task, part) for task in plans)
    )
