"""Numbers of a config that may differ by task kind."""

from collections.abc import Iterable, Mapping

from fx_mm.tasks.kinds import all_kinds
from fx_mm.tasks.task import split_name
from fx_mm.utils.checks import check_keys, check_number
from fx_mm.utils.errors import UserError

ByKind = float | Mapping[str, float]
"""A number, or task kind to number."""


def check_by_kind(
    where: str,
    value: ByKind,
    tasks: Iterable[str] = (),
    low: float = 0,
    high: float = 1,
) -> None:
    """Refuse what is no number from ``low`` to ``high``, or dict of such.

    Args:
        where (str): The config's key, for the message.
        value (float | dict): What the config says.
        tasks (Iterable[str]): Names of tasks that need one. Defaults to none.
        low (float): Smallest value allowed. Defaults to 0.
        high (float): Largest value allowed. Defaults to 1.

    Raises:
        UserError: Names the kind, and what would be right.
    """
    if not isinstance(value, Mapping):
        check_number(where, value, low, high)
        return
    check_keys(value, [kind.name for kind in all_kinds()], where)
    for kind, number in value.items():
        check_number(f'{where}.{kind}', number, low, high)
    for task in tasks:
        kind = split_name(task)[1]
        if kind not in value:
            raise UserError(f'{where} has no "{kind}", which {task} needs.')


def for_kind(value: ByKind, kind: str) -> float:
    """Return the number of a kind."""
    return value[kind] if isinstance(value, Mapping) else value
