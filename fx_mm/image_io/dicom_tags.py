"""Tags of a DICOM that may be empty, malformed or missing."""

import math
from typing import Any

import pydicom
from pydicom.multival import MultiValue

from fx_mm.image_io.decisions import Decisions


class DicomTags:
    """Reads tags whose values may be anything; warns of what is none.

    pydicom raises where a value is not of its type. An image whose pixels
    are readable is not refused for that.

    Args:
        dataset (pydicom.Dataset): The file, or an item of a sequence.
        decisions (Decisions): Takes the warnings.
    """

    def __init__(self, dataset: pydicom.Dataset, decisions: Decisions) -> None:
        self.dataset = dataset
        self.decisions = decisions

    def numbers(self, keyword: str) -> list[float | None]:
        """Return the numbers of a tag, None for what is not a finite one.

        Returns:
            list: Empty if the tag is missing.
        """
        if keyword not in self.dataset:
            return []
        parts = self._parts(keyword)
        numbers: list[float | None] = []
        for part in parts:
            try:
                number = float(part)
            except (TypeError, ValueError):
                number = math.nan
            numbers.append(number if math.isfinite(number) else None)
        if None in numbers:
            shown = '\\'.join(map(str, parts))
            self.decisions.warn(
                keyword,
                f'{keyword} is "{shown}"; what is no number is not used.'
                if shown
                else f'{keyword} is empty.',
            )
        return numbers

    def number(self, keyword: str) -> float | None:
        """Return the first number of a tag; None if there is none."""
        return next(iter(self.numbers(keyword)), None)

    def text(self, keyword: str) -> str:
        """Return a tag's text in capitals; '' if it is missing."""
        if keyword not in self.dataset:
            return ''
        return str(self._parts(keyword)[0]).strip().upper()

    def items(self, keyword: str) -> list['DicomTags']:
        """Return the items of a sequence; none if it is missing or empty."""
        if keyword not in self.dataset:
            return []
        try:
            items = list(self.dataset[keyword].value or ())
        except Exception:  # damaged sequences make pydicom raise any kind
            items = []
        items = [item for item in items if isinstance(item, pydicom.Dataset)]
        if not items:
            self.decisions.warn(keyword, f'{keyword} has no usable item.')
        return [DicomTags(item, self.decisions) for item in items]

    def fill(self, keyword: str, value: Any) -> None:
        """Set a tag that the standard demands, and warn of that."""
        was = 'missing'
        if keyword in self.dataset:
            was = '\\'.join(map(str, self._parts(keyword))) or 'empty'
            del self.dataset[keyword]
        setattr(self.dataset, keyword, value)
        self.decisions.warn(keyword, f'{keyword} is {was}; {value} is taken.')

    def _parts(self, keyword: str) -> list[Any]:
        """Return the values of a tag; [''] if it is empty."""
        try:
            value = self.dataset[keyword].value
        except Exception:  # the value is not of the tag's type
            value = self.dataset.get_item(keyword).value
        if isinstance(value, bytes):
            value = value.decode('latin-1').strip('\0 ').split('\\')
        if isinstance(value, str | int | float) or value is None:
            value = [value]
        if not isinstance(value, (list, tuple, MultiValue)) or not value:
            value = ['']
        return ['' if part is None else part for part in value]
