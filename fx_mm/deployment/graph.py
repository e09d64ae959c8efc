"""The heads of a trained model as one function of an image's pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from fx_mm.models import FoundationX, TaskDataPreprocessor
from fx_mm.tasks import Task
from fx_mm.tasks.kinds import CROPS


@dataclass(frozen=True)
class _View:
    """Stand-in for the samples of a batch, which are all of one size.

    It has what the preprocessor and the branches ask a sample for.
    """

    owner: Task
    img_shape: tuple[int, int]

    @property
    def task(self) -> str:
        return self.owner.name

    @property
    def kind(self) -> str:
        return self.owner.kind.name

    @property
    def batch_input_shape(self) -> tuple[int, int]:
        return self.img_shape


class TaskGraph(nn.Module):
    """Predict several tasks from the pixels of grey images.

    Normalisation is inside; the backbone runs once for each normalisation
    (by default once for labels, once for boxes and masks) and, with an adapter
    that differs by task or kind, for each of these; the shared part of a
    branch once for maps. There is one view: of ``center_crop`` and
    ``ten_crop`` the centre, of ``flip`` the image as it is.

    Args:
        model (FoundationX): In eval mode.
        preprocessor (TaskDataPreprocessor): Has the statistics.
        tasks (Sequence[Task]): The tasks.
        size (tuple[int, int]): Height and width of the images.
    """

    def __init__(
        self,
        model: FoundationX,
        preprocessor: TaskDataPreprocessor,
        tasks: Sequence[Task],
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.model = model
        self.views: list[_View] = []
        groups: dict[tuple[Any, ...], int] = {}
        self.groups: list[int] = []
        for task in tasks:
            cropped = task.config.get('tta') in CROPS
            side = task.config['img_size']
            shape = (side, side) if cropped else size
            view = _View(task, shape)
            statistics = preprocessor.statistics_of(view)
            key = (shape, *statistics.flatten().tolist())
            number = groups.setdefault(key, len(groups))
            if number == len(groups) - 1:
                self.register_buffer(f'statistics_{number}', statistics)
            self.views.append(view)
            self.groups.append(number)

    @property
    def output_names(self) -> list[str]:
        """list[str]: The task's name, or one name per output of its kind."""
        return [name for view in self.views for name in self.names_of(view)]

    def names_of(self, view: _View) -> list[str]:
        """Return the names of one task's outputs."""
        several = self.model.branch(view.owner.kind).graph_outputs
        return [f'{view.task}/{name}' for name in several] or [view.task]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict all tasks.

        Args:
            images (Tensor): Grey images (B, 1, H, W), values 0..255.

        Returns:
            tuple[Tensor]: In the order of :attr:`output_names`. cls:
            probabilities (B, C). seg: probabilities (B, C, H, W). loc: boxes
            (B, n, 4), x1, y1, x2, y2 as shares of width and height, scores
            (B, n), the highest first, and labels (B, n).
        """
        images = images.float()
        maps: dict[tuple[int, str | None], tuple[Tensor, ...]] = {}
        states: dict[tuple[Any, ...], dict[str, Any]] = {}
        outputs: list[Tensor] = []
        for view, number in zip(self.views, self.groups):
            samples: list[Any] = [view]
            key = number, self.model.maps_key(view.owner)
            if key not in maps:
                mean, std = getattr(self, f'statistics_{number}')
                # one channel against three statistics: three channels
                cropped = center_crop(images, list(view.img_shape))
                maps[key] = self.model.extract_feat(
                    (cropped - mean) / std, view.owner
                )
            branch = self.model.branch(view.owner.kind)
            shared = (*key, view.kind)
            if shared not in states:
                states[shared] = branch.encode(maps[key], samples)
            state = states[shared]
            outputs += branch.graph(state, view.owner.dataset, samples)
        return tuple(outputs)
