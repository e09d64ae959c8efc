"""Distinguish a mistake in a part's config from a fault of the code."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import mmengine.registry.build_functions as build_functions
from mmengine.registry import Registry

from fx_mm.utils.errors import UserError

BUILDER = build_functions.__file__
WRONG_KEYWORD = re.compile(r"unexpected keyword argument '(\w+)'")
OURS = str(Path(__file__).parents[1])


@contextmanager
def build_errors() -> Iterator[None]:
    """Turn what a registry's build refuses into one sentence.

    That is an unknown type, a wrong keyword (also one that a class of ours
    hands on to its base), and what the constructor of another package says of
    its arguments. What our own code raises otherwise is a fault of ours and
    passes as it is.

    Raises:
        UserError: Names the part and what is wrong with it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cfg = _refused_part(error)
        if cfg is None:
            raise
        text = ' '.join(str(error).split())
        name = cfg.get('type', dict(cfg))
        raise UserError(
            f'The config of {name} cannot be built: '
            f'{type(error).__name__}: {text}'
        ) from error


def build_part(registry: Registry, cfg: dict[str, Any]) -> Any:
    """Build one part; see :func:`build_errors`."""
    with build_errors():
        return registry.build(cfg)


def _refused_part(error: Exception) -> dict[str, Any] | None:
    """Return the config that a registry could not build, None if ours is it.

    The last call of a registry's build decides: with frames of fx_mm below
    it, its constructor was ours and came to an error by itself.
    """
    frames: list[FrameType] = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    builds = [
        i for i, f in enumerate(frames) if f.f_code.co_filename == BUILDER
    ]
    if not builds:
        return None
    below = frames[builds[-1] + 1 :]
    cfg: Any = frames[builds[-1]].f_locals.get('cfg')
    if not hasattr(cfg, 'get'):
        return None
    ours = any(f.f_code.co_filename.startswith(OURS) for f in below)
    return None if ours and not _has_wrong_keyword(cfg, error) else cfg


def _has_wrong_keyword(cfg: dict[str, Any], error: Exception) -> bool:
    """Return whether a key of a config is what a call did not expect."""
    found = WRONG_KEYWORD.search(str(error))
    return (
        isinstance(error, TypeError)
        and found is not None
        and (found[1] in cfg)
    )
