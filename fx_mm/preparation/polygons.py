"""Masks as polygons."""

from collections.abc import Sequence

import cv2
import numpy as np

from fx_mm.utils.errors import UserError


class Polygon:
    """A mask as its outline.

    Args:
        points (Sequence): (x, y) of each corner, in pixels of the image.
        where (str): File and place in it, for the message.

    Raises:
        UserError: If there are fewer than three points, or no numbers.
    """

    def __init__(
        self, points: Sequence[Sequence[float]], where: str = ''
    ) -> None:
        try:
            corners = np.asarray(points, np.float64)
        except (TypeError, ValueError):
            corners = np.zeros(0)
        if (
            corners.ndim != 2
            or corners.shape[1] != 2
            or len(corners) < 3
            or not np.isfinite(corners).all()
        ):
            raise UserError(
                f'{where or "A mask"}: a polygon needs three or more points '
                f'(x, y), not {_shorten(points)}; correct it or delete it.'
            )
        self.points = corners.astype(np.float32)

    def draw(self, height: int, width: int) -> np.ndarray:
        """Fill the polygon; what lies outside of the image is cut off.

        Returns:
            np.ndarray: bool of shape (height, width).
        """
        mask = np.zeros((height, width), np.uint8)
        # far corners would overflow the fixed-point numbers of OpenCV
        corners = np.rint(self.points).clip(-(2**14), 2**14).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
        return mask != 0


def _shorten(points: object) -> str:
    text = repr(points)
    return text if len(text) < 80 else f'{text[:76]} ...'
