"""What the inferencer takes for an image: files, folders, arrays."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fx_mm.datasets.io.errors import ImageReadError, UnreadableError
from fx_mm.datasets.io.pixels import to_uint8
from fx_mm.datasets.io.xray import IMAGE_SUFFIXES, is_dicom, read_xray
from fx_mm.utils.errors import UserError

Source = str | Path | np.ndarray


def list_sources(
    inputs: Source | Iterable[Source],
) -> tuple[Iterator[str | np.ndarray], int | None]:
    """Spread folders into their files.

    Args:
        inputs (str | Path | np.ndarray | Iterable): See
            :class:`fx_mm.apis.FoundationXInferencer`.

    Returns:
        tuple: Files and arrays one by one, and their number. What has no
        length, such as a generator, is read as it goes on: None.

    Raises:
        UserError: If there is no image at all, or something is neither a
            path nor an array.
    """
    if isinstance(inputs, str | Path | np.ndarray):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise UserError(_what_to_give(inputs))
    if not isinstance(inputs, Sequence):
        return _spread(inputs), None
    sources = list(_spread(inputs))
    return iter(sources), len(sources)


def _spread(inputs: Iterable[Source]) -> Iterator[str | np.ndarray]:
    empty = True
    for source in inputs:
        empty = False
        if isinstance(source, np.ndarray):
            yield source
        elif not isinstance(source, str | Path):
            raise UserError(_what_to_give(source))
        elif Path(source).is_dir():
            yield from find_images(source)
        else:
            yield str(source)
    if empty:
        raise UserError('no image to predict on: the list is empty.')


def _what_to_give(source) -> str:
    return (
        f'cannot predict on a {type(source).__name__}; give the path of a '
        'file or folder, a numpy array, or several of these.'
    )


def find_images(
    folder: str | Path, exclude: str | Path | None = None
) -> list[str]:
    """List the images of a folder and its subfolders.

    Args:
        folder (str | Path): The folder.
        exclude (str | Path, optional): A folder within that is left out.
            Defaults to None.

    Returns:
        list[str]: Files with the suffix of an image and DICOM files of any
        name, sorted; hidden ones are left out.

    Raises:
        UserError: If there is none.
    """
    folder = Path(folder)
    skip = None if exclude is None else Path(exclude).resolve()
    images = []
    for path in sorted(folder.rglob('*')):
        hidden = any(
            part.startswith('.') for part in path.relative_to(folder).parts
        )
        if hidden or not path.is_file():
            continue
        if skip is not None and skip in path.resolve().parents:
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES or _is_dicom_file(path):
            images.append(str(path))
    if not images:
        raise UserError(
            f'{folder}: no image in this folder; known are '
            f'{", ".join(IMAGE_SUFFIXES)} and DICOM files of any name.'
        )
    return images


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def read_source(
    source: str | np.ndarray,
    name: str,
    percentiles: Sequence[float] | None = None,
) -> np.ndarray:
    """Give the pixels of a source as 8-bit grey.

    Args:
        source (str | np.ndarray): A file, see :func:`read_xray`, or an array
            of shape (H, W), (H, W, 1) or, RGB, (H, W, 3). uint8 keeps its
            values; the value range of other types is mapped to 0..255, as
            that of deeper files is.
        name (str): Name of an array, for messages.
        percentiles (Sequence[float], optional): See :func:`read_xray`.

    Returns:
        np.ndarray: uint8 of shape (H, W).

    Raises:
        ImageReadError: If the file cannot be read or the array is no image.
    """
    if not isinstance(source, np.ndarray):
        return read_xray(source, percentiles)
    try:
        return to_uint8(_grey(source), percentiles)
    except UnreadableError as error:
        raise ImageReadError(f'{name}: {error}') from error


def _grey(array: np.ndarray) -> np.ndarray:
    """Turn an array of numbers into luminance, shape (H, W).

    Raises:
        UnreadableError: If the shape or type is none of an image.
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
