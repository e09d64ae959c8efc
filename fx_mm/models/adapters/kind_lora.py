"""Low-rank additions that differ by task kind."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import ModuleDict
from torch import Tensor, nn

from fx_mm.models.adapters.base import KindAdapter
from fx_mm.models.adapters.lora import LoRALayer, check_low_rank, find_linear
from fx_mm.registry import MODELS
from fx_mm.tasks import TaskTable


class KindLoRALayer(nn.Module):
    """What each kind adds to one linear layer.

    Args:
        linear (nn.Linear): The layer.
        kinds (Sequence[str]): Names of the kinds.
        rank, alpha, drop_rate: Of :class:`LoRALayer`.
    """

    def __init__(
        self,
        linear: nn.Linear,
        kinds: Sequence[str],
        rank: int,
        alpha: float,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.kind = ''
        self.kinds = ModuleDict(
            {k: LoRALayer(linear, rank, alpha, drop_rate) for k in kinds}
        )

    def add(
        self, linear: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        """Add to the output of the layer, as a forward hook of it."""
        return output + self.kinds[self.kind](inputs[0])


@MODELS.register_module()
class KindLoRA(KindAdapter):
    """Give each task kind low-rank additions to the shared backbone.

    Unlike beside :class:`LoRA`, all that is shared learns as ever; the kinds
    differ by a matrix of low rank in each layer, at first by nothing. Lock
    passes freeze the additions, being shared by the datasets of a kind.

    Args:
        backbone (nn.Module): The backbone.
        tasks (TaskTable): The tasks of the model.
        rank (int): Defaults to 8.
        alpha (float): The additions are multiplied by ``alpha / rank``.
            Defaults to 16.
        drop_rate (float): Dropout before the additions. Defaults to 0.
        targets (Sequence[str]): As of :class:`LoRA`. Defaults to
            ``('qkv', 'proj')``.

    Raises:
        UserError: If a value makes no sense or a target is no linear layer.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tasks: TaskTable,
        rank: int = 8,
        alpha: float = 16,
        drop_rate: float = 0.0,
        targets: Sequence[str] = ('qkv', 'proj'),
    ) -> None:
        super().__init__()
        check_low_rank(rank, alpha, drop_rate)
        self._attach(
            find_linear(backbone, targets),
            lambda linear: KindLoRALayer(
                linear, tasks.kinds, rank, alpha, drop_rate
            ),
        )
