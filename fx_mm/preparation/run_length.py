"""Run-length codes of masks.

SIIM-ACR and CANDID-PTX use the relative one, Kaggle and CheXmask the absolute
one, COCO its own.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from fx_mm.preparation.mask_files import fit_mask
from fx_mm.utils.errors import UserError

EMPTY = ('', '-1', 'nan')
"""What official files have where there is no mask."""


class RunLength:
    """A mask as pairs of numbers: where a run begins and how long it is.

    Args:
        text (str): The numbers, separated by blanks; one of :data:`EMPTY`
            for an empty mask.
        relative (bool): Whether a run's first number counts the pixels since
            the end of the run before (SIIM-ACR). Defaults to False: it is
            the place of its first pixel, beginning at 1 (Kaggle, CheXmask).
        order (str): Whether pixels are counted down the columns (``column``)
            or along the rows (``row``). Defaults to 'column'.
        size (Sequence[int], optional): Height and width that the code was
            written for; the mask is resized from it. Defaults to None: those
            of the image.
        where (str): File and row, for the messages.
    """

    def __init__(
        self,
        text: str,
        relative: bool = False,
        order: str = 'column',
        size: Sequence[int] | None = None,
        where: str = '',
    ) -> None:
        # as text, the codes of 18,000 large masks would take more than 1 GB
        self._packed = zlib.compress(text.strip().encode(), 1)
        self.relative = relative
        self.order = check_order(order)
        self.size = size
        self.where = where

    @property
    def text(self) -> str:
        return zlib.decompress(self._packed).decode()

    def draw(self, height: int, width: int) -> np.ndarray:
        """Draw the mask.

        Args:
            height (int): Height of the image in pixels.
            width (int): Its width.

        Returns:
            np.ndarray: bool of shape (height, width).

        Raises:
            UserError: If the numbers are no pairs, negative, or lead out of
                the image.
        """
        rows, columns = self.size or (height, width)
        begin, end = self._runs(rows * columns, f'{rows}x{columns}')
        steps = np.zeros(rows * columns + 1, np.int32)
        np.add.at(steps, begin, 1)
        np.add.at(steps, end, -1)
        inside = steps[:-1].cumsum() > 0
        if self.order == 'column':
            mask = inside.reshape(columns, rows).T
        else:
            mask = inside.reshape(rows, columns)
        return fit_mask(mask, height, width)

    def _runs(self, pixels: int, shape: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the first pixel of each run and the one behind its last."""
        text = self.text
        words = [] if text in EMPTY else text.split()
        try:
            numbers = np.array(words, np.int64)
        except (ValueError, OverflowError):
            raise self._error('holds more than whole numbers') from None
        if len(numbers) % 2:
            raise self._error(
                f'has {len(numbers)} numbers, which are no pairs of begin '
                'and length'
            )
        first, length = numbers[::2], numbers[1::2]
        if (numbers < 0).any():
            raise self._error(f'has the negative number {numbers.min()}')
        # what is outside stays so, and sums cannot overflow
        first, length = (np.minimum(n, pixels + 1) for n in (first, length))
        if self.relative:
            end = np.cumsum(first + length)
            begin = end - length
        else:
            if (first == 0).any():
                raise self._error('has a run at 0, but pixels count from 1')
            begin = first - 1
            end = begin + length
        outside = np.flatnonzero(end > pixels)
        if len(outside):
            raise self._error(
                f'leads beyond the image of {shape} pixels (run '
                f'{outside[0] + 1} of {len(end)})'
            )
        return begin, end

    def _error(self, what: str) -> UserError:
        return UserError(
            f'{self.where or "A mask"}: the run-length code {what}; check '
            'that it is the whole official file.'
        )


class CocoRunLength:
    """A mask in COCO's run-length code, compressed or not.

    Args:
        segmentation (Mapping): With ``size`` (height, width) and ``counts``: a
            text, or the list of alternating lengths outside and inside.
        where (str): File and annotation, for the messages.
    """

    def __init__(
        self, segmentation: Mapping[str, Any], where: str = ''
    ) -> None:
        self.segmentation = segmentation
        self.where = where

    def draw(self, height: int, width: int) -> np.ndarray:
        """Draw the mask; see :meth:`RunLength.draw`."""
        code = self.segmentation
        try:
            rows, columns = code['size']
            counts = code['counts']
            if isinstance(counts, list):
                # pycocotools writes beyond its memory if they are too many
                if min(counts, default=0) < 0 or sum(counts) != rows * columns:
                    raise ValueError('counts that do not add up to the size')
                code = coco.frPyObjects(code, rows, columns)
            mask = coco.decode(code)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'{self.where or "A mask"}: the COCO run-length code cannot '
                f'be read ({error}); check that the file is whole.'
            ) from error
        return fit_mask(mask, height, width)


def check_order(order: str) -> str:
    """Check how pixels are counted.

    Raises:
        UserError: If it is neither of the two.
    """
    if order not in ('column', 'row'):
        raise UserError(
            f'The order of a run-length code is "column" or "row", not '
            f'"{order}".'
        )
    return order
