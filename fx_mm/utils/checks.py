"""Refuse values that make no sense before they do harm."""

import difflib
import inspect
import os.path as osp
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from numbers import Real
from typing import Any

from fx_mm.utils.errors import UserError

ANY = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def suggest(word: str, known: Iterable[Any]) -> str:
    """Return what a mistyped word may have meant, and what is known."""
    known = sorted(map(str, known))
    if not known:
        return 'it takes none'
    close = difflib.get_close_matches(str(word), known, n=1)
    start = f'did you mean "{close[0]}"? Known' if close else 'known'
    return f'{start}: {", ".join(known)}'


def check_keys(
    entry: Iterable[str], known: Collection[str], where: str
) -> None:
    """Refuse a key that nothing reads.

    Raises:
        UserError: Names the key, its place and the likely one.
    """
    for key in entry:
        if key not in known:
            raise UserError(
                f'Unknown key "{key}" in {where}; {suggest(key, known)}.'
            )


def keywords(
    function: Callable[..., Any], package: str = ''
) -> dict[str, inspect.Parameter]:
    """Return the keywords that a function or a class takes.

    A class that takes any keyword hands them on to its base.

    Args:
        function (Callable): The function or class.
        package (str): What the modules of the bases begin with; those of
            others, and what is behind them, are left out. Defaults to '',
            no base.
    """
    if not inspect.isclass(function):
        own = inspect.signature(function).parameters
        return {name: p for name, p in own.items() if p.kind not in ANY}
    found: dict[str, inspect.Parameter] = {}
    for base in function.__mro__[:-1]:
        if '__init__' not in vars(base):
            continue
        if not base.__module__.startswith(package):
            break
        signature = inspect.signature(vars(base)['__init__'])
        _, *parameters = signature.parameters.values()
        for parameter in parameters:
            if parameter.kind not in ANY:
                found.setdefault(parameter.name, parameter)
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found


def check_arguments(
    given: Iterable[str], function: Callable[..., Any], where: str
) -> None:
    """Refuse a key that a function or class does not take.

    Raises:
        UserError: Names the key, its place and the likely one.
    """
    check_keys(given, keywords(function), where)


def check_number(
    where: str,
    value: Any,
    low: float,
    high: float = float('inf'),
    whole: bool = False,
) -> None:
    """Refuse what is not a number from ``low`` to ``high``.

    Args:
        where (str): The config's key, for the message.
        value: What the config says.
        low (float): Smallest value allowed.
        high (float): Largest value allowed. Defaults to infinity.
        whole (bool): Whether it must be a whole number. Defaults to False.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and low <= float(value) <= high
        and (not whole or float(value).is_integer())
    ):
        return
    limits = f'at least {low}' if high == float('inf') else f'in {low}..{high}'
    kind = 'whole number' if whole else 'number'
    raise UserError(f'{where} is {value!r}; it must be a {kind}, {limits}.')


def as_list(value: str | Sequence[str] | None) -> list[str] | None:
    """Return names as a list, also a single one; None stays None."""
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)


def check_choice(where: str, value: Any, known: Collection[Any]) -> None:
    """Refuse a value that is not among those known.

    Args:
        where (str): The config's key, for the message.
        value: What the config says.
        known (Collection): What it may say.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if value not in known:
        raise UserError(
            f'{where} is {value!r}; use one of {", ".join(map(str, known))}.'
        )


def check_per_class(
    where: str,
    values: Any,
    classes: Sequence[str],
    high: float = float('inf'),
) -> None:
    """Refuse what is not None, a number from 0, or such numbers per class.

    Args:
        where (str): The config's key, for the message.
        values: What the config says.
        classes (Sequence): The classes.
        high (float): Largest value allowed. Defaults to infinity.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if values is None:
        return
    if isinstance(values, (list, tuple)):
        if len(values) != len(classes):
            raise UserError(
                f'{where} has {len(values)} values for {len(classes)} '
                'classes; write one per class, or one number.'
            )
    else:
        values = [values]
    for value in values:
        check_number(where, value, 0, high)


def check_inside(where: str, path: str | None, root: str) -> None:
    """Refuse a path that leads out of the folder it is relative to.

    Args:
        where (str): The config's key, for the message.
        path (str, optional): What the config says; None is fine.
        root (str): What the folder is called.

    Raises:
        UserError: If the path is absolute or leaves the folder by ``..``.
    """
    if path is None:
        return
    first = osp.normpath(path).split(osp.sep)[0]
    if osp.isabs(path) or first == osp.pardir:
        raise UserError(
            f'{where} is "{path}", which leads out of {root}; write it '
            f'relative to {root}.'
        )


def compile_patient(pattern: str, dataset: str) -> re.Pattern:
    """Compile the pattern that finds a patient in an image's name.

    Args:
        pattern (str): The ``patient`` of a dataset's config.
        dataset (str): Name of the dataset, for the message.

    Raises:
        UserError: If it is not a regular expression.
    """
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise UserError(
            f'datasets.{dataset}.patient is {pattern!r}, which is not a '
            f"regular expression ({error}); write one that finds an image's "
            r'patient in its name, such as "patient(\d+)".'
        ) from error
