"""From a mask file's values to its classes: one decision per file.

Training, preparation, audit, cache and evaluation read every mask file with
:class:`MaskCode`, so that the same file gives the same masks everywhere.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fx_mm.image_io.binary_masks import (
    IGNORED,
    INSIDE,
    MisfitError,
    full_scale,
    is_constant,
    listed,
    read_alpha,
    read_binary,
    values_of,
    whole_numbers,
)
from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.image_io.mask_pixels import MaskPixels, read_mask_pixels
from fx_mm.utils.errors import UserError

MOST_MORE = 16
"""Number of values beside those of the classes that are worth listing."""

MOST_IGNORED = 0.5
"""Share of a label map above which ignored pixels are worth a warning."""


class MaskPlane(NamedTuple):
    """A mask file, read; what its values mean is in the :class:`MaskCode`.

    Attributes:
        values (np.ndarray): Integers (H, W).
        format (str): Type of the format that it has.
        found (list[int]): The file's values.
        decisions (Decisions): Of the file, with what is doubtful about it.
    """

    values: np.ndarray
    format: str
    found: list[int]
    decisions: Decisions


@dataclass(frozen=True)
class MaskCode:
    """How the values of a file become one mask per class.

    Args:
        classes (tuple[str]): The classes that the file is for.
        format (MaskFormat): Its format. Defaults to that of its values.
        any_bits (bool): Whether further bits are allowed, as in files whose
            path names one. Defaults to False.

    Raises:
        UserError: If the format is not one for these classes.
    """

    classes: tuple[str, ...]
    format: MaskFormat = MaskFormat()
    any_bits: bool = False

    def __post_init__(self) -> None:
        if self.type in ('binary', 'alpha') and len(self.classes) != 1:
            raise UserError(
                f'mask_format "{self.type}" is for one class per file, not '
                f'for {", ".join(self.classes)}; write label_map, palette or '
                'bits, or one file per class.'
            )
        if self.is_map:
            ignored = set(self.format.ignored_values(self.classes))
            for name, values in zip(self.classes, self._class_values):
                if ignored.intersection(values):
                    raise UserError(
                        f'mask_format: {values} of class "{name}" is in '
                        'ignore_index too; take it out of one.'
                    )

    @property
    def type(self) -> str:
        """str: Type of the format, as the user or the classes say."""
        one = len(self.classes) == 1
        return self.format.type or ('binary' if one else 'label_map')

    @property
    def is_map(self) -> bool:
        """bool: Whether each value is one class."""
        return self.type in ('label_map', 'palette')

    @property
    def guesses_ignored(self) -> bool:
        """bool: Whether the values decide if 255 is for ignored pixels."""
        return self.type == 'binary' and self.format.ignore_index is None

    @functools.cached_property
    def tag(self) -> str:
        """str: Differs between codes that read other values from a file."""
        if self.any_bits:
            return ''
        text = repr((self.classes, self.format))
        return '-' + hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def read(self, path: str) -> MaskPlane:
        """Read a file and check that all its values mean something.

        Args:
            path (str): The file.

        Raises:
            ImageReadError: If it cannot be read.
            UserError: If its values do not fit, with those and the format
                that would fit.
        """
        pixels = read_mask_pixels(path)
        try:
            return self._read(pixels)
        except MisfitError as error:
            raise UserError(
                f'{path} {error}{self._hint(error.found, pixels.white)}.'
            ) from error

    def inside(
        self, values: np.ndarray, number: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return which pixels are inside of a class.

        Args:
            values (np.ndarray): Those of a :class:`MaskPlane`, perhaps
                reduced to the nearest pixels.
            number (int): Of the class.
            out (np.ndarray, optional): Where to. Defaults to None: anew.

        Returns:
            np.ndarray: bool (H, W).
        """
        if out is None:
            out = np.empty(values.shape, bool)
        if self.type == 'bits':
            bits = values >> number
            np.bitwise_and(bits, 1, out=out.view(np.uint8), casting='unsafe')
            for value in self._ignored_values:
                out &= values != value
            return out
        return _is_in(values, self._class_values[number], out)

    def ignored(self, values: np.ndarray) -> np.ndarray | None:
        """Return which pixels nobody annotated; None if there are none.

        Args:
            values (np.ndarray): As of :meth:`inside`.

        Returns:
            np.ndarray, optional: bool (H, W).
        """
        ignored = self._ignored_values
        if not ignored:
            return None
        found = _is_in(values, ignored, np.empty(values.shape, bool))
        return found if found.any() else None

    @property
    def _class_values(self) -> tuple[tuple[int, ...], ...]:
        if self.is_map:
            return self.format.class_values(self.classes)
        return ((INSIDE,),)

    @property
    def _ignored_values(self) -> tuple[int, ...]:
        if self.is_map:
            return self.format.ignored_values(self.classes)
        if self.type == 'bits':
            return self.format.ignore_index or ()
        return (IGNORED,)

    def _read(self, pixels: MaskPixels) -> MaskPlane:
        if self.type == 'bits':
            return self._read_bits(pixels)
        if self.is_map:
            return self._read_map(pixels)
        ignore = self.format.ignore_index
        if self.type == 'alpha':
            found = read_alpha(pixels, ignore, self.format.invert)
        else:
            sure = self.format.type is not None
            found = read_binary(pixels, ignore, sure)
        if self.format.invert:
            values = found.values
            inverted = np.where(values == IGNORED, values, 1 - values)
            found = found._replace(values=inverted.astype(np.uint8))
        return MaskPlane(*found, pixels.decisions)

    def _read_bits(self, pixels: MaskPixels) -> MaskPlane:
        values = _stored(pixels)
        if values.dtype.kind == 'i' and values.min() < 0:
            raise MisfitError('holds negative values, which are no bits')
        if self.any_bits:
            return MaskPlane(values, 'bits', [], pixels.decisions)
        found = values_of(values)
        allowed = found[~np.isin(found, self._ignored_values)]
        if len(allowed) and int(allowed[-1]) >> len(self.classes):
            raise MisfitError('holds the values', found)
        return MaskPlane(values, 'bits', found.tolist(), pixels.decisions)

    def _read_map(self, pixels: MaskPixels) -> MaskPlane:
        if self.type == 'palette' and pixels.colors is None:
            raise MisfitError(
                "is no palette image; mask_format='label_map' may fit"
            )
        values = _stored(pixels)
        found = values_of(values)
        classes = {v for values in self._class_values for v in values}
        ignored = set(self._ignored_values)
        known = classes | ignored | set(self.format.background)
        here = set(found.tolist())
        guessed = self.format.type is None
        if not here <= known:
            raise MisfitError('holds the values', found)
        if guessed and here & ignored and not here & classes:
            # the mask of one class, rather than an image without any
            raise MisfitError('holds the values', found)
        self._warn_of_ignored(values, ignored & here, pixels.decisions)
        kind = 'label_map' if pixels.colors is None else 'palette'
        return MaskPlane(values, kind, found.tolist(), pixels.decisions)

    def _warn_of_ignored(
        self, values: np.ndarray, ignored: set[int], decisions: Decisions
    ) -> None:
        """Warn if most of a map is ignored, though nobody has said so.

        A map whose background is 255 may count its classes from 0.
        """
        if not ignored or self.format.ignore_index is not None:
            return
        (value,) = ignored
        share = np.count_nonzero(values == value) / values.size
        if share > MOST_IGNORED:
            decisions.warn(
                'mostly ignored',
                f'{share:.0%} of the label map are {value} and so ignored; '
                'if that is outside, write mask_format with values and '
                f'background={value}, else with ignore_index={value}.',
            )

    def _hint(self, found: Sequence[int] | None, white: int) -> str:
        """Return which format would fit, behind the values found.

        Which value is which class is said only where the values leave one
        way: a wrong advice that is followed gives wrong masks.

        Args:
            found (Sequence[int], optional): The file's values, ascending.
            white (int): Largest value of its depth.
        """
        if found is None:
            return ''
        names = ', '.join(f'"{name}"' for name in self.classes)
        what = f', which are not those of {self.type} for {names}'
        if len(found) > len(self.classes) + MOST_MORE:
            return (
                f'{what}; if it is a picture, correct the path, if a label '
                "map, write mask_format=dict(type='label_map', values=...)"
            )
        if self.is_map and self.format != MaskFormat(self.format.type):
            known = {v for values in self._class_values for v in values}
            known.update(self._ignored_values, self.format.background)
            rest = [v for v in found if v not in known]
            return (
                f'{what} as mask_format says; add {listed(rest)} to its '
                'values, background or ignore_index'
            )
        if self.type != 'bits' and len(self.classes) > 1:
            if found[0] == 0 and found[-1] < 2 ** len(self.classes):
                what += "; mask_format='bits' fits if classes are bits"
            elif {*found} - {0} <= {*self._ignored_values}:
                return (
                    f"{what}; mask_format='label_map' fits if {found[-1]} "
                    'is for ignored pixels'
                )
        return f'{what}; {self._fitting(found, white)}'

    def _fitting(self, found: Sequence[int], white: int) -> str:
        """Return what of a label map or a binary mask would fit."""
        low, top = found[0], found[-1]
        usual = MaskFormat().class_values(self.classes)
        default = [value for (value,) in usual]
        rest = [v for v in found if v not in (0, *default)]
        if low == 0 and rest and {*default} <= {*found}:
            outside = [v for v in (0, *rest) if v not in default]
            kept = outside[:-1]
            values = dict(zip(self.classes, default))
            more = f', background={kept}' if kept not in ([], [0]) else ''
            return (
                f'{_label_map(values)}{more}, ignore_index={top}) fits if '
                f'nobody annotated {top}, or background={outside} without '
                'ignore_index if it is none of the classes'
            )
        single = self.type in ('binary', 'alpha') and len(found) == 3
        if single and low == 0 and top == full_scale(white, top):
            return (
                f"mask_format=dict(type='{self.type}', "
                f'ignore_index={found[1]}) fits if nobody annotated '
                f'{found[1]}'
            )
        if len(rest) == len(self.classes) and not {*default} & {*found}:
            values = dict(zip(self.classes, rest))
            return f'{_label_map(values)}) fits if these are the classes'
        unknown = dict.fromkeys(self.classes, ...)
        text = _label_map(unknown).replace('Ellipsis', '...')
        return (
            f'write which of the {len(found)} values belong to which class, '
            f'{text}, background=..., ignore_index=...)'
        )


