"""A mixture of experts that a light model guides and hands its maps to."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fx_mm.models.adapters.base import missing_task
from fx_mm.models.adapters.mixture import ExpertLayer, LoRAMixture
from fx_mm.models.backbones import build_backbone, probe_backbone
from fx_mm.registry import MODELS
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError


class Sight:
    """What one forward leaves for the layers and the loss.

    Attributes:
        task (str): Name of the task that was asked for.
        shares (Tensor): Of the experts (B, experts).
        guide (tuple[Tensor, ...]): The guide's maps.
        maps (tuple[Tensor, ...]): The backbone's; empty in evaluation.
    """

    task: str
    shares: Tensor
    guide: tuple[Tensor, ...]
    maps: tuple[Tensor, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Sight':
        # of a copied model nothing was forwarded yet
        return Sight()


class GuidedLayer(ExpertLayer):
    """Experts whose shares are those of the one gate of all layers.

    Args:
        sight (Sight): Of the adapter.
        *args (Any): Of :class:`ExpertLayer`.
    """

    def __init__(self, sight: Sight, *args: Any) -> None:
        super().__init__(*args)
        self.sight = sight

    def shares(self, x: Tensor) -> Tensor:
        """Return the share of each expert, one row per image or window.

        Args:
            x (Tensor): Inputs of the layer (B, ..., C); of windows
                (B * windows, ..., C), those of an image one after another.
        """
        given = self.sight.shares
        return given.repeat_interleave(x.shape[0] // given.shape[0], 0)


class GuideGate(nn.Module):
    """Shares of experts by attention of the task to the guide's map.

    ``softmax(W (a V) + b)`` with ``a = softmax(q K^T / sqrt(width))``: ``q``
    is the embedding of the task, ``K`` and ``V`` are linear in the positions
    of the map.

    Args:
        channels (int): Of the map.
        width (int): Values of a task embedding.
        experts (int): How many.
    """

    def __init__(self, channels: int, width: int, experts: int) -> None:
        super().__init__()
        self.key = nn.Linear(channels, width)
        self.value = nn.Linear(channels, width)
        self.mix = nn.Linear(width, experts)
        # All experts have the same share at first.
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, task: Tensor, last: Tensor) -> Tensor:
        """Return the shares (B, experts).

        Args:
            task (Tensor): Embedding (width,) of the task.
            last (Tensor): The guide's map (B, channels, H, W).
        """
        tokens = last.flatten(2).transpose(1, 2)
        scores = self.key(tokens) @ task / len(task) ** 0.5
        weights = scores.softmax(-1).unsqueeze(1)
        seen = (weights @ self.value(tokens)).squeeze(1)
        return self.mix(seen).softmax(-1)


@MODELS.register_module()
class GuidedMixture(LoRAMixture):
    """Inject what a light model knows into a frozen large one.

    After FedKIM (https://arxiv.org/abs/2408.10276), in a form for images. The
    *guide* is a small backbone that was trained where the large model may not
    look, such as federated in hospitals. It stays as it is, sees the images
    that the large model sees, and is saved with the adapter. For each image
    the gate shares 1 out among the experts of all layers alike, see
    :class:`GuideGate`. In training the large model's maps also learn to tell
    the guide's: ``loss_guide`` is ``guide_weight`` times the mean squared
    error between the guide's maps, each position normalised, and a linear
    function of the large model's, mean over the stages.

    Args:
        backbone (nn.Module): The large backbone.
        tasks (TaskTable): The tasks of the model.
        guide (dict): Config of the small backbone, which takes the images as
            the large one does, with
            ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
        guide_weight (float): Of ``loss_guide``. Defaults to 0.5.
        **kwargs (Any): Of :class:`LoRAMixture`.

    Raises:
        UserError: If a value makes no sense, or the maps of the two do not
            have the same strides.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tasks: TaskTable,
        guide: dict[str, Any],
        guide_weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        where = 'model.student.adapter'
        check_number(f'{where}.guide_weight', guide_weight, 0)
        channels, strides = probe_backbone(backbone)
        self.sight = Sight()
        super().__init__(backbone, tasks=tasks, **kwargs)
        self.guide: Any = as_constant(build_backbone(guide))
        wanted, own = probe_backbone(self.guide)
        if own != strides:
            raise UserError(
                f'{where}.guide gives maps of strides {own}, the backbone of '
                f'{strides}; choose a guide with the same.'
            )
        self.guide_weight = guide_weight
        self.gate = GuideGate(wanted[-1], self.width, self.experts)
        self.tellers = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(channels, wanted)
        )
        self._hooks += [
            backbone.register_forward_pre_hook(self._look),
            backbone.register_forward_hook(self._keep),
        ]

    def make_layer(
        self, linear: nn.Linear, rank: int, alpha: float, drop_rate: float
    ) -> nn.Module:
        """Return what is added to one layer."""
        return GuidedLayer(
            self.sight, linear, self.experts, rank, alpha, drop_rate
        )

    def init_weights(self) -> None:
        """Load the guide.

        Raises:
            UserError: If its config names no weights.
        """
        given = self.guide.init_cfg or []
        entries = [given] if isinstance(given, dict) else given
        if not any(entry['type'] == 'Pretrained' for entry in entries):
            raise UserError(
                'model.student.adapter.guide names no weights, and a guide '
                'with random ones knows nothing; give it init_cfg=dict(type='
                "'Pretrained', checkpoint=...)."
            )
        self.guide.init_weights()

    def train(self, mode: bool = True) -> 'GuidedMixture':
        """Set the mode; the guide stays in eval mode."""
        super().train(mode)
        self.guide.eval()
        return self

    def select(self, task: Task | None) -> None:
        """Ask for a task from now on.

        Raises:
            UserError: If there is no task.
        """
        if task is None:
            raise missing_task()
        self.sight.task = task.name

    def _look(self, backbone: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Let the guide see images before the backbone does.

        Raises:
            UserError: If patches are hidden from the backbone.
        """
        if len(inputs) > 1:
            raise UserError(
                'model.student.adapter is GuidedMixture, whose guide would '
                'see what masked images hide from the backbone; train them '
                'without it.'
            )
        sight = self.sight
        with torch.no_grad():
            sight.guide = tuple(self.guide(inputs[0]))
        sight.shares = self.gate(self.embeddings[sight.task], sight.guide[-1])

    def _keep(
        self,
        backbone: nn.Module,
        inputs: tuple[Any, ...],
        output: Sequence[Tensor],
    ) -> None:
        """Keep the backbone's maps for the loss."""
        self.sight.maps = tuple(output) if self.training else ()

    def losses(self) -> dict[str, Tensor]:
        """Return ``loss_guide`` of the last batch; none where it is locked."""
        maps, self.sight.maps = self.sight.maps, ()
        if not maps or not self.guide_weight:
            return {}
        errors = [
            F.mse_loss(teller(x), normalise(seen))
            for teller, x, seen in zip(self.tellers, maps, self.sight.guide)
        ]
        return dict(loss_guide=self.guide_weight * torch.stack(errors).mean())


def as_constant(module: nn.Module) -> nn.Module:
    """Make buffers of a module's parameters, in place, and return it.

    They are saved and moved like others, and nothing trains or averages them.
    """
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())
    return module


def normalise(maps: Tensor) -> Tensor:
    """Give each position of maps (B, C, H, W) mean 0 and variance 1."""
    moved = maps.movedim(1, -1)
    return F.layer_norm(moved, moved.shape[-1:]).movedim(-1, 1)
