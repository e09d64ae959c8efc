"""One raw image to its prepared files: what the workers do."""

import functools
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.masks import BITS, IGNORE
from fx_mm.image_io.orientation import PNG_SIGNATURE
from fx_mm.image_io.xray import read_size, read_xray
from fx_mm.preparation.dataset_spec import DatasetSpec, FormSpec
from fx_mm.preparation.mask_boxes import boxes_around
from fx_mm.preparation.prepared_forms import round_plain
from fx_mm.preparation.prepared_image import PreparedImage
from fx_mm.preparation.raw_dataset import Box, BoxPer, MaskPiece, RawImage
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

_STAMP = 'fx_mm'
_HEADER = len(PNG_SIGNATURE) + 25  # with the first chunk, IHDR
_NOTHING = FormSpec('', (), {})


@dataclass(frozen=True)
class ImagePreparer:
    """Writes an image and its masks; finds its size and boxes.

    Args:
        spec (DatasetSpec): Says where to, and which classes.
        box_per (str, optional): See :class:`~.raw_dataset.RawDataset`.
        drop_bad_boxes (bool): Whether boxes without area within the image
            are dropped instead of refused. Defaults to False.
        rewrite (bool): Whether images are written even if they are there.
            Defaults to False.
    """

    spec: DatasetSpec
    box_per: BoxPer | None = None
    drop_bad_boxes: bool = False
    rewrite: bool = False

    def __call__(self, raw: RawImage) -> PreparedImage:
        """Prepare one image.

        Raises:
            UserError: If a box or mask of the image cannot be used.
        """
        image = PreparedImage(raw.name)
        try:
            self._write_image(raw, image)
            self._write_masks_and_boxes(raw, image)
        except ImageReadError as error:
            return PreparedImage(raw.name, unreadable=str(error))
        except UserError as error:
            text = str(error)
            if raw.name in text:
                raise
            raise UserError(f'Image "{raw.name}": {text}') from error
        except OSError as error:
            raise UserError(
                f'{error.filename or self.spec.prepared}: '
                f'{error.strerror}; is the disk full or the folder read-only?'
            ) from error
        return image

    def _write_image(self, raw: RawImage, image: PreparedImage) -> None:
        """Write the image, unless it is there or stays in place."""
        source = str(raw.source)
        if self.spec.in_place:
            image.height, image.width = read_size(source)
            return
        try:
            size = os.stat(source).st_size
        except (OSError, ValueError) as error:  # ValueError: a null byte
            reason = getattr(error, 'strerror', error)
            raise ImageReadError(f'{source}: {reason}') from error
        path = self.spec.images / raw.name
        if not self.rewrite:
            stamp = read_stamp(path)
            if stamp and stamp['source_bytes'] == size:
                image.height, image.width = stamp['size']
                return
        pixels = read_xray(source)
        image.height, image.width = pixels.shape
        stamped = _stamped_png(pixels, dict(source_bytes=size))
        write_whole(path, stamped, flush=False)

    def _write_masks_and_boxes(
        self, raw: RawImage, image: PreparedImage
    ) -> None:
        """Write the masks; find the boxes, around the masks if need be."""
        box_spec = self.spec.boxes or _NOTHING
        mask_spec = self.spec.masks or _NOTHING
        boxes = list(raw.boxes or ())
        masks: dict[str, np.ndarray] = {}
        box_per = None
        if self.spec.boxes and raw.boxes is None:
            box_per = self.box_per
        if raw.masks is not None and (box_per or self.spec.masks):
            for name, pieces in raw.masks.items():
                boxed = box_per is not None and box_spec.takes(name)
                if not (boxed or mask_spec.takes(name)):
                    image.unknown[name] = len(pieces)
                    continue
                drawn = []
                for piece in pieces:
                    inside, ignored = self._draw(piece, image)
                    drawn.append(inside)
                    if ignored is not None and mask_spec.takes(name):
                        masks[IGNORE] = ignored | masks.get(IGNORE, False)
                if boxed and box_per is not None:
                    around = boxes_around(drawn, box_per)
                    boxes += [(name, *box) for box in around]
                if mask_spec.takes(name) and drawn:
                    masks[name] = np.logical_or.reduce(drawn)
            if self.spec.masks:
                image.masks = self._write_masks(
                    raw.name, mask_spec.classes, masks
                )
        if self.spec.boxes and (
            raw.boxes is not None or (box_per and raw.masks is not None)
        ):
            self._cut_boxes(boxes, box_spec, image)

    @staticmethod
    def _draw(
        piece: MaskPiece, image: PreparedImage
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what is inside, and what nobody annotated."""
        height, width = image.height, image.width
        drawn = piece.draw(height, width)
        mask = np.asarray(drawn)
        if mask.shape != (height, width):
            raise UserError(
                f'a mask of {mask.shape[1]}x{mask.shape[0]} pixels was drawn '
                f'for an image of {width}x{height}.'
            )
        mask = mask.astype(bool, copy=False)
        ignored = np.ma.getmask(drawn)
        if not ignored.any():
            return mask, None
        return mask & ~ignored, ignored

    def _write_masks(
        self,
        name: str,
        classes: Sequence[str],
        masks: Mapping[str, np.ndarray],
    ) -> dict[str, str]:
        """Write the masks that are not empty; return their paths.

        A class alone is 0 and 255; of several, each is a bit, at most 16
        per file. Ignored pixels are like a class behind them.
        """
        paths = {}
        if IGNORE in masks and IGNORE not in classes:
            classes = (*classes, IGNORE)
        for number, folder in enumerate(mask_folders(self.spec)):
            group = classes[number * BITS : (number + 1) * BITS]
            present = {
                bit: masks[c]
                for bit, c in enumerate(group)
                if c in masks and masks[c].any()
            }
            if not present:
                continue
            # a name may begin with ../, but a mask stays in its folder
            stem = name.replace('../', '').removesuffix('.png')
            path = f'{folder}/{stem}.png'
            if len(classes) == 1:
                values = present[0].astype(np.uint8) * 255
                paths[group[0]] = path
            else:
                dtype = np.dtype('u1' if len(group) <= 8 else 'u2')
                values = functools.reduce(
                    np.bitwise_or,
                    (
                        np.left_shift(mask, bit, dtype=dtype)
                        for bit, mask in present.items()
                    ),
                )
                paths |= {group[bit]: f'{path}#{bit}' for bit in present}
            write_whole(
                self.spec.prepared / path, _encode(values), flush=False
            )
        return paths

    def _cut_boxes(
        self, boxes: Sequence[Box], spec: FormSpec, image: PreparedImage
    ) -> None:
        """Cut boxes at the image's border."""
        height, width = image.height, image.width
        image.boxes = []
        for name, *corners in boxes:
            if not spec.takes(name):
                image.unknown[name] = image.unknown.get(name, 0) + 1
                continue
            x1, y1, x2, y2 = map(float, corners)
            inside = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
            if not (inside[0] < inside[2] and inside[1] < inside[3]):
                if not self.drop_bad_boxes:
                    raise UserError(
                        f'Box {_short(corners)} of "{name}" in image '
                        f'"{image.name}" of {width}x{height} pixels has no '
                        'area or lies outside; correct the official file, '
                        'or drop such boxes with --drop-bad-boxes.'
                    )
                image.dropped += 1
                continue
            reach = max(-x1, -y1, x2 - width, y2 - height)
            image.cut += reach > 1
            name = spec.classes[0] if spec.merged else name
            image.boxes.append([name, *map(round_plain, inside)])


def mask_folders(spec: DatasetSpec) -> list[str]:
    """List the folders of the masks in ``prepared/``, one per 16 classes.

    Ignored pixels count as one more class.
    """
    if spec.masks is None:
        return []
    count = math.ceil((len(spec.masks.classes) + 1) / BITS)
    further = [f'masks/{spec.name}-{n}' for n in range(2, count + 1)]
    return [f'masks/{spec.name}', *further]


def read_stamp(path: Path) -> dict[str, Any] | None:
    """Read from what a prepared image was written.

    Returns:
        dict: ``source_bytes``: size of the source; ``size``: height and
        width. None if there is no such image.
    """
    try:
        with Image.open(path) as image:
            stamp = json.loads(image.info[_STAMP])
            return dict(stamp, size=[image.height, image.width])
    except (OSError, SyntaxError, KeyError, ValueError):
        return None


def _stamped_png(image: np.ndarray, stamp: Mapping[str, Any]) -> bytes:
    """Encode an image with a text chunk behind its header."""
    png = _encode(image)
    text = json.dumps(stamp).encode()
    body = b'tEXt' + _STAMP.encode() + b'\0' + text
    chunk = struct.pack('>I', len(body) - 4) + body
    chunk += struct.pack('>I', zlib.crc32(body))
    return png[:_HEADER] + chunk + png[_HEADER:]


def _encode(values: np.ndarray) -> bytes:
    return cv2.imencode('.png', values)[1].tobytes()


def _short(values: Sequence[float]) -> str:
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'
