"""Many tasks on the same images: what they share runs once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fx_mm.models.branches.base import Branch, State
from fx_mm.structures import FXDataSample

Pyramid = tuple[Tensor, ...]


class SharedFeatures:
    """Results of the backbone and of the branches' shared parts.

    The backbone runs once for all batches of equal values (so of equal size
    and normalisation, and view by view of test-time augmentation), and the
    shared part of a branch once for all tasks of its kind. Everything is
    kept: use one object per batch of images.
    """

    def __init__(self) -> None:
        self._maps: list[tuple[Tensor, str | None, Pyramid]] = []
        self._states: list[tuple[Branch, Pyramid, list[Any], State]] = []

    def maps(
        self,
        extract: Callable[[Tensor], Pyramid],
        inputs: Tensor,
        key: str | None = None,
    ) -> Pyramid:
        """Return the backbone's maps of images, computed at most once.

        Args:
            extract (Callable): Runs the backbone.
            inputs (Tensor): Images (B, 3, H, W).
            key (str, optional): What else they depend on. Defaults to
                None.
        """
        for seen, its_key, maps in self._maps:
            # A look at the values costs a thousandth of a backbone's run.
            if its_key == key and torch.equal(seen, inputs):
                return maps
        maps = extract(inputs)
        self._maps.append((inputs, key, maps))
        return maps

    def state(
        self,
        branch: Branch,
        pyramid: Pyramid,
        data_samples: list[FXDataSample],
    ) -> State:
        """Return what a branch's shared part makes of maps.

        Args:
            branch (Branch): The branch.
            pyramid (tuple[Tensor]): Maps that :meth:`maps` returned.
            data_samples (list[FXDataSample]): The samples.
        """
        sizes = [(s.img_shape, s.batch_input_shape) for s in data_samples]
        for owner, seen, seen_sizes, state in self._states:
            if owner is branch and seen is pyramid and seen_sizes == sizes:
                return state
        state = branch.encode(pyramid, data_samples)
        self._states.append((branch, pyramid, sizes, state))
        return state
