"""A config that came as data from somebody else."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

from fx_mm.config.plain import PlainConfig
from fx_mm.registry import is_registered
from fx_mm.utils.errors import UserError


def config_of_data(values: Mapping[str, Any], source: str) -> PlainConfig:
    """Return the config of an experiment, see :func:`refuse_other_types`.

    Args:
        values (Mapping): Key to value.
        source (str): Where they are from, to begin a message.

    Raises:
        UserError: If it is no experiment's, or names a type that is not
            registered.
    """
    if not values.get('datasets') or not values.get('model'):
        raise UserError(
            f'{source} does not hold the config of its training; give the '
            'config too.'
        )
    refuse_other_types(values, source)
    try:
        return PlainConfig(values)
    except KeyError as error:
        raise UserError(
            f'{source} has a config with a key that mmengine keeps for '
            f'itself: {error}.'
        ) from error


def refuse_other_types(values: Any, source: str) -> None:
    """Refuse a type that nobody registered.

    A registry takes such a name for that of an object to import, and calls
    it: ``dict(type='os.system', command=...)`` would run a command where a
    backbone is built.

    Args:
        values: Of a config.
        source (str): Where they are from, to begin a message.

    Raises:
        UserError: Names the type.
    """
    # mmdet's transforms print what they do not find
    with contextlib.redirect_stdout(io.StringIO()):
        other = [
            name
            for name in dict.fromkeys(_types(values))
            if not is_registered(name)
        ]
    if other:
        raise UserError(
            f'{source} has a config with the type "{other[0]}", which no '
            'part of fx_mm or of the OpenMMLab packages is called; import '
            'the module that registers it first, or give the config too.'
        )


def _types(value: Any) -> Iterator[str]:
    """Yield all that a registry could be asked for."""
    if isinstance(value, Mapping):
        name = value.get('type')
        if isinstance(name, str):
            yield name
        for each in value.values():
            yield from _types(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _types(each)
