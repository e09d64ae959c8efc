"""Which groups of parameters a pass freezes; the only place that knows."""

from collections.abc import Collection, Sequence

from fx_mm.models.param_groups import ParamGroup
from fx_mm.tasks import MIXED, MODES
from fx_mm.utils.checks import check_choice
from fx_mm.utils.errors import UserError


def freeze_plan(
    groups: Sequence[ParamGroup],
    tasks: Sequence[str],
    task_name: str,
    mode: str,
    base: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the names of the groups that are frozen in a pass.

    In a lock pass only the task's own groups learn (Foundation X, section
    3.2): of localization its decoder, head, selection layers and own queries;
    of classification and segmentation the head. The reference leaves some
    shared groups of localization trainable (input projections, level
    embedding); here they are shared, so frozen.

    Args:
        groups (Sequence[ParamGroup]): The groups of the model.
        tasks (Sequence[str]): Names of its tasks.
        task_name (str): The task of the pass, such as ``'phantom_b/loc'``, or
            ``'mixed'`` for a pass over several: then the own groups of every
            task learn.
        mode (str): ``'lock'``; ``'lock_plus'`` (Foundation X+), which freezes
            heavy groups as well (a dataset's decoder), while selection layers
            learn, since here they are the dataset's (the authors' are shared
            and locked); or ``'release'``: nothing but the base is frozen.
        base (Collection[str]): Groups that an adapter learns in place of;
            frozen in every pass. Defaults to none.

    Returns:
        tuple[str]: Names of groups.

    Raises:
        UserError: If the task or the mode is unknown.
    """
    if task_name not in (MIXED, *tasks):
        raise UserError(
            f'the model has no task {task_name!r}; it has {", ".join(tasks)}.'
        )
    check_choice('lock mode', mode, MODES)
    learning = tasks if task_name == MIXED else (task_name,)
    return tuple(
        group.name
        for group in groups
        if group.name in base
        or mode != 'release'
        and (
            group.task not in learning or (group.heavy and mode == 'lock_plus')
        )
    )
