"""Make an average of weights of any width from those of checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fx_mm.converters.publishing import publish_checkpoint
from fx_mm.models.power_average import AVERAGES, Profile, mix, power_of
from fx_mm.utils.checkpoint import list_checkpoints, load_source
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

TEACHER = PREDICTORS[0]
FARTHEST = 0.25
"""Largest distance of profiles that still deserves the name."""


class Synthesis(NamedTuple):
    """An average that was made.

    Attributes:
        checkpoint (dict): ``state_dict`` under plain names, and ``meta``.
        sources (int): Number of checkpoints that it is made of.
        error (float): Of the profile, see :class:`.Mixture`.
    """

    checkpoint: dict[str, Any]
    sources: int
    error: float


def find_sources(paths: Sequence[str]) -> list[str]:
    """Return checkpoints; of a work directory those of its training.

    Raises:
        UserError: If a folder has none.
    """
    found = []
    for path in paths:
        files = [path]
        if Path(path).is_dir():
            files = sorted(map(str, list_checkpoints(path)))
            if not files:
                raise UserError(f'{path} has no checkpoint "iter_N.pth".')
        found += files
    return found


def synthesize(
    sources: Sequence[str], width: float, trust: bool = False
) -> Synthesis:
    """Make the average of a width at the newest checkpoint's update.

    Buffers are those of the newest checkpoint's teacher. Checkpoints are
    loaded one by one, twice.

    Args:
        sources (Sequence[str]): Checkpoints of one training whose
            MeanTeacherHook had ``averages``.
        width (float): Standard deviation of the profile over the number of
            updates (the paper's sigma_rel).
        trust (bool): Whether files may be unpickled. Defaults to False.

    Raises:
        UserError: If a checkpoint has no averages or is of another model, or
            the profile cannot be made of those there are.
    """
    places = []
    for source in sources:
        state = load_source(source, trust).get(AVERAGES)
        if not state or not state['averages']:
            raise UserError(
                f'{source} has no averages; train with '
                'averages=(0.05, 0.1) in MeanTeacherHook.'
            )
        for index, each in enumerate(state['averages']):
            profile = Profile(power_of(each['width']), state['updates'])
            places.append((source, index, profile))
    newest, _, last = max(places, key=lambda place: place[2].end)
    mixture = mix(
        [profile for *_, profile in places], Profile(power_of(width), last.end)
    )
    if mixture.error > FARTHEST:
        raise UserError(
            f'The stored averages differ by {mixture.error:.0%} from the '
            f'profile of width {width:g} at best; choose one between the '
            'stored widths, or give more checkpoints of the training.'
        )
    shares: dict[str, list[float]] = {source: [] for source in sources}
    for (source, *_), share in zip(places, mixture.weights):
        shares[source].append(float(share))
    total: dict[str, Tensor] = {}
    for source, weights in shares.items():
        state = load_source(source, trust)[AVERAGES]
        for share, each in zip(weights, state['averages'], strict=True):
            _add(total, each['weights'], share, source)
    checkpoint = load_source(newest, trust)
    state_dict = dict(checkpoint['state_dict'])
    for name, value in total.items():
        key = f'{TEACHER}.{name}'
        if key not in state_dict:
            raise UserError(f'{newest} has no teacher with "{name}".')
        state_dict[key] = value.to(state_dict[key].dtype)
    made = publish_checkpoint(
        dict(checkpoint, state_dict=state_dict), newest, TEACHER
    )
    made['meta']['average'] = dict(width=width, error=mixture.error)
    return Synthesis(made, len(shares), mixture.error)


def _add(
    total: dict[str, Tensor],
    weights: dict[str, Tensor],
    share: float,
    source: str,
) -> None:
    """Add a share of weights in double precision."""
    if total and {n: v.shape for n, v in weights.items()} != {
        n: v.shape for n, v in total.items()
    }:
        raise UserError(
            f'{source} is of another model than the first checkpoint; give '
            'those of one training.'
        )
    for name, value in weights.items():
        scaled = share * value.to(torch.float64)
        total[name] = total[name] + scaled if name in total else scaled
