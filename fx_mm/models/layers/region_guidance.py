"""Region guidance: predicted boxes weight the maps for segmentation."""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fx_mm.models.layers.denoising import image_sizes
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task, TaskTable, all_kinds
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode inside of a ``with``; every single flag is restored after.

    ``module.train()`` would also wake what is locked.

    Args:
        module (nn.Module): Any module.
    """
    awake = [child for child in module.modules() if child.training]
    for child in awake:
        child.training = False
    try:
        yield
    finally:
        for child in awake:
            child.training = True


@MODELS.register_module()
class RegionGuidance(nn.Module):
    """Weigh backbone maps by a Gaussian falloff around predicted boxes.

    Foundation X+ (reference, section 8). A box that is sure enough grows and
    is clipped to its image; its mask is 1 inside and
    ``exp(-d^2 / (2 sigma^2))`` outside, with ``d`` the distance to the box
    and ``sigma = min(sigma_scale * max(w, h), W, H)``, all in cells of the
    map. A cell stands for its centre, or for the image's edge if the centre
    is beyond it, and each mask is divided by its largest value, so that a box
    between two centres reaches 1 too. The boxes of an image are combined by
    the maximum; an image without boxes has the mask 1. The maps become
    ``mix * F + (1 - mix) * F * mask``.

    No gradient flows into the boxes, and there is nothing to learn here.

    Args:
        strides (Sequence[float]): Strides of the backbone stages in pixels.
        score_threshold (float): A box counts above it. Defaults to 0.3.
        max_boxes (int): Only the best so many of an image count. Defaults to
            300.
        box_area_scale (float): Growth of the AREA of a box, at equal aspect
            ratio. Defaults to 1.5.
        min_area (float): A box of less area, in square pixels, becomes a
            square of ``min_side`` before it grows. Defaults to 10.
        min_side (float): Side of that square in pixels. Defaults to 10.
        sigma_scale (float): ``sigma`` in longer sides of the box. Defaults
            to 1.5.
        mix (float): Share of the maps that no mask touches. Defaults to 0.5.

    Attributes:
        source (str): The branch that predicts the boxes.
        target (str): The branch that reads the weighted maps.
    """

    source = 'localization'
    target = 'segmentation'

    def __init__(
        self,
        strides: Sequence[float],
        score_threshold: float = 0.3,
        max_boxes: int = 300,
        box_area_scale: float = 1.5,
        min_area: float = 10.0,
        min_side: float = 10.0,
        sigma_scale: float = 1.5,
        mix: float = 0.5,
    ) -> None:
        super().__init__()
        for key, value, low, high in (
            ('score_threshold', score_threshold, 0, 1),
            ('mix', mix, 0, 1),
            ('box_area_scale', box_area_scale, 1, float('inf')),
            ('sigma_scale', sigma_scale, 1e-3, float('inf')),
            ('max_boxes', max_boxes, 1, float('inf')),
        ):
            check_number(f'model region_guidance.{key}', value, low, high)
        self.strides = tuple(strides)
        self.score_threshold = score_threshold
        self.max_boxes = max_boxes
        self.box_area_scale = box_area_scale
        self.min_area = min_area
        self.min_side = min_side
        self.sigma_scale = sigma_scale
        self.mix = mix

    def guides(self, task: Task, tasks: TaskTable) -> bool:
        """Whether a task's maps are weighted: its dataset has boxes too."""
        return task.kind.branch == self.target and (
            self._boxes_of(task) in tasks
        )

    def guided_tasks(self, tasks: TaskTable) -> list[Task]:
        """Return the tasks that are guided.

        What was trained with guidance must not be tested without: where the
        config has boxes for a dataset, their task has to be active.

        Args:
            tasks (TaskTable): The active tasks.

        Raises:
            UserError: If the task of the boxes is missing.
        """
        masks = [t for t in tasks if t.kind.branch == self.target]
        needed = self.needed_tasks(masks, tasks.configured)
        if not needed:  # then it guides all, or nothing
            needed = [self._boxes_of(task) for task in masks]
        missing = [name for name in needed if name not in tasks]
        if missing:
            raise UserError(
                'model.student.region_guidance needs the boxes of '
                f'{", ".join(missing)}; add them to tasks or set '
                'model.student.region_guidance to None.'
            )
        return [task for task in masks if self._boxes_of(task) in needed]

    @classmethod
    def needed_tasks(
        cls, tasks: Iterable[Task], configured: Container[str]
    ) -> list[str]:
        """Return the names of the box tasks that guide these tasks.

        Args:
            tasks (Iterable[Task]): Chosen tasks, of any kind.
            configured (Container[str]): Names of all tasks of the config.
        """
        names = [
            cls._boxes_of(task)
            for task in tasks
            if task.kind.branch == cls.target
        ]
        return [name for name in names if name in configured]

    @classmethod
    def _boxes_of(cls, task: Task) -> str:
        """Name of the task with the boxes of a task's dataset."""
        source = next(k.name for k in all_kinds() if k.branch == cls.source)
        return f'{task.dataset}/{source}'

    def forward(
        self,
        pyramid: tuple[Tensor, ...],
        logits: Tensor,
        boxes: Tensor,
        data_samples: list[FXDataSample],
    ) -> tuple[Tensor, ...]:
        """Weigh the maps.

        Args:
            pyramid (tuple[Tensor]): Backbone maps (B, C, H, W).
            logits (Tensor): Class logits of the predicted boxes (B, Q, C).
            boxes (Tensor): Predicted boxes (B, Q, 4), cxcywh relative to
                ``img_shape``.
            data_samples (list): Have ``img_shape``.

        Returns:
            tuple[Tensor]: Maps of the same shapes.
        """
        sizes = image_sizes(data_samples, boxes)[:, :2]
        regions, kept = self.regions(logits, boxes, sizes)
        if kept.shape[1] == 0:
            return pyramid
        guided = []
        for feature, stride in zip(pyramid, self.strides):
            mask = self.mask(
                regions / stride, kept, sizes / stride, feature.shape[2:]
            )
            weight = self.mix + (1 - self.mix) * mask
            guided.append(feature * weight.to(feature.dtype))
        return tuple(guided)

    @torch.no_grad()
    def regions(
        self, logits: Tensor, boxes: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Choose, grow and clip boxes.

        Args:
            logits (Tensor): (B, Q, C).
            boxes (Tensor): (B, Q, 4), relative cxcywh.
            sizes (Tensor): Width and height of the images (B, 2) in pixels,
                without padding.

        Returns:
            tuple[Tensor]: Boxes (B, n, 4), xyxy in pixels of the input, and
            which of them count (B, n); n is the most of an image.
        """
        scores = logits.float().sigmoid().flatten(1)
        scores, best = scores.topk(min(self.max_boxes, scores.shape[1]))
        kept = scores > self.score_threshold
        # Waits for the device once; masks of all max_boxes would be too many.
        count = int(kept.sum(1).max())
        queries = best[:, :count, None] // logits.shape[-1]
        boxes = boxes.float().gather(1, queries.expand(-1, -1, 4))
        extent = sizes.repeat(1, 2)[:, None]
        centers, sides = (boxes * extent).split(2, dim=-1)
        tiny = sides.prod(-1, keepdim=True) < self.min_area
        sides = sides.masked_fill(tiny, self.min_side)
        half = sides * (self.box_area_scale**0.5 / 2)
        corners = torch.cat([centers - half, centers + half], dim=-1)
        return corners.clamp(min=0).minimum(extent), kept[:, :count]

    @torch.no_grad()
    def mask(
        self,
        regions: Tensor,
        kept: Tensor,
        sizes: Tensor,
        shape: Sequence[int],
    ) -> Tensor:
        """Mask of one stage, in its cells.

        Args:
            regions (Tensor): Boxes (B, n, 4), xyxy in cells.
            kept (Tensor): Which of them count (B, n); n is at least 1.
            sizes (Tensor): Width and height of the images (B, 2) in cells.
            shape (tuple[int, int]): Height and width of the map, with
                padding.

        Returns:
            Tensor: (B, 1, H, W), at most 1; far away it may underflow to 0.
        """
        low, high = regions.split(2, dim=-1)

        def squares(axis: int, length: int) -> Tensor:
            """Squared distances (B, n, length) along one axis."""
            centers = torch.arange(length, device=regions.device) + 0.5
            centers = centers.minimum(sizes[:, None, axis, None])
            before = low[..., axis, None] - centers
            behind = centers - high[..., axis, None]
            square = before.maximum(behind).clamp(min=0).square()
            return square - square.amin(-1, keepdim=True)

        longest = (high - low).amax(-1)
        sigma = (self.sigma_scale * longest).minimum(sizes.amin(-1)[:, None])
        scale = (0.5 / sigma.square())[..., None]
        rows = squares(1, shape[0]) * scale
        columns = squares(0, shape[1]) * scale
        # exp(-x) falls, so the largest mask has the smallest exponent.
        rows = rows.masked_fill(~kept[..., None], float('inf'))
        exponents = rows[..., None] + columns[..., None, :]
        mask = (-exponents.amin(1)).exp()
        return mask.masked_fill(~kept.any(1)[:, None, None], 1.0)[:, None]
