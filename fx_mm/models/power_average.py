"""Averages of weights whose width is chosen after the training.

Karras et al. 2024, Analyzing and Improving the Training Dynamics of Diffusion
Models, section 3 and appendix C: averages with a power of the training time as
their profile are stored during the training; a least-squares combination of
what was stored has nearly the profile of any other width.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

AVERAGES = 'averages'
"""Where a checkpoint has the state of :class:`PowerAverages`."""
NARROWEST = 0.01
"""Width of the power 97."""
WIDEST = 0.28
"""Width of a power just above 0, with which all times weigh the same."""


class Profile(NamedTuple):
    """Weight of each training time in an average.

    It is proportional to time ** ``power`` up to ``end``, and 0 after it.
    """

    power: float
    end: float


def power_of(width: float) -> float:
    """Return the power of a profile of some width.

    Args:
        width (float): Standard deviation of the profile over its end, the
            paper's sigma_rel.

    Returns:
        float: The paper's gamma.
    """
    precise = width**-2
    roots = np.roots([1, 7, 16 - precise, 12 - precise])
    return float(roots.real.max())


def inner_products(
    rows: Sequence[Profile], columns: Sequence[Profile]
) -> np.ndarray:
    """Return the integrals of products of profiles.

    Args:
        rows (Sequence[Profile]): M of them.
        columns (Sequence[Profile]): K of them.

    Returns:
        np.ndarray: (M, K).
    """
    a, s = (np.array(x)[:, None] for x in zip(*rows))
    b, t = (np.array(x)[None] for x in zip(*columns))
    later = np.where(s > t, a, b)
    overlap = (np.minimum(s, t) / np.maximum(s, t)) ** later
    overlap /= np.maximum(s, t)
    return (a + 1) * (b + 1) / (a + b + 1) * overlap


class Mixture(NamedTuple):
    """How stored averages make another one.

    Attributes:
        weights (np.ndarray): (M,), of the stored ones; some are negative.
        error (float): Distance of the profiles over the length of the wanted
            one; 0 where it is met.
    """

    weights: np.ndarray
    error: float


def mix(stored: Sequence[Profile], wanted: Profile) -> Mixture:
    """Find the mixture of stored averages that is closest to another one.

    Unlike the paper's, the weights sum to 1: with few stored averages
    theirs do not, which would scale the model's parameters.

    Args:
        stored (Sequence[Profile]): Of the averages that there are.
        wanted (Profile): Of the one to make.
    """
    products = inner_products(stored, stored)
    target = inner_products(stored, [wanted])[:, 0]
    length = inner_products([wanted], [wanted])[0, 0]
    # the last row and column are the multiplier of the sum
    system = np.ones((len(stored) + 1,) * 2)
    system[:-1, :-1] = products
    system[-1, -1] = 0
    # many averages of close times are nearly dependent
    solution = np.linalg.lstsq(system, np.append(target, 1), rcond=1e-12)[0]
    weights = solution[:-1]
    left = length - 2 * weights @ target + weights @ products @ weights
    return Mixture(weights, math.sqrt(max(left, 0) / length))


class PowerAverages:
    """Averages of a model's parameters by powers of the number of updates.

    Args:
        widths (Sequence[float]): Widths of the stored averages.

    Raises:
        UserError: If a width is not in 0.01..0.28, or is there twice.

    Attributes:
        updates (int): How many there were.
    """

    def __init__(self, widths: Sequence[float]) -> None:
        where = 'MeanTeacherHook.averages'
        if len(set(widths)) < len(widths):
            raise UserError(f'{where} is {widths!r}; it has a width twice.')
        for width in widths:
            check_number(where, width, NARROWEST, WIDEST)
        self.widths = tuple(float(width) for width in widths)
        self.updates = 0
        self._averages: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the parameters of a model; buffers are not averaged."""
        current = {
            name: value.detach() for name, value in model.named_parameters()
        }
        self.updates += 1
        if not self._averages:
            self._averages = [
                {name: value.clone() for name, value in current.items()}
                for _ in self.widths
            ]
        for width, average in zip(self.widths, self._averages):
            decay = (1 - 1 / self.updates) ** (power_of(width) + 1)
            torch._foreach_lerp_(
                [average[name] for name in current],
                list(current.values()),
                1 - decay,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds: ``updates`` and ``averages``."""
        return dict(
            updates=self.updates,
            averages=[
                dict(width=width, weights=dict(average))
                for width, average in zip(self.widths, self._averages)
            ],
        )

    @torch.no_grad()
    def load_state_dict(
        self, state: Mapping[str, Any], model: nn.Module
    ) -> list[str]:
        """Go on from stored averages.

        Args:
            state (Mapping): Of :meth:`state_dict`.
            model (nn.Module): That is trained on. A parameter that the state
                lacks starts with its value, one that it lacks is left out.

        Returns:
            list[str]: Parameters that the state lacks.
        """
        self.updates = state['updates']
        current = dict(model.named_parameters())
        stored = {each['width']: each['weights'] for each in state['averages']}
        self._averages = (
            [
                {
                    name: stored[width]
                    .get(name, value)
                    .detach()
                    .to(value.device, copy=True)
                    for name, value in current.items()
                }
                for width in self.widths
            ]
            if self.updates
            else []
        )
        known: Mapping[str, Tensor] = next(iter(stored.values()), {})
        return [name for name in current if name not in known]
