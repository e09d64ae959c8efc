"""Weights of adapters: named, joined with their base, merged into it."""

import hashlib
import os.path as osp
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

META = 'adapter'
"""Key of the meta of a checkpoint that holds no base."""
LAYER = re.compile(r'((?:\w+\.)?)adapter\.layers\.([^.]+)\.up')
PART = re.compile(r'(?:\w+\.)?adapter\.layers\.[^.]+\.(?:down|up|scale)')
UNMERGED = re.compile(r'(?:\w+\.)?adapter\.layers\..+')
SHOWN = 8

Weights = Mapping[str, Tensor]


def to_key(name: str) -> str:
    """Return the key of a layer of the backbone, without dots."""
    return name.replace('.', '/')


def merge_adapters(weights: dict[str, Tensor], source: str) -> dict[str, Any]:
    """Merge adapters into the layers that they were added to.

    ``weight + scale * up @ down``, in double precision, rounded once.

    Args:
        weights (dict[str, Tensor]): By name, of a student, a teacher or both.
        source (str): Path of the checkpoint, for messages.

    Returns:
        dict[str, Tensor]: Weights without adapters; what was given if there
        are none.

    Raises:
        UserError: If a layer or a part of an adapter is not there.
    """
    if not any(map(PART.fullmatch, weights)):
        return weights
    merged = {k: v for k, v in weights.items() if not PART.fullmatch(k)}
    for match in filter(None, map(LAYER.fullmatch, weights)):
        root, key = match.groups()
        name = f'{root}backbone.{key.replace("/", ".")}.weight'
        start = match[0].removesuffix('up')
        try:
            down, up, scale = (
                weights[f'{start}{part}'].double()
                for part in ('down', 'up', 'scale')
            )
            base = merged[name]
        except KeyError as error:
            raise UserError(
                f'Checkpoint "{source}" has an adapter without '
                f'{error.args[0]}, and does not say what its base is; give '
                'the file that the training wrote.'
            ) from error
        merged[name] = (base.double() + scale * (up @ down)).to(base.dtype)
    return merged


def check_merged(weights: Iterable[str], source: str) -> None:
    """Refuse weights for a model without adapter that still have one.

    Args:
        weights (Iterable[str]): Names, after :func:`merge_adapters`.
        source (str): Path of the checkpoint, for messages.

    Raises:
        UserError: If an adapter is among them that cannot be merged.
    """
    if any(map(UNMERGED.fullmatch, weights)):
        raise UserError(
            f'Checkpoint "{source}" has an adapter that cannot be merged '
            'into one backbone; use a config with its model.student.adapter.'
        )


def hash_weights(weights: Weights) -> str:
    """Return the SHA-256 of weights, whatever file they are in."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_base(
    source: str, weights: Weights, used: Collection[str]
) -> dict[str, Any]:
    """Return what the meta of a checkpoint says of its base.

    Args:
        source (str): Path of the base.
        weights (Mapping[str, Tensor]): Of its model that predicts, by plain
            name.
        used (Collection[str]): Names of those that are not saved.

    Returns:
        dict: ``base``, ``sha256`` and ``weights``.
    """
    names = [name for name in used if name in weights]
    return dict(base=source, sha256=hash_weights(weights), weights=names)


def base_of(loaded: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a checkpoint says of its base; None if it is whole."""
    meta = loaded.get('meta')
    entry = meta.get(META) if isinstance(meta, dict) else None
    return entry if isinstance(entry, dict) else None


def add_base(
    state_dict: Weights,
    entry: Mapping[str, Any],
    source: str,
    read: Callable[[str], Weights],
) -> dict[str, Tensor]:
    """Return the weights of adapters with those of their base.

    Args:
        state_dict (Mapping[str, Tensor]): Of a checkpoint without its base.
        entry (Mapping): Of :func:`describe_base`.
        source (str): Path of the checkpoint; the base may lie beside it.
        read (Callable): Reads the weights of a base's model that predicts.

    Raises:
        UserError: If the base is not there, or is another one.
    """
    base, wanted = entry['base'], entry['sha256']
    beside = osp.join(osp.dirname(source), osp.basename(base))
    others = []
    for path in dict.fromkeys((base, beside)):
        if '://' not in path and not osp.isfile(osp.expanduser(path)):
            continue
        weights = read(path)
        found = hash_weights(weights)
        if found == wanted:
            heads = {name.partition('.')[0] for name in state_dict}
            roots = [f'{name}.' for name in PREDICTORS if name in heads]
            whole = {
                f'{root}{name}': weights[name]
                for root in roots or ['']
                for name in entry['weights']
            }
            return {**whole, **state_dict}
        others.append(f'{path} ({found[:SHOWN]})')
    if others:
        raise UserError(
            f'Checkpoint "{source}" holds an adapter of the base "{base}" '
            f'with the hash {wanted[:SHOWN]}, but other weights are in '
            f'{" and ".join(others)}; put the right file there.'
        )
    raise UserError(
        f'Checkpoint "{source}" holds an adapter alone; its base "{base}" '
        f'(hash {wanted[:SHOWN]}) does not exist, put it beside the '
        'checkpoint.'
    )
