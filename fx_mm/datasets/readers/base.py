"""What all readers share: which images of a file are read, and whose."""

from abc import ABCMeta, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.images import ImageNames
from fx_mm.datasets.readers.patient_ids import (
    PATIENT,
    find_patient_name,
    read_patient,
    warn_of_patients,
)
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log_once


def annotation_of(task: Task, ann_file: str) -> str:
    """Return the hint for the annotation file of a task."""
    hint = (
        f'it is the annotation file of task {task.name}, check data_root and '
        'splits'
    )
    if 'prepared' in Path(ann_file).parts:
        hint += (
            ', or write it with "python tools/dataset_converters/prepare.py '
            f'{task.dataset}"'
        )
    return hint


class BaseReader(metaclass=ABCMeta):
    """Turns an annotation file into records, checking all of it.

    A record is a dict with ``img_path``, ``img_id`` (the image's name in the
    annotation file, unique in the split) and, by the kind of task:

    - cls: ``gt_score`` (np.ndarray): float32 (C,) in 0..1, NaN = unknown;
      ``score_range`` (np.ndarray): float32 (C, 2), where a value is drawn
      for each sample in training its lowest and highest, else NaN. Only
      where the reader draws any.
    - loc: ``boxes`` (np.ndarray): float32 (n, 4) xyxy in pixels of the
      original image; ``box_labels`` (np.ndarray): int64 (n,). Images
      without boxes stay in.
    - reg: ``gt_value`` (np.ndarray): float32 (C,), NaN = unknown.
    - seg: ``mask_paths`` (dict): class name to path or None (empty mask).

    Names of images and masks are relative; absolute ones, and those that
    leave the data by ``..``, are refused.

    Args:
        img_ids (Sequence[str], optional): Names of the images to keep, as the
            annotation file writes them. Defaults to None, which keeps all.
        img_suffix (str): What the files' names have and the annotation lacks,
            such as ``.png``. Defaults to ''.
        max_missing (float): Share of the images that may be missing on disk
            in training; the log names them, and other images take their
            place. Evaluation needs all. With 1, masks may be missing too.
            Defaults to 0.001.
        data_root (str, optional): Folder that names with ``..`` must not
            leave. Defaults to None: the folder that they are relative to.
            :class:`TaskDataset` sets it.
    """

    def __init__(
        self,
        img_ids: Sequence[str] | None = None,
        img_suffix: str = '',
        max_missing: float = 0.001,
        data_root: str | None = None,
    ) -> None:
        check_number("The reader's max_missing", max_missing, 0, 1)
        self.img_ids = img_ids
        self.img_suffix = img_suffix
        self.max_missing = max_missing
        self.data_root = data_root

    @abstractmethod
    def __call__(
        self, ann_file: str, img_dir: str, task: Task
    ) -> Sequence[dict[str, Any]]:
        """Read one split.

        Args:
            ann_file (str): Path of the annotation file.
            img_dir (str): Folder that image names are relative to.
            task (Task): What the annotation is for.

        Returns:
            Sequence[dict]: Records in the order of the file.

        Raises:
            UserError: Names the file and row of what is wrong.
        """

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up the annotation of an image, to measure and try a config.

        Args:
            task (Task): The task.
            index (int): Number of the image.
            size (int): Side of the image in pixels.
            rng (np.random.Generator): Draws what is random.

        Returns:
            dict: What a pipeline puts into a sample, as arrays: ``gt_bboxes``
            (float32 (n, 4) xyxy) and ``gt_bboxes_labels`` (int64 (n,)), or
            ``gt_masks`` (uint8 (C, size, size)), or others such as
            ``gt_score``.

        Raises:
            UserError: If this reader makes nothing up.
        """
        raise UserError(
            f'{cls.__name__} makes up no samples, so task {task.name} cannot '
            'be measured without its data; leave it out of "tasks".'
        )

    def open_table(self, ann_file: str, task: Task) -> CsvTable | None:
        """Open the table with the annotation, if it is one with a header.

        Args:
            ann_file (str): Path of the annotation file.
            task (Task): What the annotation is for.

        Returns:
            CsvTable, optional: None by default.

        Raises:
            UserError: If it cannot be read.
        """
        return None

    def image_index(self, table: CsvTable) -> int:
        """Return the number of the column with the images' names.

        Raises:
            UserError: If the table lacks it.
        """
        return 0

    def patients(self, ann_file: str, task: Task) -> dict[str, str]:
        """Read the patient IDs that the annotation file has.

        Args:
            ann_file (str): Path of the annotation file.
            task (Task): What the annotation is for.

        Returns:
            dict[str, str]: Image name to patient ID, of the images that have
            one; by default those of the table's column ``patient``, or of
            the one that :func:`find_patient_name` finds.

        Raises:
            UserError: If the file cannot be read.
        """
        table = self.open_table(ann_file, task)
        if table is None:
            return {}
        image = self.image_index(table)
        taken = {table.header[image], *task.classes}
        names = [name for name in table.header if name not in taken]
        name = self.find_patient(str(table.path), 'column', names)
        if name is None:
            return {}
        patient = table.column(name)
        found = ((row[image].strip(), row[patient]) for _, row in table)
        return {
            image: text
            for image, value in found
            if (text := read_patient(value)) is not None
        }

    @staticmethod
    def find_patient(
        file: str, where: str, names: Collection[str]
    ) -> str | None:
        """Find where the patient IDs are; see :func:`find_patient_name`.

        The log says where they are from, unless it is as documented, and
        warns of names that may mean them.

        Args:
            file (str): The file, for the log.
            where (str): What the names are of, for the log.
            names (Collection[str]): All names that may be it.
        """
        name = find_patient_name(names)
        if name is None:
            warn_of_patients(file, names)
        elif name != PATIENT:
            log_once(f'{file}: takes the patient IDs from {where} "{name}".')
        return name

    def names(self, ann_file: str, task: Task) -> Iterator[str]:
        """Read the images' names alone, whatever else is wrong in a file.

        Args:
            ann_file (str): Path of the annotation file.
            task (Task): What the annotation is for.

        Yields:
            str: A name, not blank; by default those of the table.

        Raises:
            UserError: If there is no way to the names.
        """
        table = self.open_table(ann_file, task)
        if table is not None:
            image = self.image_index(table)
            yield from filter(None, (row[image].strip() for _, row in table))

    def images(
        self, ann_file: str, img_dir: str, unit: str = 'row'
    ) -> ImageNames:
        """Return a checker of the image names of a split."""
        return ImageNames(
            ann_file,
            img_dir,
            self.img_ids,
            self.img_suffix,
            self.max_missing,
            self.data_root,
            unit,
        )
