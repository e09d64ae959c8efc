"""What the inferencer takes for an image: files, folders, arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fx_mm.dicom_out import DicomWeb, is_web_address
from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import ImageReadError, UnreadableError
from fx_mm.image_io.image_files import find_images
from fx_mm.image_io.pixels import to_uint8
from fx_mm.image_io.xray import read_xray
from fx_mm.utils.errors import UserError

ImageInput = str | Path | np.ndarray


@dataclass(frozen=True, eq=False)
class ImageSource:
    """One image that is not read yet.

    Attributes:
        name (str): For people: the file name or ``array 0``.
        place (Path): Path within the folder that was given; of a single file
            its name.
        origin (str | np.ndarray): Path of a file, or numbers of shape (H, W),
            (H, W, 1) or, RGB, (H, W, 3).
    """

    name: str
    place: Path
    origin: str | np.ndarray = field(repr=False)

    @property
    def path(self) -> str | None:
        """str, optional: The file; None for an array."""
        return self.origin if isinstance(self.origin, str) else None

    def read(
        self, percentiles: Sequence[float] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the pixels as 8-bit grey.

        uint8 keeps its values; the value range of other types is mapped to
        0..255, as that of deeper files is. An image without anything to see
        has a warning.

        Args:
            percentiles (Sequence[float], optional): See :func:`read_xray`.
                Defaults to None.

        Returns:
            tuple: uint8 of shape (H, W), and what was decided; see
            :func:`read_xray`.

        Raises:
            ImageReadError: If the file cannot be read or the array is not an
                image.
        """
        grey, decisions = self._read(percentiles)
        if grey.min() == grey.max():
            decisions['warnings'].append(
                'All pixels have one grey level: there is nothing to see, '
                'and what a model says of it means nothing.'
            )
        return grey, decisions

    def _read(
        self, percentiles: Sequence[float] | None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if isinstance(self.origin, str):
            return read_xray(self.origin, True, percentiles)
        decisions = Decisions('array', 8 * self.origin.dtype.itemsize)
        try:
            grey = to_uint8(_grey(self.origin), decisions, percentiles)
            return grey, decisions.to_dict()
        except UnreadableError as error:
            raise ImageReadError(f'{self.name}: {error}') from error


def list_sources(
    inputs: ImageInput | Iterable[ImageInput],
    exclude: str | Path | None = None,
) -> tuple[Iterator[ImageSource], int | None]:
    """List images one by one, folders as their files.

    Args:
        inputs (str | Path | np.ndarray | Iterable): See
            :class:`fx_mm.apis.FoundationXInferencer`.
        exclude (str | Path, optional): A folder within one of them that is
            left out. Defaults to None.

    Returns:
        tuple: The sources, and their number. What has no length, such as a
        generator, is read step by step: None.

    Raises:
        UserError: If there is no image at all, or something is neither a
            path nor an array.
    """
    if isinstance(inputs, str | Path | np.ndarray):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise UserError(_what_to_give(inputs))
    if not isinstance(inputs, Sequence):
        return _walk(inputs, exclude), None
    sources = list(_walk(inputs, exclude))
    return iter(sources), len(sources)


def _walk(
    inputs: Iterable[ImageInput], exclude: str | Path | None
) -> Iterator[ImageSource]:
    count = 0
    for given in inputs:
        if isinstance(given, np.ndarray):
            name = f'array {count}'
            yield ImageSource(name, Path(name.replace(' ', '_')), given)
            count += 1
        elif not isinstance(given, str | Path):
            raise UserError(_what_to_give(given))
        else:
            folder = Path(given)
            paths = [str(given)]
            if is_web_address(given):
                paths = DicomWeb(str(given)).fetch()
                folder = Path(paths[0]).parent
            elif folder.is_dir():
                paths = find_images(folder, exclude)
            else:
                folder = folder.parent
            for path in paths:
                file = Path(path)
                yield ImageSource(file.name, file.relative_to(folder), path)
            count += len(paths)
    if not count:
        raise UserError('no image to predict on: the list is empty.')


def _what_to_give(given: object) -> str:
    return (
        f'cannot predict on a {type(given).__name__}; give the path of a '
        'file or folder, a numpy array, or several of these.'
    )


def _grey(array: np.ndarray) -> np.ndarray:
    """Turn an array of numbers into luminance, shape (H, W).

    Raises:
        UnreadableError: If shape or type cannot be an image's.
    """
    form = f'{array.dtype} of shape {array.shape}'
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    good_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not good_shape or not array.size or array.dtype.kind not in 'uif':
        raise UnreadableError(
            f'is no image ({form}); give numbers of shape (H, W) or, for '
            'RGB, (H, W, 3).'
        )
    if array.ndim == 2:
        return array
    if array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2GRAY)
