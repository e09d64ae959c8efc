"""What all adapters of a backbone have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.model import ModuleDict
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fx_mm.models.param_groups import ParamGroup
from fx_mm.tasks import Task
from fx_mm.utils.adapted_weights import to_key
from fx_mm.utils.errors import UserError

GROUP = 'adapter'


class Adapter(nn.Module):
    """Additions to layers of a backbone that stand beside it.

    The layers stay where they are, under their names, so that weights of a
    backbone fit with and without adapter; forward hooks add to their outputs.

    Attributes:
        layers (ModuleDict): Additions by the name of their layer.
        mergeable (bool): Whether the weights of the layers can take the
            additions up.
    """

    mergeable = False

    def __init__(self) -> None:
        super().__init__()
        self.layers = ModuleDict()
        self._hooks: list[RemovableHandle] = []

    def _attach(
        self,
        layers: Mapping[str, nn.Module],
        make: Callable[[Any], nn.Module],
    ) -> None:
        """Add to layers, by their names, what ``make`` returns for them."""
        for name, layer in layers.items():
            addition: Any = make(layer)
            self.layers[to_key(name)] = addition
            self._hooks.append(layer.register_forward_hook(addition.add))

    @property
    def summary(self) -> str:
        """str: What it is, in a few words."""
        return f'{type(self).__name__} on {len(self.layers)} layers'

    def detach(self) -> None:
        """Add nothing any more."""
        for hook in self._hooks:
            hook.remove()

    def key(self, task: Task) -> str | None:
        """Return what the backbone's maps depend on besides the images."""
        return None

    def select(self, task: Task | None) -> None:
        """Prepare for images of a task; None: it is not known.

        Raises:
            UserError: If the task matters and is not known.
        """

    def losses(self) -> dict[str, Tensor]:
        """Return losses of its own on the last batch, in training."""
        return {}

    def log_vars(self) -> dict[str, Tensor]:
        """Return what to log of the last batch."""
        return {}

    def base_groups(self, groups: Sequence[ParamGroup]) -> tuple[str, ...]:
        """Return the names of the groups that do not learn beside it.

        Args:
            groups (Sequence[ParamGroup]): All groups of the model.
        """
        return ()


class KindAdapter(Adapter):
    """Additions that differ by task kind; each has its ``kind`` set."""

    def key(self, task: Task) -> str:
        """Return the task's kind."""
        return task.kind.name

    def select(self, task: Task | None) -> None:
        """Take the additions of the task's kind.

        Raises:
            UserError: If there is no task.
        """
        if task is None:
            raise missing_task()
        for layer in self.layers.values():
            layer.kind = task.kind.name


def missing_task() -> UserError:
    """Return the refusal of maps that are of no task."""
    return UserError(
        'The maps of the backbone depend on the task (model.student.adapter), '
        'so there are none without one.'
    )
