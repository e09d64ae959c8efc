"""Random crops of a batch, made on its device."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Views(NamedTuple):
    """Where views lie in their images, and how they are changed.

    All are (B, V), for V views of each of B images.

    Attributes:
        left (Tensor): Left edge, as a share of the image's width.
        top (Tensor): Upper edge, as a share of its height.
        width (Tensor): Width, as a share.
        height (Tensor): Height, as a share.
        mirrored (Tensor): bool, whether left and right are swapped.
        gain (Tensor): Factor on normalised values.
        shift (Tensor): Added to them behind it.
    """

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    mirrored: Tensor
    gain: Tensor
    shift: Tensor

    def only(self, views: slice) -> 'Views':
        """Return some of the views of each image."""
        return Views(*(each[:, views] for each in self))


def draw_views(
    images: int,
    areas: Sequence[tuple[float, float]],
    flip_prob: float,
    jitter: float,
    device: torch.device,
) -> Views:
    """Draw views as ``RandomResizedCrop`` does: aspect ratio 3/4 to 4/3.

    Args:
        images (int): Number of images B.
        areas (Sequence[tuple[float, float]]): Of each view, the least and
            the largest share of the image's area.
        flip_prob (float): Share of mirrored views.
        jitter (float): Gain is drawn from 1 ± jitter, the shift from
            ± jitter.
        device (torch.device): Where they are wanted.

    Returns:
        Views: (B, V), V the number of areas.
    """
    chance = torch.rand(7, images, len(areas), device=device)
    low, high = torch.tensor(areas, device=device).T
    area = low + (high - low) * chance[0]
    ratio = torch.exp((2 * chance[1] - 1) * math.log(4 / 3))
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    return Views(
        chance[2] * (1 - width),
        chance[3] * (1 - height),
        width,
        height,
        chance[4] < flip_prob,
        1 + jitter * (2 * chance[5] - 1),
        jitter * (2 * chance[6] - 1),
    )


def cut_views(
    images: Tensor, shapes: Sequence[tuple[int, int]], views: Views, size: int
) -> Tensor:
    """Cut views out of images.

    Args:
        images (Tensor): Normalised images (B, 3, H, W), perhaps padded at
            the right and bottom.
        shapes (Sequence[tuple[int, int]]): Height and width of each without
            its padding.
        views (Views): (B, V).
        size (int): Side of the views in pixels.

    Returns:
        Tensor: (V * B, 3, size, size), the first view of each image first.
    """
    whole = torch.tensor(images.shape[-2:], device=images.device)
    inside = torch.tensor(shapes, device=images.device) / whole
    height, width = (side[:, None] for side in inside.T)
    # in the coordinates of grid_sample, -1 to 1 over the padded image
    turned = torch.where(views.mirrored, -1, 1)
    zero = torch.zeros_like(views.gain)
    theta = torch.stack(
        [
            views.width * width * turned,
            zero,
            (2 * views.left + views.width) * width - 1,
            zero,
            views.height * height,
            (2 * views.top + views.height) * height - 1,
        ],
        dim=-1,
    ).unflatten(-1, (2, 3))
    found = []
    for number in range(views.gain.shape[1]):
        grid = F.affine_grid(
            theta[:, number], [len(images), 3, size, size], align_corners=False
        )
        cut = F.grid_sample(
            images, grid, padding_mode='border', align_corners=False
        )
        gain, shift = views.gain[:, number], views.shift[:, number]
        found.append(
            cut * gain[:, None, None, None] + shift[:, None, None, None]
        )
    return torch.cat(found)
