"""Many tasks on the same images: what they share runs once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fx_mm.models import FoundationX
from fx_mm.models.parts import BRANCHES

Pyramid = tuple[Tensor, ...]


@contextmanager
def shared_features(model: FoundationX) -> Iterator[None]:
    """Let a model keep what tasks have in common, inside of a ``with``.

    The backbone runs once for all batches of equal values (so of equal size
    and normalisation, and view by view of test-time augmentation), and the
    shared part of a branch once for all tasks of its kind. Everything is kept
    until the end: use one ``with`` a batch of images, in inference only.

    Args:
        model (FoundationX): In eval mode, without autograd.
    """
    branches = [
        getattr(model, name)
        for name, _ in BRANCHES.values()
        if getattr(model, name, None) is not None
    ]
    model.extract_feat = _remember_maps(model.extract_feat)
    for branch in branches:
        branch.encode = _remember_states(branch.encode)
    try:
        yield
    finally:
        del model.extract_feat
        for branch in branches:
            del branch.encode


def _remember_maps(extract: Callable) -> Callable:
    known: list[tuple[Tensor, Pyramid]] = []

    def extract_feat(inputs: Tensor) -> Pyramid:
        for seen, maps in known:
            # A look at the values costs a thousandth of a backbone's run.
            if torch.equal(seen, inputs):
                return maps
        maps = extract(inputs)
        known.append((inputs, maps))
        return maps

    return extract_feat


def _remember_states(encode: Callable) -> Callable:
    known: list[tuple[Pyramid, list, dict[str, Any]]] = []

    def encode_once(pyramid: Pyramid, data_samples: list) -> dict[str, Any]:
        sizes = [(s.img_shape, s.batch_input_shape) for s in data_samples]
        for seen, seen_sizes, state in known:
            if seen is pyramid and seen_sizes == sizes:
                return state
        state = encode(pyramid, data_samples)
        known.append((pyramid, sizes, state))
        return state

    return encode_once
