"""Images that are loaded: from below a root, or uploaded and not kept."""

import re
import secrets
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from fx_mm.apis.image_sources import ImageSource
from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.image_files import find_images
from fx_mm.utils.errors import UserError
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results import ImageResult

MAX_BYTES = 64 << 20
MAX_PIXELS = 64_000_000
MAX_IMAGES = 16
"""Loaded at a time; the one that was not used for longest goes first."""
IDLE_SECONDS = 1800
"""After which an image that nobody asked about goes."""
MAX_NAME = 200
DIM_SIZE = re.compile(rb'DimSize\s*=\s*([\d ]+)')
GONE = 'is not loaded, or no longer; load it again.'


@dataclass(eq=False)
class Loaded:
    """An image that calls name by its handle.

    Attributes:
        handle (str): Cannot be guessed.
        source (ImageSource): A copy that lives as long as the handle.
        result (ImageResult): The predictions of all tasks.
        pictures (dict[str, bytes]): Name to PNG.
        measured (Measurements, optional): Once it was asked for.
        used (float): When it was last asked for, in monotonic seconds.
    """

    handle: str
    source: ImageSource
    result: ImageResult
    pictures: dict[str, bytes] = field(default_factory=dict)
    measured: Measurements | None = None
    used: float = 0.0


class ImageStore:
    """Loads images and forgets them.

    A loaded file is copied into a private temporary folder, so that all calls
    see the same bytes; the copy goes with its handle, all with :meth:`close`.
    Not to be used by two threads at once.

    Args:
        root (str | Path): Folder that images may be read from.
        predict (Callable): Image source to its result.
        max_bytes (int): Size of a file. Defaults to 64 MiB.
        max_images (int): Loaded at a time. Defaults to 16.

    Raises:
        UserError: If the root is no folder.
    """

    def __init__(
        self,
        root: str | Path,
        predict: Callable[[ImageSource], ImageResult],
        max_bytes: int = MAX_BYTES,
        max_images: int = MAX_IMAGES,
    ) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise UserError(f'--root {root}: no such folder.')
        self.max_bytes, self.max_images = max_bytes, max_images
        self._predict = predict
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._temporary = tempfile.TemporaryDirectory(prefix='fx_mm_app_')
        self.folder = Path(self._temporary.name)

    def __len__(self) -> int:
        return len(self._loaded)

    def names(self, folder: str = '') -> list[str]:
        """List the images below a folder of the root.

        Raises:
            UserError: If there is no such folder below the root.
        """
        place = self._below(folder)
        if place is None or not place.is_dir():
            raise UserError(f'"{folder}": no such folder below the root.')
        try:
            found = find_images(place)
        except UserError:  # there is none
            return []
        return [
            str(Path(file).relative_to(self.root))
            for file in found
            if Path(file).resolve().is_relative_to(self.root)
        ]

    def load(self, name: str) -> Loaded:
        """Load a file below the root.

        Raises:
            UserError: If there is none, or it is too large.
            ImageReadError: If it cannot be read.
        """
        path = self._below(name)
        if path is None or not path.is_file():
            raise UserError(f'"{name}": no such file below the root.')
        with path.open('rb') as file:
            content = file.read(self.max_bytes + 1)
        return self.add(path.name, content)

    def _below(self, name: str) -> Path | None:
        """Return where a name leads, None for outside of the root."""
        try:
            path = (self.root / name).resolve()
            path.stat()
        except (OSError, ValueError, RuntimeError):  # a loop of links
            return None
        return path if path.is_relative_to(self.root) else None

    def add(self, name: str, content: bytes) -> Loaded:
        """Load the bytes of a file.

        Args:
            name (str): Its name; folders in it are left out.
            content (bytes): Whole.

        Raises:
            UserError: If the name is none, or the file is too large.
            ImageReadError: If it cannot be read.
        """
        name = re.split(r'[/\\]', name)[-1]
        if name in ('', '.', '..') or not name.isprintable():
            raise UserError('the name of the image is not that of a file.')
        if len(name.encode()) > MAX_NAME:
            raise UserError(f'the name is longer than {MAX_NAME} bytes.')
        if len(content) > self.max_bytes:
            raise UserError(
                f'{name}: larger than {self.max_bytes / 2**20:g} MiB, the '
                'most that this app reads (--max-mb).'
            )
        self.expire()
        handle = secrets.token_urlsafe(9)
        path = self.folder / handle / name
        path.parent.mkdir()
        try:
            path.write_bytes(content)
            _check_pixels(path, content)
            source = ImageSource(name, Path(name), str(path))
            result = self._predict(source)
            if result.error is not None:
                raise ImageReadError(result.error)
        except BaseException:
            shutil.rmtree(path.parent)
            raise
        image = Loaded(handle, source, result, used=time.monotonic())
        self._loaded[handle] = image
        while len(self._loaded) > self.max_images:
            self.drop(next(iter(self._loaded)))
        return image

    def get(self, handle: str) -> Loaded:
        """Return a loaded image.

        Raises:
            UserError: If there is none with this handle.
        """
        self.expire()
        if handle not in self._loaded:
            raise UserError(f'image "{handle}" {GONE}')
        self._loaded.move_to_end(handle)
        self._loaded[handle].used = time.monotonic()
        return self._loaded[handle]

    def drop(self, handle: str) -> None:
        """Forget an image and delete its copy.

        Raises:
            UserError: If there is none with this handle.
        """
        if self._loaded.pop(handle, None) is None:
            raise UserError(f'image "{handle}" {GONE}')
        shutil.rmtree(self.folder / handle)

    def expire(self) -> None:
        """Forget what nobody asked about for half an hour."""
        oldest = time.monotonic() - IDLE_SECONDS
        for image in list(self._loaded.values()):
            if image.used < oldest:
                self.drop(image.handle)

    def close(self) -> None:
        """Forget everything."""
        self._loaded.clear()
        self._temporary.cleanup()


def _check_pixels(path: Path, content: bytes) -> None:
    """Refuse an image whose header names more pixels than are read.

    Raises:
        UserError: If it does.
    """
    sides = [1]
    if content[128:132] == b'DICM':
        sides = _sides_of_dicom(path)
    elif found := DIM_SIZE.search(content[:1024]):
        sides = [int(side) for side in found[1].split()]
    else:
        try:
            with Image.open(path) as image:
                sides = list(image.size)
        except Exception:  # the reader says what is wrong with it
            pass
    pixels = 1
    for side in sides:
        pixels *= side
    if pixels > MAX_PIXELS:
        raise UserError(
            f'{path.name}: has {pixels / 1e6:.0f} megapixels, this app reads '
            f'up to {MAX_PIXELS / 1e6:.0f}.'
        )


def _sides_of_dicom(path: Path) -> list[int]:
    import pydicom  # takes 0.3 s, which other files need not wait for

    keys = ('Rows', 'Columns', 'NumberOfFrames')
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        return [int(header.get(key) or 1) for key in keys]
    except Exception:  # the reader says what is wrong with it
        return [1]
