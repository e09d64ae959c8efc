"""Masks as image files."""

from pathlib import Path

import cv2
import numpy as np

from fx_mm.image_io.mask_code import MaskCode

ONE_CLASS = MaskCode(('mask',))


class MaskFile:
    """A mask of one class in a PNG, GIF or TIFF file.

    Args:
        path (Path): The file.
        code (MaskCode): How it is read. Defaults to a file of one class.
        number (int): Number of the class in the code. Defaults to 0.
    """

    def __init__(
        self, path: Path, code: MaskCode = ONE_CLASS, number: int = 0
    ) -> None:
        self.path = path
        self.code = code
        self.number = number

    def draw(self, height: int, width: int) -> np.ndarray:
        """Read the mask, resized to the image's size.

        Returns:
            np.ndarray: bool of shape (height, width); a masked array if
            there are pixels that nobody annotated.

        Raises:
            ImageReadError: If the file is missing or damaged.
            UserError: If its values do not fit the code.
        """
        values = self.code.read(str(self.path)).values
        inside = fit_mask(self.code.inside(values, self.number), height, width)
        ignored = self.code.ignored(values)
        if ignored is None:
            return inside
        ignored = fit_mask(ignored, height, width)
        return np.ma.MaskedArray(inside, ignored)


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
