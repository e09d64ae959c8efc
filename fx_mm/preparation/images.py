"""One image of a release to its prepared files: what the workers do."""

import json
import math
import os
import struct
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fx_mm.datasets.io.xray import PNG_SIGNATURE, ImageReadError, read_xray
from fx_mm.datasets.readers.masks import BITS
from fx_mm.preparation.dataset_spec import Target
from fx_mm.preparation.entries import Entry
from fx_mm.preparation.mask_boxes import boxes_around, reduce_mask
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

_STAMP = 'fx_mm'
_HEADER = len(PNG_SIGNATURE) + 25  # with the first chunk, IHDR


@dataclass
class PreparedImage:
    """What the tables say of one image.

    Attributes:
        name (str): Relative to the folder of the images.
        width (int): Pixels, as it will be loaded.
        height (int): Pixels, as it will be loaded.
        boxes (list, optional): [class name, x1, y1, x2, y2] in pixels. None:
            nobody looked for boxes.
        masks (dict, optional): Class name to its mask's path relative to
            ``prepared/``, without empty masks. None: nobody drew masks.
        cut (int): Boxes that reached out by more than a pixel.
        dropped (int): Boxes left out for having no area within the image.
        unknown (dict): Names that are no class of the config to their number
            of boxes or masks, which are left out.
        bad (str, optional): Why the image is left out.
    """

    name: str
    width: int = 0
    height: int = 0
    boxes: list | None = None
    masks: dict | None = None
    cut: int = 0
    dropped: int = 0
    unknown: dict = field(default_factory=dict)
    bad: str | None = None

    def to_dict(self) -> dict:
        """Give what is not the default, for JSON."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value not in (0, None) and (value != {} or key == 'masks')
        }


@dataclass(frozen=True)
class ImagePreparer:
    """Writes an entry's image and masks; finds its size and boxes.

    Args:
        target (Target): Says where to, and which classes.
        boxes_of (str, optional): See :class:`~.entries.Release`.
        max_size (int, optional): Longer side of images that are written;
            larger ones are reduced, with boxes and masks. Defaults to None.
        drop_bad_boxes (bool): Whether boxes without area within the image
            are left out instead of refused. Defaults to False.
        rewrite (bool): Whether images are written even if they are there.
            Defaults to False.
    """

    target: Target
    boxes_of: str | None = None
    max_size: int | None = None
    drop_bad_boxes: bool = False
    rewrite: bool = False

    def __call__(self, entry: Entry) -> PreparedImage:
        """Prepare one image.

        Raises:
            UserError: If a box or mask of the release cannot be used.
        """
        result = PreparedImage(entry.name)
        try:
            source = self._image(entry, result)
            self._masks_and_boxes(entry, result, *source)
        except ImageReadError as error:
            return PreparedImage(entry.name, bad=str(error))
        except UserError as error:
            text = str(error)
            if entry.name in text:
                raise
            raise UserError(f'Image "{entry.name}": {text}') from error
        except OSError as error:
            raise UserError(
                f'{error.filename or self.target.prepared}: '
                f'{error.strerror}; is the disk full or the folder read-only?'
            ) from error
        return result

    def _image(self, entry: Entry, result: PreparedImage) -> tuple:
        """Write the image, unless it is there or stays in place.

        Returns:
            tuple[int]: (height, width) of the source.
        """
        source = str(entry.source)
        if self.target.in_place:
            height, width = _size_of(source)
            result.height, result.width = height, width
            return height, width
        try:
            size = os.stat(source).st_size
        except (OSError, ValueError) as error:  # ValueError: a null byte
            reason = getattr(error, 'strerror', error)
            raise ImageReadError(f'{source}: {reason}') from error
        path = self.target.images / entry.name
        if not self.rewrite:
            stamp = read_stamp(path)
            if stamp and stamp['of'] == [size, self.max_size]:
                result.height, result.width = stamp['size']
                return tuple(stamp['source'])
        image = read_xray(source)
        height, width = image.shape
        image = _reduce(image, self.max_size)
        result.height, result.width = image.shape
        stamp = dict(of=[size, self.max_size], source=[height, width])
        write_whole(path, _stamped_png(image, stamp), flush=False)
        return height, width

    def _masks_and_boxes(
        self, entry: Entry, result: PreparedImage, height: int, width: int
    ) -> None:
        tasks = self.target.tasks
        loc, seg = tasks.get('loc'), tasks.get('seg')
        boxes = entry.boxes if loc else None
        from_masks = loc and boxes is None and self.boxes_of
        if entry.masks is not None and (seg or from_masks):
            wanted = set(seg.classes if seg else ())
            if from_masks:
                boxes = []
                wanted.update(entry.masks if loc.merged else loc.classes)
            planes = {}
            for name, parts in entry.masks.items():
                if name not in wanted:
                    result.unknown[name] = len(parts)
                    continue
                drawn = [self._draw(part, height, width) for part in parts]
                if from_masks:
                    around = boxes_around(drawn, self.boxes_of)
                    boxes += [(name, *box) for box in around]
                if seg and name in seg.classes and drawn:
                    planes[name] = reduce_mask(
                        np.logical_or.reduce(drawn),
                        result.height,
                        result.width,
                    )
            if seg:
                result.masks = self._write_masks(entry.name, planes)
        if boxes is not None:
            self._boxes(boxes, result, height, width)

    @staticmethod
    def _draw(part, height: int, width: int) -> np.ndarray:
        mask = np.asarray(part.draw(height, width))
        if mask.shape != (height, width):
            raise UserError(
                f'a mask of {mask.shape[1]}x{mask.shape[0]} pixels was drawn '
                f'for an image of {width}x{height}.'
            )
        return mask.astype(bool, copy=False)

    def _write_masks(self, name: str, planes: dict) -> dict:
        """Write the masks that are not empty; give their paths.

        A class alone is 0 and 255; of several, each is a bit, at most 16 a
        file.
        """
        classes = self.target.tasks['seg'].classes
        paths = {}
        for number, folder in enumerate(mask_folders(self.target)):
            group = classes[number * BITS : (number + 1) * BITS]
            present = {
                bit: planes[c]
                for bit, c in enumerate(group)
                if c in planes and planes[c].any()
            }
            if not present:
                continue
            path = f'{folder}/{name.removesuffix(".png")}.png'
            if len(classes) == 1:
                values = present[0].astype(np.uint8) * 255
                paths[group[0]] = path
            else:
                kind = np.uint8 if len(group) <= 8 else np.uint16
                values = sum(
                    mask.astype(kind) << kind(bit)
                    for bit, mask in present.items()
                )
                paths |= {group[bit]: f'{path}#{bit}' for bit in present}
            write_whole(
                self.target.prepared / path, _encode(values), flush=False
            )
        return paths

    def _boxes(
        self, boxes: list, result: PreparedImage, height: int, width: int
    ) -> None:
        """Cut boxes at the image's border and bring them to its size."""
        loc = self.target.tasks['loc']
        across, down = result.width / width, result.height / height
        result.boxes = []
        for name, *corners in boxes:
            if not loc.merged and name not in loc.classes:
                result.unknown[name] = result.unknown.get(name, 0) + 1
                continue
            x1, y1, x2, y2 = map(float, corners)
            inside = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
            if not (inside[0] < inside[2] and inside[1] < inside[3]):
                if not self.drop_bad_boxes:
                    raise UserError(
                        f'Box {_short(corners)} of "{name}" in image '
                        f'"{result.name}" of {width}x{height} pixels has no '
                        "area or lies outside; correct the release's file "
                        'or leave such boxes out with --drop-bad-boxes.'
                    )
                result.dropped += 1
                continue
            reach = max(-x1, -y1, x2 - width, y2 - height)
            result.cut += reach > 1
            scaled = np.multiply(inside, (across, down, across, down))
            name = loc.classes[0] if loc.merged else name
            result.boxes.append([name, *map(_plain, scaled.tolist())])


