"""Images alone, whatever is noted on them."""

import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fx_mm.datasets.readers.base import BaseReader, annotation_of
from fx_mm.datasets.readers.coco import CocoReader
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.images import Folder
from fx_mm.datasets.records import Records
from fx_mm.image_io.image_files import find_images
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_lines

TABLES = ('.csv', '.tsv', '.csv.gz', '.tsv.gz')
COCO = ('.json', '.json.gz')


@READERS.register_module()
class ImageReader(BaseReader):
    """Reads which images there are, from a list, a table or a folder.

    A split is by its name:

    - ``.csv``, ``.tsv``: a table with a header, such as that of another task
      of the dataset;
    - ``.json``: a COCO file;
    - a folder: all images in it and below, but for those of the entry's other
      splits and of ``leave_out``;
    - any other: a list, one name per row.

    Args:
        image_column (str, optional): Name of a table's column with the
            image's name. Defaults to None, the first.
        leave_out (Sequence[str]): Such files, relative to ``data_root``,
            whose images a folder is read without: what other tasks of the
            dataset hold out. Defaults to none.
        **kwargs: See :class:`BaseReader`.

    Examples:
        >>> nih14 = dict(  # every image that no task holds out
        ...     splits=dict(train='images/', val='prepared/val.csv'),
        ...     reader=dict(
        ...         type='ImageReader', leave_out=['prepared/test.csv']))
    """

    def __init__(
        self,
        image_column: str | None = None,
        leave_out: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_column = image_column
        self.leave_out = (
            [leave_out] if isinstance(leave_out, str) else leave_out
        )

    def __call__(self, ann_file: str, img_dir: str, task: Task) -> Records:
        """Read one split; see :class:`BaseReader`."""
        images = self.images(ann_file, img_dir)
        for number, name in enumerate(self._names(ann_file, img_dir, task), 1):
            images.add(name, number)
        images.finish()
        return Records.of_columns(img_path=images.paths, img_id=images.names)

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make nothing up: there is no annotation."""
        return {}

    def open_table(self, ann_file: str, task: Task) -> CsvTable | None:
        """Open the split, if it is a table; see :class:`BaseReader`."""
        if not ann_file.lower().endswith(TABLES):
            return None
        return CsvTable(ann_file, annotation_of(task, ann_file))

    def image_index(self, table: CsvTable) -> int:
        """Return the number of the column with the images' names."""
        if self.image_column is None:
            return 0
        return table.column(self.image_column, 'image_column')

    def patients(self, ann_file: str, task: Task) -> dict[str, str]:
        """Read the patient IDs that a table or a COCO file has."""
        if ann_file.lower().endswith(COCO):
            return CocoReader().patients(ann_file, task)
        return super().patients(ann_file, task)

    def names(self, ann_file: str, task: Task) -> Iterator[str]:
        """Read the images' names alone; see :class:`BaseReader`."""
        return self._names(ann_file, task.image_folder, task)

    def _names(self, ann_file: str, img_dir: str, task: Task) -> Iterator[str]:
        if osp.isdir(ann_file):
            yield from self._in_folder(ann_file, img_dir, task)
        elif ann_file.lower().endswith(COCO):
            yield from CocoReader().names(ann_file, task)
        elif ann_file.lower().endswith(TABLES):
            yield from super().names(ann_file, task)
        else:
            lines = read_lines(ann_file, annotation_of(task, ann_file))
            yield from filter(None, map(str.strip, lines))

    def _in_folder(
        self, folder: str, img_dir: str, task: Task
    ) -> Iterator[str]:
        """Yield the images of a folder but for those that are held out."""
        held_out = set(self._held_out(folder, img_dir, task))
        for path in find_images(folder):
            if osp.abspath(path) not in held_out:
                name = osp.relpath(path, img_dir or '.')
                yield name.removesuffix(self.img_suffix)

    def _held_out(
        self, folder: str, img_dir: str, task: Task
    ) -> Iterator[str]:
        """Yield the paths of the images that a folder is read without."""
        splits = task.config.get('splits') or {}
        own = [file for file in splits.values() if file is not None]
        place = Folder(img_dir, self.data_root)
        for file in dict.fromkeys((*own, *self.leave_out)):
            path = osp.join(task.data_root, file)
            if osp.isdir(path):
                if osp.abspath(path) != osp.abspath(folder):
                    yield from map(osp.abspath, find_images(path))
                continue
            for name in self._names(path, img_dir, task):
                found = place.join(name + self.img_suffix)
                if found is None:
                    raise UserError(
                        f'{path}: image "{name}" leads out of the data '
                        'folder; write its path relative to img_dir.'
                    )
                yield osp.abspath(found)
