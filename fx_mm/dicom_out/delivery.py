"""Where DICOM results go: a folder, or an archive."""

import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fx_mm.dicom_out.extra import quiet
from fx_mm.dicom_out.results import DicomResults
from fx_mm.dicom_out.web import DicomWeb, is_web_address
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results import ImageResult

if TYPE_CHECKING:
    import pydicom


class DicomDelivery:
    """Makes the DICOM objects of one image after the other and delivers them.

    Args:
        results (DicomResults): Makes them.
        target (str): A folder, or the address of an archive, see
            :class:`DicomWeb`.

    Attributes:
        counts (Counter): ``made``, images with results, and ``no DICOM``.

    Raises:
        UserError: If the address cannot be used.
    """

    def __init__(self, results: DicomResults, target: str) -> None:
        self.results = results
        self.target = target
        self.archive = DicomWeb(target) if is_web_address(target) else None
        self.counts: Counter[str] = Counter()

    def __call__(
        self,
        result: ImageResult,
        name: str | Path,
        measured: Measurements | None = None,
    ) -> None:
        """Deliver the objects of one image.

        Args:
            result (ImageResult): The predictions.
            name (str | Path): Of the files, in the folder and without their
                endings.
            measured (Measurements, optional): What the report says beside
                the predictions. Defaults to None.

        Raises:
            SourceError: If the image cannot be referred to.
            UserError: If they cannot be written, or the archive refuses.
        """
        objects = self.results.make(result, measured)
        self.counts['made' if objects else 'no DICOM'] += 1
        if self.archive is not None and objects:
            self.archive.store(list(objects.values()))
            return
        for ending, each in objects.items():
            path = Path(self.target, f'{name}_{ending}.dcm')
            try:
                write_whole(path, to_bytes(each))
            except OSError as error:
                raise UserError(
                    f'{path}: cannot be written ({error.strerror}); give '
                    'another folder for the DICOM results.'
                ) from error


def to_bytes(dataset: 'pydicom.Dataset') -> bytes:
    """Return the file of a DICOM object."""
    with quiet(), io.BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()