def mask_folders(target: Target) -> list:
    """List the folders of the masks in ``prepared/``, one for 16 classes."""
    seg = target.tasks.get('seg')
    count = math.ceil(len(seg.classes) / BITS) if seg else 0
    further = [f'masks/{target.name}-{n}' for n in range(2, count + 1)]
    return [f'masks/{target.name}', *further][:count]


def read_stamp(path: Path) -> dict | None:
    """Tell from what a prepared image was written.

    Returns:
        dict: ``of``: bytes of the source and ``max_size``; ``source``: its
        height and width; ``size``: those of the image. None if there is no
        such image.
    """
    try:
        with Image.open(path) as image:
            stamp = json.loads(image.info[_STAMP])
            return dict(stamp, size=[image.height, image.width])
    except (OSError, SyntaxError, KeyError, ValueError):
        return None


def _stamped_png(image: np.ndarray, stamp: dict) -> bytes:
    """Encode an image with a text chunk behind its header."""
    png = _encode(image)
    text = json.dumps(stamp).encode()
    body = b'tEXt' + _STAMP.encode() + b'\0' + text
    chunk = struct.pack('>I', len(body) - 4) + body
    chunk += struct.pack('>I', zlib.crc32(body))
    return png[:_HEADER] + chunk + png[_HEADER:]


def _encode(values: np.ndarray) -> bytes:
    return cv2.imencode('.png', values)[1].tobytes()


def _reduce(image: np.ndarray, max_size: int | None) -> np.ndarray:
    longer = max(image.shape)
    if max_size is None or longer <= max_size:
        return image
    height, width = (
        max(1, round(side * max_size / longer)) for side in image.shape
    )
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _size_of(path: str) -> tuple:
    """Give (height, width) from the file's header where Pillow knows it."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # damaged headers make Pillow raise any kind
        return read_xray(path).shape


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 3)


def _short(values) -> str:
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'
