"""Drawing in chest units on a pixel grid.

The chest frame: the midline of the thorax is x = 0, the inner chest wall at
the widest level of an average thorax is x = -1 and x = +1, the lung apex is
y = 0 and y grows towards the feet. Positive x is image right, which is the
patient's left side. One unit is about 14 cm.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

RIGHT, LEFT = -1, 1
"""Patient's sides; the right one lies at negative x."""

_SHIFT = 4
"""Fractional bits of OpenCV's fixed-point coordinates."""


@lru_cache(maxsize=64)
def _spline_basis(n_points: int, closed: bool, per_span: int) -> np.ndarray:
    """Catmull-Rom weights: (samples, n_points)."""
    spans = n_points if closed else n_points - 1
    t = np.arange(per_span) / per_span
    weights = 0.5 * np.stack(
        [
            -t + 2 * t**2 - t**3,
            2 - 5 * t**2 + 3 * t**3,
            t + 4 * t**2 - 3 * t**3,
            -(t**2) + t**3,
        ],
        axis=1,
    )
    basis = np.zeros((spans * per_span + (not closed), n_points))
    for span in range(spans):
        rows = slice(span * per_span, (span + 1) * per_span)
        for offset in range(4):
            point = span + offset - 1
            if closed:
                point %= n_points
            else:
                point = min(max(point, 0), n_points - 1)
            basis[rows, point] += weights[:, offset]
    if not closed:
        basis[-1, -1] = 1
    return basis


def smooth(
    points: ArrayLike, closed: bool = False, per_span: int = 8
) -> np.ndarray:
    """Run a smooth curve through points.

    Args:
        points (ArrayLike): Shape (n, 2).
        closed (bool): Whether the curve returns to its first point.
            Defaults to False.
        per_span (int): Samples between two points. Defaults to 8.

    Returns:
        np.ndarray: Points of the Catmull-Rom curve, shape (m, 2).
    """
    corners = np.asarray(points, dtype=np.float64)
    return _spline_basis(len(corners), closed, per_span) @ corners


def mirror(points: ArrayLike, side: int) -> np.ndarray:
    """Put points (n, 2) of the patient's left on a side."""
    return np.asarray(points, dtype=np.float64) * (side, 1)


class Canvas:
    """A square pixel grid with the map from chest units to its pixels.

    Args:
        size (int): Width and height in pixels.
        linear (np.ndarray): 2x2 map from chest units to pixels.
        offset (np.ndarray): Pixel position of the chest frame's origin.
    """

    def __init__(
        self, size: int, linear: ArrayLike, offset: ArrayLike
    ) -> None:
        self.size = size
        self.linear = np.asarray(linear, dtype=np.float64)
        self.offset = np.asarray(offset, dtype=np.float64)
        self.scale = float(np.sqrt(abs(np.linalg.det(self.linear))))
        """Pixels per chest unit (geometric mean of both directions)."""
        # Plain floats keep the arrays in single precision.
        (xx, xy), (yx, yy) = np.linalg.inv(self.linear).tolist()
        axis = np.arange(size, dtype=np.float32)
        left, top = self.offset.tolist()
        dx, dy = axis - left, (axis - top)[:, None]
        self.x = xx * dx + xy * dy
        """Chest x of every pixel, float32 (size, size)."""
        self.y = yx * dx + yy * dy
        """Chest y of every pixel, float32 (size, size)."""

    def to_pixels(self, points: ArrayLike) -> np.ndarray:
        """Map chest units (..., 2) to pixel positions (..., 2)."""
        return np.asarray(points) @ self.linear.T + self.offset

    def _fixed(self, points: ArrayLike) -> np.ndarray:
        pixels = self.to_pixels(points) * (1 << _SHIFT)
        return np.round(pixels).astype(np.int32)

    def fill(self, *polygons: ArrayLike) -> np.ndarray:
        """Fill closed polygons: uint8 (size, size), 255 inside."""
        layer = self.blank()
        for polygon in polygons:
            self.paint(layer, polygon, 255)
        return layer

    def paint(self, layer: np.ndarray, polygon: ArrayLike, value: int) -> None:
        """Fill a closed polygon in a uint8 layer, over what is there."""
        cv2.fillPoly(
            layer, [self._fixed(polygon)], int(value), cv2.LINE_8, _SHIFT
        )

    def blank(self) -> np.ndarray:
        """An empty layer: uint8 zeros (size, size)."""
        return np.zeros((self.size, self.size), np.uint8)

    def stroke(
        self,
        layer: np.ndarray,
        curves: Sequence[ArrayLike],
        width: float,
        value: int,
        closed: bool = False,
    ) -> None:
        """Draw curves into a layer, over what is there.

        Args:
            layer (np.ndarray): uint8 (size, size), changed in place.
            curves (Sequence): Point arrays of shape (n, 2), chest units.
            width (float): Width of the stroke in chest units.
            value (int): Grey value, 0 to 255.
            closed (bool): Whether the curves are closed.
        """
        # One map for all points: calls cost more than arithmetic here.
        points = [np.asarray(curve) for curve in curves]
        fixed = self._fixed(np.concatenate(points))
        ends = np.cumsum([len(curve) for curve in points]).tolist()
        pieces = [fixed[i:j] for i, j in zip([0, *ends], ends)]
        thickness = max(1, round(width * self.scale))
        # The canvas is oversampled, so hard edges are smooth in the end.
        cv2.polylines(
            layer,
            pieces,
            closed,
            int(value),
            thickness,
            cv2.LINE_8,
            _SHIFT,
        )

    def bump(self, mask: np.ndarray, width: float) -> np.ndarray:
        """Thickness of a rounded body seen from the front.

        Args:
            mask (np.ndarray): uint8 (size, size), 255 inside.
            width (float): Distance from the edge, in chest units, at which
                the full thickness is reached.

        Returns:
            np.ndarray: float32, 0 at the edge to 1 inside, rising like the
            chord of a circle.
        """
        inside = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]
        depth: np.ndarray = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        depth *= 1 / (width * self.scale)
        np.minimum(depth, 1, out=depth)
        return np.sqrt(depth * (2 - depth))

    def blur(self, layer: np.ndarray, sigma: float) -> np.ndarray:
        """Blur a layer; ``sigma`` in chest units."""
        sigma = max(sigma * self.scale, 0.3)
        if layer.dtype != np.uint8:
            return cv2.GaussianBlur(layer, (0, 0), sigma)
        # Two box filters, several times faster than the Gaussian.
        width = 2 * round(0.5 * (np.sqrt(6 * sigma**2 + 1) - 1)) + 1
        return cv2.blur(cv2.blur(layer, (width, width)), (width, width))

    def clouds(self, rng: np.random.Generator, cells: int) -> np.ndarray:
        """Smooth noise, float32 (size, size), about unit variance.

        Args:
            rng (np.random.Generator): Source of randomness.
            cells (int): Number of noise cells along an edge.
        """
        coarse = rng.standard_normal((cells, cells), dtype=np.float32)
        return cv2.resize(
            coarse, (self.size, self.size), interpolation=cv2.INTER_CUBIC
        )


def unit(layer: np.ndarray) -> np.ndarray:
    """A uint8 layer as float32 from 0 to 1."""
    return layer.astype(np.float32) * np.float32(1 / 255)
