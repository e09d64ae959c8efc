"""Masks as image files."""

from pathlib import Path

import cv2
import numpy as np

from fx_mm.datasets.io.xray import read_mask


class MaskFile:
    """A mask in a PNG, GIF or TIFF file.

    Args:
        path (Path): The file.
        threshold (int): Values above it are inside. Defaults to 0.
    """

    def __init__(self, path: Path, threshold: int = 0) -> None:
        self.path = path
        self.threshold = threshold

    def draw(self, height: int, width: int) -> np.ndarray:
        """Read the mask, resized to the image's size.

        Returns:
            np.ndarray: bool of shape (height, width).

        Raises:
            ImageReadError: If the file is missing or damaged.
        """
        mask = read_mask(str(self.path)) > self.threshold
        return fit_mask(mask, height, width)


def fit_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring a mask to the size of its image, by the nearest neighbour.

    Args:
        mask (np.ndarray): Of shape (h, w); what is not 0 is inside.
        height (int): Height of the image in pixels.
        width (int): Its width.

    Returns:
        np.ndarray: bool of shape (height, width).
    """
    mask = np.ascontiguousarray(mask, np.uint8)
    if mask.shape != (height, width):
        # INTER_NEAREST would shift the mask by half a pixel
        mask = cv2.resize(
            mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
    return mask != 0
