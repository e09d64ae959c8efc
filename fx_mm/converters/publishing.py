"""A trained checkpoint for others: weights and their meaning alone."""

import ast
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fx_mm.converters.files import to_bytes, write_checkpoint
from fx_mm.utils.checkpoint import RUN_KEYS
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.version import __version__

KEPT = ('epoch', 'iter', 'mmengine_version', 'tasks', 'imported')
HASH_LENGTH = 8


def own_meta(checkpoint: object, source: str) -> dict[str, Any]:
    """Return the meta of a checkpoint of fx_mm.

    Raises:
        UserError: If it is another project's.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or not meta.get('tasks'):
        raise UserError(
            f'Checkpoint "{source}" has no table of tasks in its meta, so it '
            'is not one of fx_mm; convert it with '
            'tools/model_converters/convert.py first.'
        )
    return meta


def publish_checkpoint(
    checkpoint: dict[str, Any], source: str, predict_on: str | None = None
) -> dict[str, Any]:
    """Keep what others need of a checkpoint of fx_mm.

    Optimizer, schedulers and the log's state are removed, and from the
    config's text what belongs to the run: its folders and launcher.

    Args:
        checkpoint (dict): A loaded checkpoint; it is not changed.
        source (str): Its path, for messages.
        predict_on (str, optional): ``'student'`` or ``'teacher'``, to keep one
            of them, under plain names. Defaults to None: both.

    Returns:
        dict: ``state_dict`` and ``meta``.

    Raises:
        UserError: If it is not one of fx_mm, or its weights are not finite.
    """
    meta = own_meta(checkpoint, source)
    check_role(checkpoint, source, predict_on)
    # Of a file that says it holds these alone there is nothing to choose.
    chosen = None if predict_on == meta.get('predict_on') else predict_on
    state_dict = choose_weights(checkpoint['state_dict'], source, chosen)
    for name, value in state_dict.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f'Checkpoint "{source}" has values in "{name}" that are not '
                'finite; publish an earlier one.'
            )
    kept = {key: meta[key] for key in KEPT if key in meta}
    kept.update(
        cfg=strip_run_keys(meta.get('cfg', '')), fx_mm_version=__version__
    )
    # A file of one of them alone says so under plain names, too.
    if predict_on or meta.get('predict_on'):
        kept['predict_on'] = predict_on or meta['predict_on']
    # A view would bring along the whole storage it looks into.
    state_dict = {k: v.detach().cpu().clone() for k, v in state_dict.items()}
    return dict(meta=kept, state_dict=state_dict)


def check_role(
    checkpoint: dict[str, Any], source: str, predict_on: str | None
) -> None:
    """Refuse to take a student's weights for a teacher's, or vice versa.

    Args:
        checkpoint (dict): A checkpoint of fx_mm.
        source (str): Its path, for messages.
        predict_on (str, optional): ``'student'`` or ``'teacher'``; None for
            what there is.

    Raises:
        UserError: If it says that it holds the other alone.
    """
    heads = {name.partition('.')[0] for name in checkpoint['state_dict']}
    held = [role for role in PREDICTORS if role in heads]
    stated = checkpoint['meta'].get('predict_on')
    if not held and stated:
        held = [stated]
    if predict_on and held and predict_on not in held:
        raise UserError(
            f'Checkpoint "{source}" has no {predict_on}, it holds the '
            f'{held[0]} alone; add --predict-on {held[0]}.'
        )


def choose_weights(
    state_dict: dict[str, Tensor], source: str, predict_on: str | None
) -> dict[str, Tensor]:
    """Return the weights of the student or the teacher, under plain names.

    Args:
        state_dict (dict[str, Tensor]): Of a checkpoint of fx_mm.
        source (str): Its path, for messages.
        predict_on (str, optional): ``'student'`` or ``'teacher'``; None for
            all as they are.

    Raises:
        UserError: If it does not have them.
    """
    if predict_on is None:
        return state_dict
    prefix = f'{predict_on}.'
    chosen = {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
    if not chosen:
        raise UserError(
            f'Checkpoint "{source}" does not separate student and teacher; '
            'leave out --predict-on.'
        )
    return chosen


def strip_run_keys(text: str) -> str:
    """Remove the assignments of :data:`RUN_KEYS` from a config's text."""
    names = {key.removesuffix(' =') for key in RUN_KEYS}
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.Assign) and (
            getattr(node.targets[0], 'id', None) in names
        ):
            del lines[node.lineno - 1 : node.end_lineno]
    return '\n'.join(lines) + '\n' if lines else ''


def write_published(checkpoint: dict[str, Any], out: str | Path) -> Path:
    """Write a checkpoint under a name that ends in its hash.

    Args:
        checkpoint (dict): Result of :func:`publish_checkpoint`.
        out (str | Path): Path; ``name.pth`` becomes ``name-1a2b3c4d.pth``,
            with the first digits of the file's SHA-256.

    Returns:
        Path: The file.

    Raises:
        UserError: If it cannot be written.
    """
    data = to_bytes(checkpoint)
    digest = hashlib.sha256(data).hexdigest()[:HASH_LENGTH]
    out = Path(out)
    path = out.with_name(f'{out.name.removesuffix(".pth")}-{digest}.pth')
    write_checkpoint(data, path)
    return path
