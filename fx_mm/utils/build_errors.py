"""Distinguish a mistake in a part's config from a fault of the code."""

import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

import mmengine.registry.build_functions as build_functions
from mmengine.registry import Registry

from fx_mm.utils.checks import keywords, suggest
from fx_mm.utils.errors import UserError

BUILDER = build_functions.__file__
WRONG_KEYWORD = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)
MISSING = re.compile(
    r"(\w+)(?:\.__init__)?\(\) missing \d+ required [\w-]+ arguments?: '(\w+)'"
)
UNKNOWN_TYPE = re.compile(r'(\S+) is not in the (\S+) registry')
OURS = str(Path(__file__).parents[1])


@contextmanager
def build_errors(whose: str = '') -> Iterator[None]:
    """Turn what a registry's build refuses into one sentence.

    That is an unknown type or none, a wrong or missing keyword (also one that
    a class hands on to its base or to a part of it), and what the constructor
    of another package says of its arguments. What our own code raises
    otherwise is a fault of ours and passes as it is.

    Args:
        whose (str): What the part is, for the message: ``the reader of task
            nih14/cls``. Defaults to '', which its type says.

    Raises:
        UserError: Names the part and what is wrong with it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = _refusal(error, whose)
        if text is None:
            raise
        raise UserError(text) from error


def build_part(registry: Registry, cfg: dict[str, Any]) -> Any:
    """Build one part; see :func:`build_errors`."""
    with build_errors():
        return registry.build(cfg)


def _refusal(error: Exception, whose: str) -> str | None:
    """Return what a registry could not build; None if ours is the fault.

    The last call of a registry's build decides, or without one all calls:
    with frames of fx_mm below it, its constructor was ours and came to an
    error by itself, unless the constructor of another package did.
    """
    frames: list[FrameType] = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    builds = [
        i for i, f in enumerate(frames) if f.f_code.co_filename == BUILDER
    ]
    # torch lists all the forms of a function
    text = textwrap.shorten(str(error), 300)
    refusal = f'{type(error).__name__}: {text}'
    last = builds[-1] if builds else 0
    below = frames[last + 1 :]
    ours = any(map(_is_ours, below)) and not _in_constructor(below)
    build = frames[last].f_locals
    cfg: Any = build.get('cfg')
    registry = build.get('registry')
    if registry is None:
        return None if ours else f'The config cannot be built: {refusal}'
    kind = whose or f'a {registry.name}'
    if not hasattr(cfg, 'get'):
        return f'The config of {kind} is {cfg!r}; it must be a dict.'
    name = cfg.get('type')
    if not (name and (isinstance(name, str) or callable(name))):
        keys = ', '.join(map(str, cfg))
        return (
            f'The config of {kind} with the keys {keys or "none"} has '
            f'{name!r} for its "type"; write the name of a class.'
        )
    name = str(getattr(name, '__name__', name))
    part = f'{name}, {whose}' if whose else name
    wrong = WRONG_KEYWORD.search(text)
    missing = MISSING.search(text)
    if isinstance(error, TypeError) and wrong and _has_key(cfg, wrong[2]):
        owner = _called(wrong[1], frames, build)
        known = set(keywords(owner) if owner else ())
        known -= set(build.get('default_args') or ())
        if owner is not build.get('obj_cls'):
            part = wrong[1]
        return (
            f'Unknown key "{wrong[2]}" in the config of {part}; '
            f'{suggest(wrong[2], known)}.'
        )
    no_argument = f'{name.split(".")[-1]}() takes no arguments'
    if isinstance(error, TypeError) and text == no_argument:
        key = next(k for k in cfg if k not in ('type', '_scope_'))
        return f'Unknown key "{key}" in the config of {part}; it takes none.'
    if ours:
        return None
    if isinstance(error, TypeError) and missing and not below:
        return f'The config of {part} has no "{missing[2]}"; add it.'
    unknown = UNKNOWN_TYPE.search(text)
    if isinstance(error, KeyError) and unknown:
        return (
            f'Unknown type "{name}": the registry of the '
            f'{registry.name} has no such class'
            f'{_similar(name, registry)}; correct it, or import the '
            'module that defines it with custom_imports.'
        )
    return f'The config of {part} cannot be built: {refusal}'


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)


def _in_constructor(frames: list[FrameType]) -> bool:
    """Return whether another package could not build what ours asked for.

    Args:
        frames (list): From the constructor of the part to the error.
    """
    last = max(i for i, frame in enumerate(frames) if _is_ours(frame))
    names = [frame.f_code.co_name for frame in frames[last + 1 :]]
    return any(n == '__init__' or n.startswith('build_') for n in names)


def _has_key(cfg: Any, key: str) -> bool:
    """Return whether a config, or a part of it, has a key."""
    if isinstance(cfg, list | tuple):
        return any(_has_key(each, key) for each in cfg)
    return isinstance(cfg, dict) and (
        key in cfg or any(_has_key(each, key) for each in cfg.values())
    )


def _called(
    name: str, frames: list[FrameType], build: dict[str, Any]
) -> Callable[..., Any] | None:
    """Return what an error calls by name, as far as it is to be found."""
    built = build.get('obj_cls')
    bases = getattr(built, '__mro__', (built,))
    if name == '__init__' or name in {b.__name__ for b in bases if b}:
        return built
    found = frames[-1].f_globals.get(name)
    return found if callable(found) else None


def _similar(name: str, registry: Registry) -> str:
    """Return the class that a type may have meant."""
    known: set[str] = set()
    each: Registry | None = registry
    while each is not None:
        known |= set(each.module_dict)
        each = each.parent
    close = get_close_matches(name.split('.')[-1], sorted(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ''
