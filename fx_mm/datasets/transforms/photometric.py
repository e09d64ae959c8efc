"""Changes of grey values by a table.

mmdet's transforms of brightness and contrast draw one of few steps (they
round to a decimal); mmpretrain's draw evenly, but take the contrast about the
image's mean. The papers' are those of Albumentations, of the same names.
"""

from abc import abstractmethod
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from fx_mm.registry import TRANSFORMS
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

GREYS = np.linspace(0, 1, 256)


class TableTransform(BaseTransform):
    """Map each of the 256 grey values to another, now and then.

    Required Keys:

    - img (np.uint8)

    Modified Keys:

    - img

    Args:
        prob (float): How often. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5) -> None:
        check_number(f'{type(self).__name__}.prob', prob, 0, 1)
        self.prob = prob

    @abstractmethod
    def draw_values(self) -> np.ndarray:
        """Draw what the grey values 0..1 become, shape (256,)."""

    @cache_randomness
    def _draw(self) -> np.ndarray | None:
        if np.random.rand() >= self.prob:
            return None
        values = np.clip(self.draw_values(), 0, 1) * 255
        return np.rint(values).astype(np.uint8)

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Change the grey values of the image."""
        table = self._draw()
        if table is not None:
            results['img'] = cv2.LUT(results['img'], table)
        return results


@TRANSFORMS.register_module()
class RandomBrightnessContrast(TableTransform):
    """Multiply the grey values by a factor and add to them.

    Args:
        brightness_limit (float): What is added, as a part of the full range,
            is drawn evenly from -limit..limit. Defaults to 0.2.
        contrast_limit (float): The factor is drawn evenly from
            1 - limit..1 + limit. Defaults to 0.2.
        prob (float): How often. Defaults to 0.5.
    """

    def __init__(
        self,
        brightness_limit: float = 0.2,
        contrast_limit: float = 0.2,
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        name = type(self).__name__
        check_number(f'{name}.brightness_limit', brightness_limit, 0, 1)
        check_number(f'{name}.contrast_limit', contrast_limit, 0, 1)
        self.brightness_limit = brightness_limit
        self.contrast_limit = contrast_limit

    def draw_values(self) -> np.ndarray:
        """Draw factor and sum."""
        contrast, brightness = np.random.uniform(-1, 1, 2)
        factor = 1 + contrast * self.contrast_limit
        return GREYS * factor + brightness * self.brightness_limit

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}({self.brightness_limit}, '
            f'{self.contrast_limit}, prob={self.prob})'
        )


@TRANSFORMS.register_module()
class RandomGamma(TableTransform):
    """Raise the grey values 0..1 to a power.

    Args:
        gamma_range (Sequence[float]): The power is drawn evenly from low to
            high. Defaults to (0.8, 1.2).
        prob (float): How often. Defaults to 0.5.

    Raises:
        UserError: If the range is not one of positive numbers.
    """

    def __init__(
        self, gamma_range: tuple[float, float] = (0.8, 1.2), prob: float = 0.5
    ) -> None:
        super().__init__(prob)
        low, high = gamma_range
        if not 0 < low <= high:
            raise UserError(
                f'RandomGamma.gamma_range is {gamma_range!r}; write (low, '
                'high) with 0 < low <= high.'
            )
        self.gamma_range = (low, high)

    def draw_values(self) -> np.ndarray:
        """Draw the power."""
        return GREYS ** np.random.uniform(*self.gamma_range)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.gamma_range}, prob={self.prob})'


@TRANSFORMS.register_module()
class JpegCompression(BaseTransform):
    """Compress the image as JPEG and read it again.

    Required Keys:

    - img (np.uint8)

    Modified Keys:

    - img

    Args:
        quality (int): From 1 to 100, the best.

    Raises:
        UserError: If the quality is none.
    """

    def __init__(self, quality: int) -> None:
        name = f'{type(self).__name__}.quality'
        check_number(name, quality, 1, 100, whole=True)
        self.quality = quality

    def transform(self, results: dict[str, Any]) -> dict[Any, Any]:
        """Lose what the compression loses."""
        _, code = cv2.imencode(
            '.jpg', results['img'], [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        )
        results['img'] = cv2.imdecode(code, cv2.IMREAD_COLOR)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(quality={self.quality})'
