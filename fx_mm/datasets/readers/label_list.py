"""Image labels from a list without a header."""

import numpy as np

from ...registry import READERS
from ...utils.errors import UserError
from .base import BaseReader, check_one_hot, open_text, parse_labels


@READERS.register_module()
class ListLabelReader(BaseReader):
    """Reads image labels from rows ``file l1 l2 .. lC``.

    This is the format of the published split lists of ChestX-ray14, VinDr-CXR
    and others: no header, the labels in the order of the task's classes,
    separated by blanks or by commas. ``nan`` means unknown.

    Args:
        class_index (bool): Whether rows are ``file k`` instead, k being the
            number of the image's only class, from 0 (as RSNA's lists are).
            Defaults to False.
        uncertain (float, optional): Value that -1 stands for. Defaults to
            None, which refuses -1.
        kwargs: See :class:`BaseReader`.
    """

    def __init__(
        self,
        class_index: bool = False,
        uncertain: float | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.class_index = class_index
        self.uncertain = uncertain

    def __call__(self, ann_file: str, img_dir: str, task) -> list[dict]:
        """Read one split; see :class:`BaseReader`."""
        images = self.images(ann_file, img_dir)
        records = []
        lines = open_text(ann_file, task.name)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f'{ann_file}, row {number}'
            name, labels = self._split(line.strip(), where, task)
            record = images.add(name, f'row {number}')
            if record is None:
                continue
            if self.class_index:
                scores = _one_hot(labels[0].strip(), where, task)
            else:
                scores = parse_labels(
                    labels, task.classes, where, self.uncertain
                )
            record['gt_score'] = np.array(scores, np.float32)
            if task.labels == 'multi-class':
                check_one_hot(record['gt_score'], where)
            records.append(record)
        images.finish()
        return records

    def _split(self, line: str, where: str, task) -> tuple:
        """Split a row into name and labels; a name may hold blanks."""
        count = 1 if self.class_index else len(task.classes)
        commas = ',' in line
        cells = line.split(',') if commas else line.rsplit(maxsplit=count)
        found = len(cells) - 1
        if found == count and not commas:
            # one label too many would end up in the name
            found += _trailing_numbers(cells[0])
        if found != count:
            if self.class_index:
                raise UserError(
                    f'{where}: has {found} labels instead of one class '
                    'number; set class_index=False if it has one a class.'
                )
            raise UserError(
                f'{where}: has {found} labels, but task {task.name} has '
                f'{count} classes ({", ".join(task.classes)}); correct the '
                'row or the classes, and use commas if names hold blanks.'
            )
        return cells[0], cells[1:]


def _one_hot(text: str, where: str, task) -> list:
    classes = range(len(task.classes))
    if not text.isdecimal() or int(text) not in classes:
        raise UserError(
            f'{where}: class number "{text}" is not one of 0 to '
            f'{len(task.classes) - 1} ({", ".join(task.classes)}).'
        )
    return [float(index == int(text)) for index in classes]


def _trailing_numbers(name: str) -> int:
    """Count the label-like words that follow a file name."""
    count = 0
    for word in reversed(name.split()[1:]):
        try:
            float(word)
        except ValueError:
            break
        count += 1
    return count
