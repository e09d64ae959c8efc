"""Errors of reconstructed images."""

import torch
from torch import Tensor


def absolute_errors(pixels: Tensor, images: Tensor, where: Tensor) -> Tensor:
    """Absolute errors of some pixels, 0 elsewhere.

    Args:
        pixels (Tensor): Reconstructed pixels (B, H, W).
        images (Tensor): The true ones.
        where (Tensor): bool (B, H, W), True where a pixel counts.

    Returns:
        Tensor: float32 (B, H, W).
    """
    errors = (pixels.float() - images.float()).abs()
    # not a product: what does not count may be no number
    return torch.where(where, errors, 0)
