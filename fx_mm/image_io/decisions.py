"""What was decided while an image was read, and what is doubtful about it."""

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

from fx_mm.utils.log import log

_LOGGED: set[str] = set()


@dataclass
class Decisions:
    """What was decided while an image was read.

    Attributes:
        format (str): ``PNG``, ``JPEG``, ``TIFF``, ``DICOM``, ``MetaImage``,
            ``JSRT``, ``GIF``, ``BMP``, what Pillow calls others, ``array``.
        depth (int): Bits that are stored per sample.
        photometric (str): How the file says its values are to be seen.
        orientation (int): The EXIF or TIFF orientation that was applied, 1
            to 8; 1 if none.
        inverted (bool): Whether the file's high values are dark ones.
        mapping (str): How values became 8 bits: ``as stored``, ``window``,
            ``VOI LUT``, ``value range`` or ``percentiles``.
        range (list[float], optional): The values of the file (of a DICOM:
            after its modality LUT) that became the darkest and the brightest;
            None if they are as stored.
        rescale (list[float], optional): Slope and intercept that a DICOM's
            values were given first; None if there are none, or a modality
            LUT took their place.
        warnings (dict[str, str]): Kind of a warning to its sentence.
    """

    format: str
    depth: int = 8
    photometric: str = 'grey'
    orientation: int = 1
    inverted: bool = False
    mapping: str = 'as stored'
    range: list[float] | None = None
    rescale: list[float] | None = None
    warnings: dict[str, str] = field(default_factory=dict)

    def warn(self, kind: str, sentence: str) -> None:
        """Record a warning; of several of a kind, all in one sentence.

        Args:
            kind (str): What is logged once per process.
            sentence (str): Says what is wrong and what was done.
        """
        if kind in self.warnings:
            sentence = f'{self.warnings[kind]} {sentence}'
        self.warnings[kind] = sentence

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; the warnings as a list."""
        return dict(asdict(self), warnings=list(self.warnings.values()))


def log_warnings(path: str, decisions: Decisions) -> None:
    """Log the first warning of each kind in this process.

    One line per file would flood the log of a training; the audit and
    ``tools/predict.py`` write what there is to say of each image.

    Args:
        path (str): The file.
        decisions (Decisions): Of its reading.
    """
    for kind, sentence in decisions.warnings.items():
        if kind not in _LOGGED:
            _LOGGED.add(kind)
            log(
                f'{path}: {sentence} (Of this kind, only the first file is '
                'logged.)',
                logging.WARNING,
            )
