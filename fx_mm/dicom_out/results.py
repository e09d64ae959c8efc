"""The predictions of DICOM images as DICOM objects."""

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx_mm.dicom_out.extra import need, quiet
from fx_mm.utils.files import hash_file
from fx_mm.utils.log import log_once
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results import SCORE_THR, ImageResult

if TYPE_CHECKING:
    import pydicom


class DicomResults:
    """Makes the DICOM objects of predictions.

    .. code-block:: python

        results = DicomResults('FoundationX', 'iter_900.pth')
        for result in infer.iterate('study/'):
            for ending, dataset in results.make(result).items():
                dataset.save_as(f'{result.name}_{ending}.dcm')

    Args:
        model (str): Name of the architecture.
        checkpoint (str | Path): The file; its hash names the model's version.
        predict_on (str): Which model predicted. Defaults to ``teacher``.
        score_thr (float): Boxes with a lower score are left out. Defaults to
            0.3.
        codes (Mapping, optional): ``dicom_codes`` of a config, see
            :func:`fx_mm.dicom_out.codes.find_code`. Defaults to None.

    Raises:
        UserError: If highdicom is not installed, or ``codes`` cannot be
            used.
        OSError: If the checkpoint cannot be read.
    """

    def __init__(
        self,
        model: str,
        checkpoint: str | Path,
        predict_on: str = 'teacher',
        score_thr: float = SCORE_THR,
        codes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        with quiet():
            need('highdicom')
            who, self._objects = (
                need(f'fx_mm.dicom_out.{name}')
                for name in ('model', 'objects')
            )
        self.model = who.Model(
            model,
            Path(checkpoint).name,
            hash_file(checkpoint),
            predict_on,
            score_thr,
        )
        codes_of = need('fx_mm.dicom_out.codes')
        self._find = functools.partial(codes_of.find_code, own=codes)
        for name in codes or ():
            self._find(name)

    def make(
        self, result: ImageResult, measured: Measurements | None = None
    ) -> 'dict[str, pydicom.Dataset]':
        """Make the objects of one image.

        Args:
            result (ImageResult): The predictions.
            measured (Measurements, optional): What the report says beside
                them: numbers of the chest, sizes and places. Defaults to
                None.

        Returns:
            dict[str, pydicom.Dataset]: Ending of a file name to the object;
            empty for an image that is no DICOM file.

        Raises:
            SourceError: If the file cannot be referred to.
        """
        reading = result.reading or {}
        if result.path is None or reading.get('format') != 'DICOM':
            return {}
        return self._objects.make_objects(
            result, self.model, self._find_and_tell, measured
        )

    def _find_and_tell(self, name: str) -> Any:
        code = self._find(name)
        if not code.known:
            log_once(
                f'The class "{name}" has no code in the table of fx_mm; a '
                f'local one ({code.term.value}, {code.term.scheme_designator})'
                ' is written. Give one in dicom_codes of the config.',
                logging.WARNING,
            )
        return code
