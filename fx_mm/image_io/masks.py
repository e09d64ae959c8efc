"""The masks of an image: its files, and which classes each of them has."""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from fx_mm.image_io.decisions import log_warnings
from fx_mm.image_io.mask_code import BIT_CODE, MaskCode
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.utils.errors import UserError

BITS = 16
"""Number of bits that a path may name, as in ``mask.png#3``."""
IGNORE = 'ignore'
"""In the place of a class: pixels that nobody annotated, for all classes."""


@overload
def read_mask(
    path: str | os.PathLike[str],
    classes: Sequence[str],
    mask_format: str | Mapping[str, Any] | None = None,
    decisions: Literal[False] = False,
) -> np.ndarray: ...


@overload
def read_mask(
    path: str | os.PathLike[str],
    classes: Sequence[str],
    mask_format: str | Mapping[str, Any] | None,
    decisions: Literal[True],
) -> tuple[np.ndarray, dict[str, Any]]: ...


@overload
def read_mask(
    path: str | os.PathLike[str],
    classes: Sequence[str],
    mask_format: str | Mapping[str, Any] | None = None,
    *,
    decisions: Literal[True],
) -> tuple[np.ndarray, dict[str, Any]]: ...


def read_mask(
    path: str | os.PathLike[str],
    classes: Sequence[str],
    mask_format: str | Mapping[str, Any] | None = None,
    decisions: bool = False,
) -> np.ndarray | tuple[np.ndarray, dict[str, Any]]:
    """Read a mask file as training does.

    Args:
        path (str | PathLike): Path of a PNG, JPEG, TIFF, BMP, GIF or .mha
            file; behind ``#``, the bit of the single class.
        classes (Sequence[str]): The classes that are in the file, in the
            order of their values or bits.
        mask_format (str | Mapping, optional): What the values mean, see
            :class:`MaskFormat`. Defaults to None: it is decided by the
            values, and refused where they may mean more than one thing.
        decisions (bool): Whether to return what was decided. Defaults to
            False.

    Returns:
        np.ndarray | tuple: bool (C, H, W); with ``decisions`` also a dict:
        ``mask_format`` (str), ``values`` (list: those found in the file),
        ``ignore`` (bool (H, W): pixels that nobody annotated),
        ``orientation`` (1 to 8, that was applied) and ``warnings``
        (list[str]).

    Raises:
        ImageReadError: If the file cannot be read.
        UserError: If its values do not fit the classes and the format.
    """
    names = [classes] if isinstance(classes, str) else [*map(str, classes)]
    paths = dict.fromkeys(names, os.fspath(path))
    if not paths:
        raise UserError(f'read_mask of {path} needs at least one class.')
    form = MaskFormat.from_cfg(mask_format)
    ((file, code, numbers, *_),) = mask_sources(paths, names, form)
    plane = code.read(file)
    masks = np.stack([code.inside(plane.values, n) for _, n in numbers])
    if not decisions:
        log_warnings(file, plane.decisions)
        return masks
    ignored = code.ignored(plane.values)
    if ignored is None:
        ignored = np.zeros(plane.values.shape, bool)
    return masks, dict(
        mask_format=plane.format,
        values=plane.found,
        ignore=ignored,
        orientation=plane.decisions.orientation,
        warnings=list(plane.decisions.warnings.values()),
    )


