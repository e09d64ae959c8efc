"""Layer norms of the backbone that differ by task kind."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fx_mm.models.adapters.base import KindAdapter
from fx_mm.registry import MODELS
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError


class KindNorm(nn.Module):
    """What the kinds add to one layer norm: ``y + y * weight + bias``.

    Args:
        norm (nn.LayerNorm): The layer.
        kinds (Sequence[str]): Names of the kinds.
    """

    def __init__(self, norm: nn.LayerNorm, kinds: Sequence[str]) -> None:
        super().__init__()
        self.kind = ''
        shape = norm.normalized_shape
        self.weight = nn.ParameterDict({k: torch.zeros(shape) for k in kinds})
        self.bias = nn.ParameterDict({k: torch.zeros(shape) for k in kinds})

    def add(
        self, norm: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        """Add to the output of the layer, as a forward hook of it."""
        shifted = output + self.bias[self.kind]
        return torch.addcmul(shifted, output, self.weight[self.kind])


@MODELS.register_module()
class KindNorms(KindAdapter):
    """Give each task kind weights and biases of its own in each layer norm.

    They start at the shared ones, and are what is added to these: for each
    kind a weight and a bias that start at zero, so a model is the same to the
    bit without them, and weight decay draws a kind towards the shared norm.
    All learn together; lock passes freeze all of it, being shared by the
    datasets of a kind.

    Args:
        backbone (nn.Module): The backbone.
        tasks (TaskTable): The tasks of the model.

    Raises:
        UserError: If the backbone has no layer norm.
    """

    def __init__(self, backbone: nn.Module, tasks: TaskTable) -> None:
        super().__init__()
        norms = {
            name: module
            for name, module in backbone.named_modules()
            # subclasses norm maps by their channels
            if type(module) is nn.LayerNorm and module.elementwise_affine
        }
        if not norms:
            raise UserError(
                'model.student.adapter is KindNorms, but '
                f'{type(backbone).__name__} has no layer norm.'
            )
        self._attach(norms, lambda norm: KindNorm(norm, tasks.kinds))
