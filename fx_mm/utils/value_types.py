"""Refuse config values of a type that their reader does not take."""

import functools
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import typeguard

from fx_mm.registry import find_part
from fx_mm.utils.checks import check_arguments, check_keys, keywords
from fx_mm.utils.errors import UserError

OURS = 'fx_mm.'
LISTS = (list, tuple, Sequence)
WORDS = {
    int: 'a whole number',
    float: 'a number',
    bool: 'True or False',
    str: 'a text',
    type(None): 'None',
}


def check_value(where: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of a type.

    Stricter than Python where configs go wrong: True is no number, a text is
    no list of texts, and a number is finite. Lists pass for tuples.

    Args:
        where (str): The config's key, for the message.
        value: What the config says.
        hint: A type, as an annotation gives it.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if not _fits(value, hint):
        raise UserError(f'{where} is {value!r}; it must be {describe(hint)}.')


def _fits(value: Any, hint: Any) -> bool:
    options = _options(hint)
    if {Any, object} & set(options):
        return True
    if isinstance(value, bool):
        return bool in options
    if isinstance(value, float) and not math.isfinite(value):
        return False
    origins = [typing.get_origin(option) or option for option in options]
    if isinstance(value, str):
        # a text is a sequence of texts to Python
        options = [o for o, base in zip(options, origins) if base not in LISTS]
        if not options:
            return False
        hint = functools.reduce(operator.or_, options)
    elif isinstance(value, list) and tuple in origins:
        value = tuple(value)
    try:
        typeguard.check_type(
            value,
            hint,
            collection_check_strategy=(
                typeguard.CollectionCheckStrategy.ALL_ITEMS
            ),
            forward_ref_policy=typeguard.ForwardRefPolicy.IGNORE,
        )
    except typeguard.TypeCheckError:
        return False
    return True


def check_entry(
    where: str, entry: Mapping[str, Any], schema: Mapping[str, Any]
) -> None:
    """Refuse unknown keys of an entry, and values of a wrong type.

    Args:
        where (str): The entry's place in the config, for the message.
        entry (Mapping): What the config says.
        schema (Mapping): Key to type.

    Raises:
        UserError: Says where, what and what would be right.
    """
    check_value(where, entry, dict)
    check_keys(entry, schema, where)
    for key, value in entry.items():
        check_value(f'{where}.{key}', value, schema[key])


def check_part_values(
    where: str, part: type, arguments: Mapping[str, Any]
) -> None:
    """Refuse arguments of a type that a class of ours does not take.

    Classes of other packages are left to their constructors, since their
    annotations are not all true.

    Args:
        where (str): The part's place in the config, for the message.
        part (type): The class that a config names.
        arguments (Mapping): What the config says of it.

    Raises:
        UserError: Says where, what and what would be right.
    """
    _check_annotated(where, keywords(part, OURS), arguments)


def check_type(where: str, part: Mapping[str, Any]) -> None:
    """Refuse a part of a config whose ``type`` names no class.

    Args:
        where (str): The part's place in the config, for the message.
        part (Mapping): What the config says of it.

    Raises:
        UserError: Says where and what to do.
    """
    kind = part.get('type')
    if kind in (None, ''):
        raise UserError(f'{where} has no "type"; add the name of a class.')
    if not (isinstance(kind, str) or callable(kind)):
        raise UserError(
            f'{where}.type is {kind!r}; it must be the name of a class.'
        )


def check_call(
    where: str, function: Callable[..., Any], arguments: Mapping[str, Any]
) -> None:
    """Refuse arguments that a function of ours does not take.

    Args:
        where (str): Their place in the config, for the message.
        function (Callable): The function.
        arguments (Mapping): What the config says.

    Raises:
        UserError: Says where, what and what would be right.
    """
    check_value(where, arguments, dict)
    check_arguments(arguments, function, where)
    _check_annotated(where, keywords(function), arguments)


def _check_annotated(
    where: str,
    parameters: Mapping[str, inspect.Parameter],
    arguments: Mapping[str, Any],
) -> None:
    for key, value in arguments.items():
        known = parameters.get(key)
        # a quoted class, such as that of the runner, is not from a config
        if known is None or isinstance(known.annotation, str):
            continue
        if known.annotation is known.empty or _is_built(
            value, known.annotation
        ):
            continue
        check_value(f'{where}.{key}', value, known.annotation)


def _is_built(value: Any, hint: Any) -> bool:
    """Return whether a registry makes a part of a value before its use."""
    return (
        hasattr(value, 'get')
        and 'type' in value
        and any(isinstance(o, type) and o not in WORDS for o in _options(hint))
    )


def describe(hint: Any) -> str:
    """Return a type in words, such as "a list of numbers or None"."""
    options = _options(hint)
    if len(options) > 1:
        *others, last = [describe(option) for option in options]
        return f'{", ".join(others)} or {last}'
    (option,) = options
    if option in WORDS:
        return WORDS[option]
    origin = typing.get_origin(option) or option
    inner = [a for a in typing.get_args(option) if a not in (Any, Ellipsis)]
    if origin is typing.Literal:
        return 'one of ' + ', '.join(f'"{value}"' for value in inner)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return 'a dict'
    if origin in LISTS:
        if not inner:
            return 'a list'
        return 'a list of ' + describe(inner[0]).removeprefix('a ') + 's'
    return f'a {getattr(origin, "__name__", origin)}'


def _options(hint: Any) -> list[Any]:
    """Return the members of a union, or the type alone."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [o for arg in typing.get_args(hint) for o in _options(arg)]
    return [hint]


def check_parts(cfg: Any, where: str) -> None:
    """Refuse arguments of a wrong type in all parts of ours in a config.

    A part is a dict with a ``type``, at any depth.

    Args:
        cfg: What is walked.
        where (str): Its place, for the message.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if isinstance(cfg, Mapping):
        part = find_part(cfg.get('type'))
        if part is not None:
            check_part_values(where, part, cfg)
        for key, value in cfg.items():
            check_parts(value, f'{where}.{key}')
    elif isinstance(cfg, list | tuple):
        for number, value in enumerate(cfg):
            check_parts(value, f'{where}[{number}]')
