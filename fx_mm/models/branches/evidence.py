"""What a finding rests on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fx_mm.ops.deformable_attention import DeformableAttention


@dataclass
class Evidence:
    """What a finding rests on: a map or points.

    Attributes:
        label (int): Class of the finding.
        score (float): Its probability or score.
        box (Tensor, optional): x1, y1, x2, y2 in original pixels (4,).
        heat (Tensor, optional): Map (h, w) over the input, at least 0.
        points (Tensor, optional): x and y as shares of the input (n, 2).
        shares (Tensor, optional): How much each point counts (n,), 1 in all.
    """

    label: int
    score: float
    box: Tensor | None = None
    heat: Tensor | None = None
    points: Tensor | None = None
    shares: Tensor | None = None


def gradient_map(logit: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Show which places of feature maps speak for a logit.

    Each value of a map times the logit's gradient there, summed over the
    channels and over the maps: HiResCAM (Draelos and Carin 2020). For one
    averaged map it is Grad-CAM; unlike that it also shows the one place that
    a maximum takes.

    Args:
        logit (Tensor): A number that depends on the maps.
        maps (Sequence[Tensor]): Feature maps (B, C, h, w) with gradient, the
            finest first.

    Returns:
        Tensor: (B, h, w) of the first map, 0 where nothing speaks for it.
    """
    gradients = torch.autograd.grad(logit, maps, retain_graph=True)
    size = maps[0].shape[2:]
    total = maps[0].new_zeros(len(maps[0]), *size, dtype=torch.float32)
    for gradient, values in zip(gradients, maps):
        part = (gradient.float() * values.detach().float()).sum(1)
        # what a cell says is spread over its area
        part = part[:, None] * part[0].numel()
        total += F.interpolate(part, size, mode='bilinear')[:, 0]
    return total.clamp(min=0)


@contextmanager
def recorded_samples(
    attention: DeformableAttention,
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Record where a deformable attention samples, inside of a ``with``.

    Args:
        attention (DeformableAttention): The module.

    Yields:
        list[tuple[Tensor]]: Locations and weights of each call, see
        :meth:`DeformableAttention.locate`.
    """
    found: list[tuple[Tensor, Tensor]] = []

    def record(
        module: DeformableAttention,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        names = ('query_pos', 'reference_points', 'spatial_shapes')
        query = args[0] if args else kwargs['query']
        found.append(
            module.locate(query, **{name: kwargs.get(name) for name in names})
        )

    handle = attention.register_forward_pre_hook(record, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()
