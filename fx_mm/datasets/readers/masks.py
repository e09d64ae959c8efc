"""Masks: from a CSV of mask files, or found by their names."""

import os
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fx_mm.datasets.readers.base import BaseReader, annotation_of
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.images import FileIndex, Folder, ImageNames
from fx_mm.datasets.records import Records, Same
from fx_mm.image_io.folders import is_hidden
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.image_io.masks import (
    BITS,
    IGNORE,
    MaskSource,
    mask_sources,
    split_bit,
)
from fx_mm.image_io.xray import IMAGE_SUFFIXES
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

SHARED = 'mask'
"""The column with one file for all classes."""
MaskPaths = dict[str, list[str | None]]
"""Class name to one path per image, None for an empty mask."""


@READERS.register_module()
class MaskReader(BaseReader):
    """Reads where the mask of each class is, and what its values mean.

    With a CSV file: one row per image, a column ``image``, and one column per
    class with the path of its mask, or one column ``mask`` with the path of
    a file that holds all classes. Paths are relative to the CSV's folder;
    blank means that the class (no class) is in the image.
    ``masks/1.png#3`` is bit 3 (of value 8) of the pixel values, so that one
    file holds up to 16 overlapping classes. A column ``ignore`` has masks of
    the pixels that nobody annotated, for all classes.

    With ``suffix``: the annotation file is the folder of the masks, and the
    mask of image ``7.jpg`` is ``7`` + suffix. All images of the image folder
    must have their masks; if it has no images itself but a folder of the
    same name as that of the masks (``images/train``, ``masks/train``), it is
    that folder's images.

    Args:
        suffix (str | Mapping[str, str], optional): What replaces the image's
            extension in the mask's name, such as ``-mask.png``, of a file
            that holds all classes; or a dict of class name to suffix.
            Defaults to None: a CSV file.
        image_column (str): Defaults to 'image'.
        mask_format (str | Mapping, optional): What the values mean:
            ``binary``, ``bits``, ``label_map``, ``palette`` or ``alpha``, or
            a dict, see :class:`fx_mm.image_io.mask_format.MaskFormat`.
            Defaults to None: it is decided by the values of each file, and
            refused where they may mean more than one thing.
        kwargs: See :class:`BaseReader`.

    Examples:
        >>> phantoms = dict(type='MaskReader')
        >>> montgomery = dict(
        ...     type='MaskReader',
        ...     suffix={'Left lung': '_left.png', 'Right lung': '_right.png'})
        >>> label_maps = dict(
        ...     type='MaskReader', suffix='.png',
        ...     mask_format=dict(type='label_map', ignore_index=255))
    """

    def __init__(
        self,
        suffix: str | Mapping[str, str] | None = None,
        image_column: str = 'image',
        mask_format: str | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.suffix = suffix
        self.image_column = image_column
        self.mask_format = MaskFormat.from_cfg(mask_format)

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up ``gt_masks``: a square for every class."""
        masks = np.zeros((len(task.classes), size, size), np.uint8)
        low, high = size // 4, size // 2
        masks[:, low:high, low:high] = 1
        return dict(gt_masks=masks)

    def open_table(self, ann_file: str, task: Task) -> CsvTable | None:
        """Open the table of masks; None with ``suffix``."""
        if self.suffix is not None:
            return None
        return CsvTable(ann_file, annotation_of(task, ann_file))

    def image_index(self, table: CsvTable) -> int:
        """Return the number of the column with the images' names."""
        return table.column(self.image_column, 'image_column')

    def __call__(self, ann_file: str, img_dir: str, task: Task) -> Records:
        """Read one split; see :class:`BaseReader`."""
        if self.mask_format.type not in (None, 'binary', 'alpha'):
            MaskCode(tuple(task.classes), self.mask_format)  # is checked
        table = self.open_table(ann_file, task)
        if table is None:
            return self._from_folder(ann_file, img_dir, task)
        image = self.image_index(table)
        shared = SHARED in table and not any(n in table for n in task.classes)
        columns = {
            name: table.column(
                SHARED if shared else name, f'a class of task {task.name}'
            )
            for name in task.classes
        }
        if IGNORE in table and IGNORE not in columns:
            columns[IGNORE] = table.column(IGNORE)
        images = self.images(ann_file, img_dir)
        masks = _MaskFiles(osp.dirname(ann_file), self)
        paths: MaskPaths = {name: [] for name in columns}
        for number, cells in table:
            if not images.add(cells[image], number):
                continue
            where = f'{ann_file}, row {number}'
            for name, column in columns.items():
                paths[name].append(
                    masks.find(
                        cells[column].strip(), f'{where}, column "{name}"'
                    )
                )
        images.finish()
        return self._records(images, paths)

    def _from_folder(self, mask_dir: str, img_dir: str, task: Task) -> Records:
        suffixes = self._suffixes(task)
        images = self.images(img_dir, img_dir, 'file')
        masks = _MaskFiles(mask_dir, self)
        paths: MaskPaths = {name: [] for name in task.classes}
        beside = osp.realpath(mask_dir) == osp.realpath(img_dir)
        names = _image_names(img_dir, task)
        own = osp.basename(osp.normpath(mask_dir))
        if not names and osp.isdir(osp.join(img_dir, own)):
            own_names = _image_names(osp.join(img_dir, own), task)
            names = [f'{own}/{name}' for name in own_names]
        for image in names:
            if beside and image.endswith(tuple(suffixes.values())):
                continue
            if not images.add(image, image):
                continue
            stem = osp.splitext(osp.basename(image))[0]
            for name, suffix in suffixes.items():
                paths[name].append(
                    masks.find(stem + suffix, f'{img_dir}, file {image}')
                )
        images.finish()
        return self._records(images, paths)

    def _records(self, images: ImageNames, paths: MaskPaths) -> Records:
        return Records.of_columns(
            img_path=images.paths,
            img_id=images.names,
            mask_paths=paths,
            mask_format=Same(self.mask_format, len(images.paths)),
        )

    def _suffixes(self, task: Task) -> dict[str, str]:
        suffixes = self.suffix
        if isinstance(suffixes, str):
            suffixes = dict.fromkeys(task.classes, suffixes)
        suffixes = suffixes or {}
        if set(suffixes) != set(task.classes):
            raise UserError(
                f'The suffixes of task {task.name} are for '
                f'{", ".join(suffixes)}, but its classes are '
                f'{", ".join(task.classes)}; write one per class.'
            )
        return {name: suffixes[name] for name in task.classes}


def sources_of(
    records: Records, classes: Sequence[str]
) -> Iterator[list[MaskSource]]:
    """Yield the mask files of each record of a :class:`MaskReader`.

    Args:
        records (Records): The records; of other tasks, nothing is yielded.
        classes (Sequence[str]): Classes of the task.
    """
    if not records.has('mask_paths'):
        return
    paths = records.column('mask_paths')
    mask_format = records.column('mask_format')
    for index in range(len(records)):
        yield mask_sources(paths[index], classes, mask_format[index])


class _MaskFiles:
    """Finds the mask files that a table names."""

    def __init__(self, folder: str, reader: MaskReader) -> None:
        self._folder = Folder(folder, reader.data_root)
        self._files = FileIndex()
        self._type = reader.mask_format.type
        # the audit tells of all that are missing
        self._all_may_miss = reader.max_missing == 1

    def find(self, name: str, where: str) -> str | None:
        """Return the path, with its bit; None for a blank name."""
        if not name:
            return None
        name, bit = split_bit(name)
        path = self._folder.join(name)
        if path is None:
            raise UserError(
                f'{where}: mask "{name}" leads out of the data folder; write '
                'its path relative to the annotation file.'
            )
        if bit is not None and bit >= BITS:
            raise UserError(
                f'{where}: mask "{name}" asks for bit {bit}, but masks have '
                f'bits 0 to {BITS - 1}.'
            )
        if bit is not None and self._type not in (None, 'bits'):
            raise UserError(
                f'{where}: mask "{name}" asks for a bit, but mask_format is '
                f'{self._type}; take out one of them.'
            )
        file = self._folder.find(name, self._files)
        if file is None and self._all_may_miss:
            file = path
        elif file is None:
            raise UserError(
                f'{where}: mask file {path} does not exist; correct the '
                'path, or leave the cell blank if the class is not in the '
                'image.'
            )
        return file if bit is None else f'{file}#{bit}'


def _image_names(folder: str, task: Task) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise UserError(
            f'{folder}: {error.strerror}; it is the image folder of task '
            f'{task.name}, check data_root and img_dir.'
        ) from error
    return sorted(
        name
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(name)
    )
