"""A trained checkpoint for others: weights and their meaning alone."""

import ast
import hashlib
import os.path as osp
from pathlib import Path
from typing import Any

import torch

from fx_mm.converters.files import to_bytes, write_checkpoint
from fx_mm.utils.adapted_weights import META, base_of
from fx_mm.utils.checkpoint import RUN_KEYS
from fx_mm.utils.credentials import hide_in_config_text
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import model_weights
from fx_mm.utils.weight_files import SAFETENSORS
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
    checkpoint: dict[str, Any],
    source: str,
    predict_on: str | None = None,
    merge: bool = True,
) -> dict[str, Any]:
    """Keep what others need of a checkpoint of fx_mm.

    Optimizer, schedulers and the log's state are removed, and from the
    config's text what belongs to the run: folders, launcher, trackers, and
    credentials.

    Args:
        checkpoint (dict): A loaded checkpoint; it is not changed.
        source (str): Its path, for messages.
        predict_on (str, optional): ``'student'`` or ``'teacher'``, to keep one
            of them, under plain names. Defaults to None: both.
        merge (bool): Merge an adapter into its base, which was loaded with
            it. Defaults to True; else the adapter stays alone.

    Returns:
        dict: ``state_dict`` and ``meta``.

    Raises:
        UserError: If it is not one of fx_mm, does not hold the model that is
            asked for, or its weights are not finite.
    """
    meta = own_meta(checkpoint, source)
    weights = model_weights(checkpoint, source, predict_on, merge)
    state_dict = weights.state_dict
    if predict_on is not None:
        state_dict = weights.chosen
    for name, value in state_dict.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f'Checkpoint "{source}" has values in "{name}" that are not '
                'finite; publish an earlier one.'
            )
    kept = {key: meta[key] for key in KEPT if key in meta}
    text = hide_in_config_text(strip_run_keys(meta.get('cfg', '')))
    kept.update(cfg=text, fx_mm_version=__version__)
    base = base_of(checkpoint)
    if base is not None and not merge:
        kept[META] = dict(base, base=osp.basename(base['base']))
    # Of weights under plain names, it says whose they are.
    if predict_on or 'predict_on' in meta:
        kept['predict_on'] = weights.predict_on
    # A view would bring along the whole storage it looks into.
    state_dict = {k: v.detach().cpu().clone() for k, v in state_dict.items()}
    return dict(meta=kept, state_dict=state_dict)


def strip_run_keys(text: str) -> str:
    """Remove what belongs to a run from a config's text.

    That is :data:`RUN_KEYS`, and ``visualizer``, whose trackers have
    addresses and perhaps credentials.
    """
    names = {'visualizer', *(key.removesuffix(' =') for key in RUN_KEYS)}
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
            with the first digits of the file's SHA-256, and
            ``name.safetensors`` a file in that format.

    Returns:
        Path: The file.

    Raises:
        UserError: If it cannot be written.
    """
    out = Path(out)
    suffix = SAFETENSORS if out.suffix == SAFETENSORS else '.pth'
    data = to_bytes(checkpoint, suffix)
    digest = hashlib.sha256(data).hexdigest()[:HASH_LENGTH]
    path = out.with_name(f'{out.name.removesuffix(suffix)}-{digest}{suffix}')
    write_checkpoint(data, path)
    return path
