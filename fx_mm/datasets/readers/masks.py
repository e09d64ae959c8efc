"""Masks: from a CSV of mask files, or found by their names."""

import os
import os.path as osp
import re

from ...registry import READERS
from ...utils.errors import UserError
from ..xray_io import IMAGE_SUFFIXES
from .base import BaseReader, FileIndex, Table

BITS = 16


@READERS.register_module()
class MaskReader(BaseReader):
    """Reads where the mask of each class is.

    With a CSV file: one row an image, a column ``image``, one column a class
    with the mask's path, relative to the CSV's folder. Blank means that the
    class is not in the image. Without a bit, every value above 0 is inside;
    ``masks/1.png#3`` is bit 3 (of value 8) of the pixel values, so that one
    file holds up to 16 overlapping classes.

    With ``suffix``: the annotation file is the folder of the masks, and the
    mask of image ``7.jpg`` is ``7`` + suffix. All images of the image folder
    must have their masks.

    Args:
        suffix (str | dict, optional): What replaces the image's extension in
            the mask's name, such as ``-mask.png``; a dict of class name to
            suffix for several classes. Defaults to None: a CSV file.
        image_column (str): Defaults to 'image'.
        kwargs: See :class:`BaseReader`.

    Examples:
        >>> phantoms = dict(type='MaskReader')
        >>> montgomery = dict(
        ...     type='MaskReader',
        ...     suffix={'Left lung': '_left.png', 'Right lung': '_right.png'})
    """

    def __init__(
        self,
        suffix: str | dict | None = None,
        image_column: str = 'image',
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.suffix = suffix
        self.image_column = image_column

    def __call__(self, ann_file: str, img_dir: str, task) -> list[dict]:
        """Read one split; see :class:`BaseReader`."""
        if self.suffix is not None:
            return self._from_folder(ann_file, img_dir, task)
        table = Table(ann_file, task.name)
        image = table.column(self.image_column, 'image_column')
        columns = {
            name: table.column(name, f'a class of task {task.name}')
            for name in task.classes
        }
        root = osp.dirname(ann_file)
        images, files = self.images(ann_file, img_dir), FileIndex()
        records = []
        for number, cells in table:
            record = images.add(cells[image], f'row {number}')
            if record is None:
                continue
            record['mask_paths'] = {
                name: _mask_path(
                    cells[column].strip(),
                    root,
                    files,
                    f'{ann_file}, row {number}, column "{name}"',
                )
                for name, column in columns.items()
            }
            records.append(record)
        images.finish()
        return records

    def _from_folder(self, mask_dir: str, img_dir: str, task) -> list[dict]:
        suffixes = self._suffixes(task)
        images, files = self.images(img_dir, img_dir), FileIndex()
        records = []
        for name in _image_names(img_dir, task):
            if name.endswith(tuple(suffixes.values())):
                continue
            record = images.add(name, f'file {name}')
            if record is None:
                continue
            stem = osp.splitext(name)[0]
            record['mask_paths'] = {
                c: _mask_path(
                    stem + suffix, mask_dir, files, f'{img_dir}, file {name}'
                )
                for c, suffix in suffixes.items()
            }
            records.append(record)
        images.finish()
        return records

    def _suffixes(self, task) -> dict:
        suffixes = self.suffix
        if isinstance(suffixes, str):
            suffixes = dict.fromkeys(task.classes[:1], suffixes)
        if set(suffixes) != set(task.classes):
            raise UserError(
                f'The suffixes of task {task.name} are for '
                f'{", ".join(suffixes)}, but its classes are '
                f'{", ".join(task.classes)}; give one a class.'
            )
        return {name: suffixes[name] for name in task.classes}


def split_bit(path: str) -> tuple:
    """Split ``masks/1.png#3`` into path and bit.

    Returns:
        tuple[str, Optional[int]]: The file's path; the bit, None without.
    """
    match = re.fullmatch(r'(.+)#(\d+)', path)
    return (match[1], int(match[2])) if match else (path, None)


def _mask_path(
    name: str, root: str, files: FileIndex, where: str
) -> str | None:
    if not name:
        return None
    path = osp.join(root, name)
    file, bit = split_bit(path)
    if bit is not None and bit >= BITS:
        raise UserError(
            f'{where}: mask "{name}" asks for bit {bit}, but masks have '
            f'bits 0 to {BITS - 1}.'
        )
    if file not in files:
        raise UserError(
            f'{where}: mask file {file} does not exist; correct the path, or '
            'leave the cell blank if the class is not in the image.'
        )
    return path


def _image_names(folder: str, task) -> list:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise UserError(
            f'{folder}: {error.strerror}; it is the image folder of task '
            f'{task.name}, check data_root and img_dir.'
        ) from error
    return sorted(n for n in names if n.lower().endswith(IMAGE_SUFFIXES))
