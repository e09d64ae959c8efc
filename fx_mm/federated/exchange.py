"""What travels between sites and server, and what of it is refused."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from fx_mm.models.foundation_x import FoundationX
from fx_mm.utils.errors import UserError

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
Weights = dict[str, Tensor]
"""Names in the state dict of a student to values, on the CPU."""


class Update(NamedTuple):
    """What a site answers in a round; nothing else leaves it.

    Attributes:
        weights (Weights): Those that travel, after the site's training.
        images (dict[str, int]): Group of parameters to the images that were
            shown to it while it learned.
    """

    weights: Weights
    images: dict[str, int]

    @property
    def total(self) -> int:
        """Images that the backbone has seen, or the most of any group."""
        return max(self.images.values(), default=0)


def travelling(student: FoundationX, norms: bool = True) -> dict[str, str]:
    """Return what travels: the groups that belong to no task.

    Heads and whatever else is one dataset's stays, and so do integers, which
    are positions and counters.

    Args:
        student (FoundationX): The model of a site, or of the server.
        norms (bool): Whether weights, biases and statistics of norms travel
            too. Defaults to True; else FedBN.

    Returns:
        dict[str, str]: Name in the state dict to name of the group.

    Raises:
        UserError: If an adapter takes the place of what is shared.
    """
    if student.base:
        raise UserError(
            'federated does not go with an adapter whose base stays as it '
            'is (model.student.adapter); train with KindNorms or KindLoRA, '
            'or without adapter.'
        )
    stay = () if norms else _norm_prefixes(student)
    groups = [g for g in student.param_groups() if g.task is None]
    return {
        name: group.name
        for name, value in student.state_dict().items()
        for group in groups
        if group.owns(name)
        and value.is_floating_point()
        and not name.startswith(stay)
    }


def _norm_prefixes(student: nn.Module) -> tuple[str, ...]:
    return tuple(
        f'{name}.'
        for name, module in student.named_modules()
        if isinstance(module, NORMS)
    )


def take(student: FoundationX, names: Mapping[str, str]) -> Weights:
    """Return copies of weights of a model, on the CPU."""
    state = student.state_dict()
    return {name: state[name].detach().cpu().clone() for name in names}


@torch.no_grad()
def put(
    student: FoundationX, names: Mapping[str, str], values: Weights
) -> None:
    """Write what arrived into a model.

    Args:
        student (FoundationX): Changed in place.
        names (Mapping): Those that must have arrived; others may have, for
            the tasks of other sites.
        values (Weights): What arrived.

    Raises:
        UserError: If it is of another model.
    """
    state = student.state_dict()
    check_fit(values, {n: state[n] for n in names}, 'The server', whole=True)
    for name in names:
        state[name].copy_(values[name])


def check_fit(
    values: Weights, wanted: Weights, sender: str, whole: bool
) -> None:
    """Refuse weights of another model, and those that are not finite.

    Args:
        values (Weights): What arrived.
        wanted (Weights): What the receiver has.
        sender (str): To begin a message.
        whole (bool): Whether all that is wanted must be there and more may
            be; else all that is there must be wanted.

    Raises:
        UserError: Names the first weight that does not fit.
    """
    if whole:
        odd = [name for name in wanted if name not in values]
    else:
        odd = [name for name in values if name not in wanted]
    if odd or not values:
        what = 'lacks' if whole else 'has'
        raise UserError(
            f'{sender} sent the weights of another model: it {what} '
            f'"{next(iter(odd), "nothing")}"; all need the same model and '
            'the same "federated" in their configs.'
        )
    for name in wanted if whole else values:
        value, own = values[name], wanted[name]
        if value.shape != own.shape or value.dtype != own.dtype:
            raise UserError(
                f'{sender} sent the weights of another model: "{name}" has '
                f'shape {tuple(value.shape)} and here {tuple(own.shape)}; '
                'all need the same model and the same datasets in their '
                'configs.'
            )
        if not value.isfinite().all():
            raise UserError(
                f'{sender} sent values of "{name}" that are not finite.'
            )


def digest(values: Weights) -> str:
    """Return what tells weights from others."""
    return hashlib.sha256(pack(values)).hexdigest()


def pack(values: Weights) -> bytes:
    """Return weights as the bytes of a safetensors file, ordered by name."""
    return save({name: values[name].contiguous() for name in sorted(values)})


def unpack(content: bytes, sender: str) -> Weights:
    """Read :func:`pack`, which cannot run code.

    Raises:
        UserError: If it is something else.
    """
    try:
        return load(content)
    except SafetensorError as error:
        raise UserError(f'{sender} sent no weights: {error}.') from error
