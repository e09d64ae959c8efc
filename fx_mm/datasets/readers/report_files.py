"""Reports as MIMIC-CXR and Indiana University give them: a file per study."""

import logging
import os.path as osp
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fx_mm.datasets.readers.csv_rows import Pick
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.images import Folder
from fx_mm.datasets.readers.report_csv import CsvReportReader
from fx_mm.datasets.readers.rows import Row
from fx_mm.registry import READERS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log_once
from fx_mm.utils.text_files import read_lines
from fx_mm.utils.value_types import check_value

HEADINGS = (
    *('indication', 'history', 'clinical history', 'reason for exam'),
    *('reason for examination', 'technique', 'comparison', 'examination'),
    *('exam', 'findings', 'impression', 'conclusion', 'recommendation'),
    *('notification', 'final report', 'wet read'),
)
"""What a section begins with; other lines with a colon are part of one."""
HINT = 'a report names it; complete the folder of reports, or name it'


class ReportFileReader(CsvReportReader):
    """Images from a table, their reports from files of their own.

    Of a report, the first of ``sections`` that it has is read. Images whose
    report has none of them, or that have no report, are left out; the log
    counts them.

    Args:
        reports (str): Folder of the reports, relative to the annotation
            file's folder. Defaults to '..'.
        sections (Sequence[str]): Defaults to ('findings', 'impression').
        **kwargs: See :class:`CsvRowReader` and :class:`BaseReader`.
    """

    def __init__(
        self,
        reports: str = '..',
        sections: Sequence[str] = ('findings', 'impression'),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reports = reports
        check_value('sections', sections, Sequence[str])
        self.sections = [section.lower() for section in sections]

    @abstractmethod
    def find(self, folder: str, image: str) -> dict[str, str] | None:
        """Return the report of an image.

        Args:
            folder (str): Folder of the reports.
            image (str): Name of the image in the table.

        Returns:
            dict[str, str], optional: Section, in lower case, to its text;
            None if there is no report.
        """

    def pick(self, table: CsvTable, task: Task) -> Pick:
        """Take nothing of the table but the images."""
        return lambda number, cells: ()

    def rows(self, ann_file: str, task: Task) -> Iterator[Row]:
        """Walk the images that have a report; see :class:`RowReader`."""
        if task.config.get('questions'):
            raise UserError(
                f'{type(self).__name__} of task {task.name} reads reports, '
                'not questions; remove questions=True.'
            )
        base = osp.dirname(ann_file)
        folder = Folder(base, self.data_root).join(self.reports)
        if folder is None or not osp.isdir(folder):
            raise UserError(
                f'The reports of task {task.name}, "{self.reports}", are no '
                f'folder of the data, seen from {base}.'
            )
        total = without = 0
        for number, name, place, _ in super().rows(ann_file, task):
            found = self.find(folder, name) or {}
            texts = (found.get(section, '') for section in self.sections)
            text = next(filter(str.strip, texts), None)
            total += 1
            if text is None:
                without += 1
            else:
                yield number, name, place, (text,)
        if without:
            log_once(
                f'{ann_file}: {without} of {total} images have no report with '
                f'{" or ".join(self.sections)}, and are left out.',
                logging.WARNING,
            )


@READERS.register_module()
class MimicReportReader(ReportFileReader):
    """Reports of MIMIC-CXR: ``files/p10/p10000032/s50414267.txt``.

    The text of a study lies beside the folder of its images, as the two
    archives are when both are unpacked into one folder. Names of images are
    those of ``prepare.py mimic_cxr``, whose tables say where they are.

    Examples:
        >>> report = dict(
        ...     classes=('Pleural Effusion', 'Pneumothorax'),
        ...     reader=dict(type='MimicReportReader'),
        ...     splits=dict(train='prepared/train.csv'))
    """

    def find(self, folder: str, image: str) -> dict[str, str] | None:
        """Read the text of the image's study."""
        path = osp.join(folder, f'{osp.dirname(image)}.txt')
        if not osp.exists(path):
            return None
        return split_sections(''.join(read_lines(path, HINT)), self.sections)


@READERS.register_module()
class IndianaReportReader(ReportFileReader):
    """Reports of Indiana University's Open-i: XML, an image names its report.

    Images are called by their name there, such as
    ``CXR1000_IM-0003-1001.png``; the suffix does not matter.

    Examples:
        >>> reader = dict(
        ...     type='IndianaReportReader', reports='ecgen-radiology')
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._found: dict[str, dict[str, dict[str, str]]] = {}

    def find(self, folder: str, image: str) -> dict[str, str] | None:
        """Look the image up in all reports, which are read once."""
        if folder not in self._found:
            self._found[folder] = dict(_read_indiana(Path(folder)))
        return self._found[folder].get(_stem(image))


def split_sections(text: str, sections: Iterable[str] = ()) -> dict[str, str]:
    """Split a report at its headings.

    Args:
        text (str): ``FINDINGS: The lungs are clear. IMPRESSION: ...``, each
            heading at the beginning of a line, in any case. Of ``FINDINGS
            AND IMPRESSION:`` the first counts.
        sections (Iterable[str]): Headings beside :data:`HEADINGS`. Defaults
            to ().

    Returns:
        dict[str, str]: Heading in lower case to what follows; see
        :func:`_last_filled`.
    """
    names = sorted({*HEADINGS, *sections}, key=len, reverse=True)
    known = '|'.join(map(re.escape, names)).replace(r'\ ', '[ \t]+')
    one = rf'(?:{known})(?:s|\(s\))?'
    heading = re.compile(
        rf'^[ \t]*({known})(?:s|\(s\))?(?:[ \t]*(?:and|[&/,])[ \t]*{one})*'
        r'[ \t]*:',
        re.IGNORECASE | re.MULTILINE,
    )
    parts = heading.split(text)
    found = (' '.join(name.lower().split()) for name in parts[1::2])
    return _last_filled(zip(found, parts[2::2]))


def _last_filled(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the text of each section.

    Of one that comes twice it is the last that is not blank, where a report
    was addended.
    """
    found: dict[str, str] = {}
    for name, text in parts:
        found[name] = text.strip() or found.get(name, '')
    return found


def _read_indiana(
    folder: Path,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each image and its report."""
    files = sorted(folder.glob('*.xml'))
    if not files:
        raise UserError(
            f'{folder} holds no .xml file; name the folder of the reports by '
            'the reader\'s "reports".'
        )
    for path in files:
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except (ElementTree.ParseError, OSError) as error:
            raise UserError(
                f'{path}: cannot be read as XML ({error}); fetch it again.'
            ) from error
        report = _last_filled(
            ((part.get('Label') or '').lower(), ''.join(part.itertext()))
            for part in root.iter('AbstractText')
        )
        for image in root.iter('parentImage'):
            yield _stem(image.get('id') or ''), report


def _stem(image: str) -> str:
    """Return an image's name without folder and suffix."""
    return osp.splitext(osp.basename(image))[0]
