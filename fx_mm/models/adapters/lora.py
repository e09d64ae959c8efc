"""Low-rank additions to the linear layers of a frozen backbone."""

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fx_mm.models.adapters.base import GROUP, Adapter
from fx_mm.models.param_groups import ParamGroup
from fx_mm.registry import MODELS
from fx_mm.tasks import TaskTable
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

OF_CLASSES = 'localization/label_embedding'
"""Its rows are of the classes of the tasks, so no base has them all."""


class LoRALayer(nn.Module):
    """What is added to one linear layer: ``scale * up(down(dropout(x)))``.

    Args:
        linear (nn.Linear): The layer.
        rank (int): Rows of ``down``, columns of ``up``.
        alpha (float): ``scale`` is ``alpha / rank``.
        drop_rate (float): Dropout of the input.
    """

    scale: Tensor

    def __init__(
        self, linear: nn.Linear, rank: int, alpha: float, drop_rate: float
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(drop_rate)
        # Parameters and not layers, which a backbone's initialisation would
        # fill with random values.
        self.down = nn.Parameter(torch.empty(rank, linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        # In the weights: what merges them has no config.
        self.register_buffer('scale', torch.tensor(alpha / rank))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (..., in) to what is added (..., out)."""
        low = F.linear(self.dropout(x), self.down)
        return F.linear(low, self.up) * self.scale

    def add(
        self, linear: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        """Add to the output of the layer, as a forward hook of it."""
        return output + self(inputs[0])

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Refuse weights that were trained with another scale."""
        check_scale('adapter', state_dict.get(f'{prefix}scale'), self.scale)
        super()._load_from_state_dict(state_dict, prefix, *args)


def check_scale(what: str, saved: Tensor | None, own: Tensor) -> None:
    """Refuse weights that were trained with another scale.

    Args:
        what (str): ``adapter`` or ``experts``, for the message.
        saved (Tensor, optional): The checkpoint's scale, if it has one.
        own (Tensor): The config's scale.

    Raises:
        UserError: If they differ.
    """
    if saved is not None and saved.item() != own.item():
        verb = 'were' if what.endswith('s') else 'was'
        raise UserError(
            f'The {what} of the checkpoint {verb} trained with alpha / rank '
            f'= {saved.item():g}, model.student.adapter has {own.item():g}; '
            'use the same.'
        )


@MODELS.register_module()
class LoRA(Adapter):
    """Train low-rank additions to linear layers instead of the layers.

    LoRA (https://arxiv.org/abs/2106.09685). ``up`` starts at zero, so an
    untrained adapter changes no output. mmpretrain's ``LoRAModel`` renames
    the layers that it adapts, so that no checkpoint fits the model any more;
    here the layers stay as they are and the additions stand beside the
    backbone.

    What several datasets share is the *base*: it does not learn, is in eval
    mode, as in a lock pass, and is not saved. The additions and the tasks'
    own parts learn.

    Args:
        backbone (nn.Module): The backbone.
        rank (int): Defaults to 8.
        alpha (float): The additions are multiplied by ``alpha / rank``.
            Defaults to 16.
        drop_rate (float): Dropout before the additions. Defaults to 0.
        targets (Sequence[str]): Linear layers of the backbone, by the end of
            their names or by a regular expression of the whole name.
            Defaults to ``('qkv', 'proj')``, the attention of a Swin or ViT;
            their ``ffn.layers.0.0`` and ``ffn.layers.1`` are further ones.
        train (Sequence[str]): Shared groups that learn and are saved too, by
            name or branch, such as ``segmentation/decoder``; for a base that
            lacks them. Defaults to none.
        tasks (TaskTable, optional): The tasks of the model; not used.
            Defaults to None.

    Raises:
        UserError: If a value makes no sense or a target is no linear layer.
    """

    mergeable = True

    def __init__(
        self,
        backbone: nn.Module,
        rank: int = 8,
        alpha: float = 16,
        drop_rate: float = 0.0,
        targets: Sequence[str] = ('qkv', 'proj'),
        train: Sequence[str] = (),
        tasks: TaskTable | None = None,
    ) -> None:
        super().__init__()
        check_low_rank(rank, alpha, drop_rate)
        self.rank = rank
        self.trained = tuple(train)
        self._attach(
            find_linear(backbone, targets),
            lambda linear: self.make_layer(linear, rank, alpha, drop_rate),
        )

    def make_layer(
        self, linear: nn.Linear, rank: int, alpha: float, drop_rate: float
    ) -> nn.Module:
        """Return what is added to one layer."""
        return LoRALayer(linear, rank, alpha, drop_rate)

    @property
    def summary(self) -> str:
        """str: What it is, in a few words."""
        return f'adapter of rank {self.rank} on {len(self.layers)} layers'

    def base_groups(self, groups: Sequence[ParamGroup]) -> tuple[str, ...]:
        """Return the names of the groups that are the base.

        Args:
            groups (Sequence[ParamGroup]): All groups of the model.

        Raises:
            UserError: If ``train`` names a group that is none of them.
        """
        shared = [g.name for g in groups if g.task is None and g.name != GROUP]
        for word in self.trained:
            if not any(_is_of(name, word) for name in shared):
                raise UserError(
                    f'model.student.adapter.train names {word!r}, which is '
                    f'no shared part; those are {", ".join(shared)}.'
                )
        learning = (*self.trained, OF_CLASSES)
        return tuple(
            name
            for name in shared
            if not any(_is_of(name, word) for word in learning)
        )


def check_low_rank(rank: int, alpha: float, drop_rate: float) -> None:
    """Refuse values of :class:`LoRA` with which nothing would be learned.

    Raises:
        UserError: Says which.
    """
    where = 'model.student.adapter'
    check_number(f'{where}.rank', rank, 1, whole=True)
    check_number(f'{where}.alpha', alpha, 0)
    if not alpha:
        raise UserError(f'{where}.alpha is 0, so nothing would be added.')
    check_number(f'{where}.drop_rate', drop_rate, 0, 1)
    if drop_rate == 1:
        raise UserError(
            f'{where}.drop_rate is 1, so nothing would be learned.'
        )


def _is_of(group: str, word: str) -> bool:
    return group == word or group.startswith(f'{word}/')


def find_linear(
    backbone: nn.Module, targets: Sequence[str]
) -> dict[str, nn.Linear]:
    """Find linear layers by their names.

    Args:
        backbone (nn.Module): Where they are.
        targets (Sequence[str]): See :class:`LoRA`.

    Returns:
        dict[str, nn.Linear]: Name to layer.

    Raises:
        UserError: If a target is no linear layer.
    """
    inner = {
        id(part)
        for module in backbone.modules()
        # torch's reads the weights of its layers and does not call them
        if isinstance(module, nn.MultiheadAttention)
        for part in module.modules()
    }
    known = {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and id(module) not in inner
    }
    found: dict[str, nn.Linear] = {}
    for target in targets:
        matches = {
            name: module
            for name, module in known.items()
            if f'.{name}'.endswith(f'.{target}') or _matches(target, name)
        }
        if not matches:
            examples = dict.fromkeys(n.rpartition('.')[2] for n in known)
            raise UserError(
                f'model.student.adapter.targets has {target!r}, which is no '
                f'linear layer of {type(backbone).__name__}; its layers end '
                f'in {", ".join(examples) or "nothing: it has none"}.'
            )
        found |= matches
    if not found:
        raise UserError(
            "model.student.adapter.targets is empty; write ('qkv', 'proj')."
        )
    return {name: known[name] for name in known if name in found}


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise UserError(
            f'model.student.adapter.targets has {pattern!r}, which is no '
            f'regular expression ({error}).'
        ) from error