def _label_map(values: dict[str, Any]) -> str:
    """Return the beginning of a format that has these values."""
    return f"mask_format=dict(type='label_map', values={values}"


BIT_CODE = MaskCode((), MaskFormat('bits'), any_bits=True)
"""Of a file whose path names a bit."""


def _stored(pixels: MaskPixels) -> np.ndarray:
    """Return the single channel of integers of a file of several classes.

    Raises:
        MisfitError: If it has colours, nothing but alpha, or is a JPEG.
    """
    if pixels.lossy:
        raise MisfitError(
            'is a JPEG, or compressed like one, whose values blur, so that '
            'it cannot hold several classes; save the mask as PNG'
        )
    values = pixels.values
    if values.ndim == 3:
        first = values[..., 0]
        if not all(np.array_equal(first, values[..., i]) for i in (1, 2)):
            colors = np.unique(values[..., 2::-1].reshape(-1, 3), axis=0)
            raise MisfitError(
                f'has the colours {listed(colors.tolist())}; '
                'save the mask with one grey value, or palette index, per '
                'class'
            )
        alpha = values[..., 3:]
        if is_constant(first) and not is_constant(alpha):
            raise MisfitError(
                'has one mask in its alpha channel; save one value per class'
            )
        values = np.ascontiguousarray(first)
    return whole_numbers(values)


def _is_in(
    values: np.ndarray, wanted: tuple[int, ...], out: np.ndarray
) -> np.ndarray:
    # np.isin takes 30 times as long
    np.equal(values, wanted[0], out=out)
    for value in wanted[1:]:
        out |= values == value
    return out
