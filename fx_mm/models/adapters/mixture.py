"""Several low-rank experts per layer, mixed by a gate."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fx_mm.models.adapters.base import missing_task
from fx_mm.models.adapters.lora import LoRA, check_scale
from fx_mm.registry import MODELS
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.checks import check_number


class ExpertLayer(nn.Module):
    """What several low-rank experts add to one linear layer.

    ``scale * sum over e of g[e] * up[e](down[e](dropout(x)))``; subclasses
    say what the shares ``g`` are.

    Args:
        linear (nn.Linear): The layer.
        experts (int): How many.
        rank, alpha, drop_rate: Of :class:`LoRALayer`.
    """

    expert_scale: Tensor

    def __init__(
        self,
        linear: nn.Linear,
        experts: int,
        rank: int,
        alpha: float,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.rank = rank
        self.dropout = nn.Dropout(drop_rate)
        # The experts one below the other, so that two products serve all.
        rows, inputs = experts * rank, linear.in_features
        self.expert_down = nn.Parameter(torch.empty(rows, inputs))
        self.expert_up = nn.Parameter(torch.zeros(linear.out_features, rows))
        nn.init.kaiming_uniform_(self.expert_down, a=math.sqrt(5))
        self.register_buffer('expert_scale', torch.tensor(alpha / rank))
        self.usage = torch.zeros(experts)

    def shares(self, x: Tensor) -> Tensor:
        """Return the share of each expert (B, experts).

        Args:
            x (Tensor): Inputs of the layer (B, ..., C).
        """
        raise NotImplementedError

    def add(
        self, linear: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        """Add to the output of the layer, as a forward hook of it."""
        (x,) = inputs
        shares = self.shares(x)
        if self.training:
            self.usage = shares.detach().float().mean(0)
        spread = shares.repeat_interleave(self.rank, 1)
        for _ in range(x.dim() - 2):
            spread = spread.unsqueeze(1)
        low = F.linear(self.dropout(x), self.expert_down)
        low = low * spread.to(low.dtype)
        return output + F.linear(low, self.expert_up) * self.expert_scale

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Refuse weights that were trained with another scale."""
        saved = state_dict.get(f'{prefix}expert_scale')
        check_scale('experts', saved, self.expert_scale)
        super()._load_from_state_dict(state_dict, prefix, *args)


class MixtureLayer(ExpertLayer):
    """Experts with a gate of the layer's own.

    ``g = softmax(F mean(x) + T task + b)``, one per image: ``mean`` is over
    the positions, ``task`` the embedding of the task.

    Args:
        linear, experts, rank, alpha, drop_rate: Of :class:`ExpertLayer`.
        width (int): Values of a task embedding.
    """

    def __init__(
        self,
        linear: nn.Linear,
        experts: int,
        rank: int,
        alpha: float,
        drop_rate: float,
        width: int,
    ) -> None:
        super().__init__(linear, experts, rank, alpha, drop_rate)
        # At zero all experts have the same share.
        self.gate_features = nn.Parameter(
            torch.zeros(experts, linear.in_features)
        )
        self.gate_task = nn.Parameter(torch.zeros(experts, width))
        self.gate_bias = nn.Parameter(torch.zeros(experts))
        # in a tuple, which torch does not take for a parameter of its own
        self.embedding: tuple[Tensor, ...] = ()

    def shares(self, x: Tensor) -> Tensor:
        """Return the share of each expert (B, experts).

        Args:
            x (Tensor): Inputs of the layer (B, ..., C).
        """
        (embedding,) = self.embedding
        of_task = self.gate_task @ embedding + self.gate_bias
        pooled = x.flatten(1, -2).mean(1)
        return F.linear(pooled, self.gate_features, of_task).softmax(-1)


@MODELS.register_module()
class LoRAMixture(LoRA):
    """Train several low-rank experts per layer and a gate that mixes them.

    The adaptive part of FedKIM (https://arxiv.org/abs/2408.10276), with a
    frozen base as :class:`LoRA`. For each image the gate of a layer shares 1
    out among the experts, by the mean of the layer's input over its positions
    (of a window, where a backbone hands on windows) and by an embedding of
    the task. Unlike in FedKIM's code the sum is multiplied by
    ``alpha / rank``. An untrained mixture changes no output.

    The shares depend on the image, so the experts cannot be merged into the
    layers. What a batch of a task used on average over the layers is logged
    as ``expert_0``, ``expert_1``, ...

    Args:
        backbone (nn.Module): The backbone.
        tasks (TaskTable): The tasks of the model.
        experts (int): Defaults to 4.
        rank (int): Of one expert. Defaults to 4.
        embedding (int): Values of a task's embedding. Defaults to 16.
        **kwargs (Any): ``alpha``, ``drop_rate``, ``targets`` and ``train`` of
            :class:`LoRA`.

    Raises:
        UserError: If a value makes no sense or a target is no linear layer.
    """

    mergeable = False

    def __init__(
        self,
        backbone: nn.Module,
        tasks: TaskTable,
        experts: int = 4,
        rank: int = 4,
        embedding: int = 16,
        **kwargs: Any,
    ) -> None:
        where = 'model.student.adapter'
        check_number(f'{where}.experts', experts, 2, whole=True)
        check_number(f'{where}.embedding', embedding, 1, whole=True)
        self.experts, self.width = experts, embedding
        super().__init__(backbone, rank=rank, **kwargs)
        self.embeddings = nn.ParameterDict(
            {name: torch.randn(embedding) for name in tasks.names}
        )

    def make_layer(
        self, linear: nn.Linear, rank: int, alpha: float, drop_rate: float
    ) -> nn.Module:
        """Return what is added to one layer."""
        return MixtureLayer(
            linear, self.experts, rank, alpha, drop_rate, self.width
        )

    @property
    def summary(self) -> str:
        """str: What it is, in a few words."""
        return f'{self.experts} experts, each an {super().summary}'

    def key(self, task: Task) -> str:
        """Return the task's name."""
        return task.name

    def select(self, task: Task | None) -> None:
        """Take the embedding of a task.

        Raises:
            UserError: If there is no task.
        """
        if task is None:
            raise missing_task()
        for layer in self.layers.values():
            layer.embedding = (self.embeddings[task.name],)

    def log_vars(self) -> dict[str, Tensor]:
        """Return the mean share of each expert in the last batch."""
        if not self.training:
            return {}
        usage = torch.stack([layer.usage for layer in self.layers.values()])
        return {f'expert_{i}': x for i, x in enumerate(usage.mean(0))}
