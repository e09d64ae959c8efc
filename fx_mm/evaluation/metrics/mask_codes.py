"""Masks as COCO's run lengths."""

from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask


def encode(masks: torch.Tensor) -> list[dict[str, Any]]:
    """Encode the masks of an image.

    Args:
        masks (Tensor): (C, H, W), nonzero = inside.

    Returns:
        list[dict]: COCO's ``size`` (H, W) and ``counts`` (bytes), one per
        class.
    """
    pixels = (masks != 0).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return coco_mask.encode(np.asfortranarray(pixels))


def decode(codes: list[dict[str, Any]]) -> torch.Tensor:
    """Decode the masks of an image.

    Returns:
        Tensor: uint8 (C, H, W).
    """
    pixels = coco_mask.decode(codes)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