class MaskSource(NamedTuple):
    """A mask file of an image.

    Attributes:
        path (str): The file.
        code (MaskCode): How it is read.
        numbers (list[tuple]): Of each class that the image has in it, the
            number in the task and that in the code.
        blank (list[int]): Numbers of the classes that the file could have
            and the table says it has not.
        held (int, optional): Number in the code of the pixels that nobody
            annotated, where they are as a class of their own. Defaults to
            None.
    """

    path: str
    code: MaskCode
    numbers: list[tuple[int, int]]
    blank: list[int]
    held: int | None = None

    def fill(
        self, values: np.ndarray, masks: np.ndarray
    ) -> tuple[list[int], np.ndarray] | None:
        """Write the masks of the classes that the file is for.

        Args:
            values (np.ndarray): Integers (h, w) of its :class:`MaskPlane`,
                perhaps reduced.
            masks (np.ndarray): uint8 (C, h, w), of the task.

        Returns:
            tuple, optional: Numbers of the classes for which nobody annotated
            some pixels, and which these are, bool (h, w). None without.

        Raises:
            UserError: If the file has a class whose cell is blank.
        """
        for number, own in self.numbers:
            if self.code.any_bits and own >= 8 * values.dtype.itemsize:
                raise UserError(
                    f'{self.path} has {8 * values.dtype.itemsize} bits, but '
                    f'bit {own} is asked for; correct the table.'
                )
            self.code.inside(values, own, masks[number].view(bool))
        for number in self.blank:
            if self.code.inside(values, number).any():
                raise UserError(
                    f'{self.path} has pixels of '
                    f'"{self.code.classes[number]}", but the table leaves '
                    'the cell of that class blank; write the path there too, '
                    'or one column "mask" for all classes.'
                )
        if self.held is not None:
            held = self.code.inside(values, self.held)
            return (list(range(len(masks))), held) if held.any() else None
        ignored = self.code.ignored(values)
        if ignored is None:
            return None
        return [*(number for number, _ in self.numbers), *self.blank], ignored


def split_bit(path: str) -> tuple[str, int | None]:
    """Split ``masks/1.png#3`` into path and bit.

    Returns:
        tuple[str, int | None]: The file's path; the bit, None without one.
    """
    match = re.fullmatch(r'(.+)#(\d+)', path)
    return (match[1], int(match[2])) if match else (path, None)


def mask_sources(
    paths: Mapping[str, str | None],
    classes: Sequence[str],
    mask_format: MaskFormat | None = None,
) -> list[MaskSource]:
    """List the files of an image's masks, and how each is read.

    A file that only one of several classes names is for that class; one that
    several name is a label map (or has bits) of all classes.

    Args:
        paths (Mapping): Class name to path, perhaps with a bit; None for an
            empty mask. :data:`IGNORE` too may have one.
        classes (Sequence[str]): All classes of the task.
        mask_format (MaskFormat, optional): Of the files. Defaults to None:
            that of their values.

    Raises:
        UserError: If the format is not one for the classes.
    """
    mask_format = mask_format or MaskFormat()
    files: dict[str, list[tuple[int, int | None]]] = {}
    for number, name in enumerate(classes):
        path = paths[name]
        if path is not None:
            file, bit = split_bit(path)
            files.setdefault(file, []).append((number, bit))
    sources = []
    for file, named in files.items():
        numbers = [number for number, _ in named]
        bits = [(n, bit) for n, bit in named if bit is not None]
        if len(bits) == len(named):
            sources.append(MaskSource(file, BIT_CODE, bits, []))
            continue
        if bits:
            raise UserError(
                f'{file} is named with a bit and without one; write a bit '
                'for each class.'
            )
        blank: list[int] = []
        single = mask_format.type in ('binary', 'alpha')
        if single or len(numbers) == 1 and mask_format.type is None:
            code = _code(tuple(classes[n] for n in numbers), mask_format)
            own = [(n, 0) for n in numbers]
        else:
            code = _code(tuple(classes), mask_format)
            own = [(n, n) for n in numbers]
            if len(files) == 1:
                blank = [n for n in range(len(classes)) if n not in numbers]
        sources.append(MaskSource(file, code, own, blank))
    path = None if IGNORE in classes else paths.get(IGNORE)
    if path is not None:
        file, held = split_bit(path)
        if held is None:
            # a frame is no mistake: what the collimator covers
            code = _code((IGNORE,), MaskFormat('binary'))
            sources.append(MaskSource(file, code, [], [], 0))
        else:
            same = [s for s in sources if (s.path, s.code) == (file, BIT_CODE)]
            for source in same:
                sources.remove(source)
            own = same[0].numbers if same else []
            sources.append(MaskSource(file, BIT_CODE, own, [], held))
    return sources


@functools.lru_cache(1024)
def _code(classes: tuple[str, ...], mask_format: MaskFormat) -> MaskCode:
    return MaskCode(classes, mask_format)
