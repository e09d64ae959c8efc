"""A report of each image: sentences, what they came from, measurements."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fx_mm.analysis.image_report.comparison_sentences import write_comparison
from fx_mm.analysis.image_report.decision_thresholds import (
    HOW,
    find_thresholds,
    read_thresholds,
)
from fx_mm.analysis.image_report.grounded_report import (
    SECTIONS,
    ReportWriter,
    Sentence,
)
from fx_mm.analysis.image_report.measurements import measure
from fx_mm.analysis.image_report.spread import add_spread
from fx_mm.analysis.image_report.wording import Wording
from fx_mm.apis.image_sources import ImageSource
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.apis.prior_image import check_same_patient
from fx_mm.apis.readings import other_readings
from fx_mm.image_io.dicom_geometry import UNKNOWN, read_geometry
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.log import log
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results import SCORE_THR, ImageResult
from fx_mm.visualization.results.base import finite

SCHEMA_VERSION = 1


class ImageReporter:
    """Measures images and writes what a model found in sentences.

    .. code-block:: python

        reporter = ImageReporter(infer)
        for source in list_sources('study/')[0]:
            (result,) = infer.iterate([source.origin])
            found = reporter.measure(source, result)
            reporter.save(source, result, found, f'out/{source.name}')

    Args:
        infer (FoundationXInferencer): Predicts.
        thresholds (str | Path, optional): results.json of a test of the
            checkpoint with thresholds from validation images. Defaults to
            None: the one beside the checkpoint, if it has some.
        wording (str | Path, optional): A table of sentences, see
            :class:`Wording`. Defaults to None: the shipped one.
        score_thr (float): Boxes with a lower score are left out, of classes
            without a threshold. Defaults to 0.3.
        prior (ImageSource, optional): A prior image of the patient. Defaults
            to None.

    Raises:
        UserError: If thresholds or wording cannot be used.
        ImageReadError: If the prior image cannot be read.
    """

    def __init__(
        self,
        infer: FoundationXInferencer,
        thresholds: str | Path | None = None,
        wording: str | Path | None = None,
        score_thr: float = SCORE_THR,
        prior: ImageSource | None = None,
    ) -> None:
        self.infer = infer
        self.score_thr = score_thr
        if thresholds is None:
            self.thresholds = find_thresholds(
                infer.checkpoint, infer.predict_on
            )
        else:
            self.thresholds = read_thresholds(
                thresholds, infer.checkpoint, infer.predict_on
            )
        log(
            f'Report: thresholds of {self.thresholds.path}.'
            if self.thresholds.path
            else f'Report: no thresholds from validation images; {HOW}.'
        )
        words = Wording(wording)
        self.writer = ReportWriter(words, self.thresholds, score_thr)
        self.prior = prior
        self._before: Measurements | None = None
        self._prior_format: Any = None
        if prior is not None:
            (result,) = infer.iterate([prior.origin])
            self._before = self.measure(prior, result)
            self._prior_format = (result.reading or {}).get('format')

    def measure(
        self, source: ImageSource, result: ImageResult
    ) -> Measurements:
        """Measure an image, with the spread over other readings.

        Args:
            source (ImageSource): The image.
            result (ImageResult): Its predictions.

        Returns:
            Measurements: In millimetres where its file has a spacing.
        """
        geometry = UNKNOWN
        if (result.reading or {}).get('format') == 'DICOM':
            geometry = read_geometry(str(source.path))
        first, *others = (
            measure(each, geometry, self.writer.least)
            for each in (
                result,
                *other_readings(self.infer, source, result.size).values(),
            )
        )
        return add_spread(first, others)

    def sentences(
        self, source: ImageSource, result: ImageResult, found: Measurements
    ) -> list[Sentence]:
        """Write about an image, and what changed since the prior one.

        Raises:
            UserError: If the prior image is not of the same patient.
        """
        said = self.writer.write(found)
        if self._before is not None and self.prior is not None:
            formats = (result.reading or {}).get('format'), self._prior_format
            known = check_same_patient(source, self.prior, formats)
            said += write_comparison(self.writer, found, self._before)
            if not known:
                text = self.writer.wording.say('note_patient')
                said.append(Sentence('notes', text))
        return said

    def save(
        self,
        source: ImageSource,
        result: ImageResult,
        found: Measurements,
        folder: str | Path,
    ) -> None:
        """Write ``report.txt`` and ``report.json`` into a folder.

        Args:
            source (ImageSource): The image.
            result (ImageResult): Its predictions.
            found (Measurements): Of :meth:`measure`.
            folder (str | Path): Of the image alone.

        Raises:
            UserError: If the prior image is not of the same patient.
            OSError: If they cannot be written.
        """
        said = self.sentences(source, result, found)
        notice = self.writer.wording.say('notice')
        content = dict(
            schema_version=SCHEMA_VERSION,
            notice=notice,
            image=result.path or result.name,
            prior=self.prior and (self.prior.path or self.prior.name),
            checkpoint=Path(self.infer.checkpoint).name,
            predict_on=self.infer.predict_on,
            score_thr=self.score_thr,
            thresholds_from=self.thresholds.path,
            sentences=[sentence.to_dict() for sentence in said],
            **to_dict(found),
        )
        text = json.dumps(plain(content), indent=2, allow_nan=False)
        write_whole(Path(folder, 'report.txt'), to_text(notice, said))
        write_whole(Path(folder, 'report.json'), text + '\n')


def to_text(notice: str, said: list[Sentence]) -> str:
    """Return the sentences, a paragraph per section, the notice first."""
    parts = [notice]
    for section in SECTIONS:
        lines = [
            f'{sentence.text} [{sentence.evidence["task"]}]'
            if 'task' in sentence.evidence
            else sentence.text
            for sentence in said
            if sentence.section == section
        ]
        if lines:
            parts.append('\n'.join(lines))
    return '\n\n'.join(parts) + '\n'


def to_dict(found: Measurements) -> dict[str, Any]:
    """Return measurements for JSON; numbers may be NaN."""
    frame = found.frame
    return dict(
        geometry=asdict(found.geometry),
        sides=dict(
            by='lung masks' if frame.lungs else 'image halves',
            task=frame.task or None,
            reason=frame.unusable or frame.refusal or None,
            left_at=frame.left_at,
            said_by_file=frame.said,
        ),
        measurements=[asdict(each) for each in found.chest],
        findings=[
            dict(asdict(each), place=each.place._asdict())
            for each in found.findings
        ],
        dropped_pieces=dict(found.dropped),
    )


def plain(values: Any) -> Any:
    """Turn numbers that are not finite into None."""
    if isinstance(values, Mapping):
        return {key: plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if isinstance(values, float):
        return finite(values)
    return values


def choose_prior(priors: list[ImageSource], n_images: int) -> ImageSource:
    """Return the prior image of a single image.

    Raises:
        UserError: If there are several images or priors.
    """
    if len(priors) != 1 or n_images != 1:
        raise UserError(
            f'--prior compares one image with one prior image, here are '
            f'{n_images} and {len(priors)}; run it once per image.'
        )
    return priors[0]
