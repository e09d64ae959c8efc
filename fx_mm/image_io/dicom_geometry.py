"""What a DICOM says of millimetres and of the patient's left and right."""

import math
from dataclasses import dataclass, field
from typing import Any

import pydicom
from pydicom.multival import MultiValue

LATERAL_VIEWS = ('LL', 'RL', 'LLD', 'RLD', 'LATERAL', 'LAT', 'LLO', 'RLO')
CODED_VIEWS = {'antero-posterior': 'AP', 'postero-anterior': 'PA'}
"""Meanings of view codes (PS3.16, CID 4010) that say a frontal view."""
CALIBRATED = 'PixelSpacing'
DETECTOR = 'ImagerPixelSpacing'
"""Of the detector: what lies before it is smaller by the magnification."""


@dataclass(frozen=True)
class Geometry:
    """Scale and directions of an X-ray; by default nothing is known.

    Attributes:
        spacing (tuple[float], optional): Millimetres between the centres of
            two rows and of two columns.
        spacing_from (str): ``PixelSpacing``, ``ImagerPixelSpacing`` or ''.
        left_at (str): Edge of the image towards the patient's left:
            ``right`` (as X-rays are shown), ``left`` (mirrored), or '' where
            nothing says so.
        view (str): As the file has it: ``PA``, ``AP``, ``LL`` or ''.
        refusal (str): Why there is no frontal, upright chest to measure; ''
            if nothing speaks against one.
        notes (tuple[str]): Sentences on what was not used.
    """

    spacing: tuple[float, float] | None = None
    spacing_from: str = ''
    left_at: str = ''
    view: str = ''
    refusal: str = ''
    notes: tuple[str, ...] = field(default=())


UNKNOWN = Geometry()


def read_geometry(path: str) -> Geometry:
    """Read scale and directions from the header of a DICOM.

    A spacing that equals the detector's, without a calibration, is the
    detector's (PS3.3, 10.7.1.3).

    Args:
        path (str): The file.

    Returns:
        Geometry: What is malformed counts as missing, with a note.
    """
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except Exception as error:  # damaged headers make pydicom raise any
        note = f'The header cannot be read ({type(error).__name__}).'
        return Geometry(notes=(note,))
    notes: list[str] = []
    pairs = {k: _pair(header, k, notes) for k in (CALIBRATED, DETECTOR)}
    name = next((k for k, pair in pairs.items() if pair is not None), '')
    spacing = pairs.get(name)
    same = spacing is not None and spacing == pairs[DETECTOR]
    if same and not _texts(header, 'PixelSpacingCalibrationType'):
        name = DETECTOR
    left_at, refusal = _directions(header)
    view = (_texts(header, 'ViewPosition') or [''])[0].upper()
    coded = _coded_view(header)
    if view in LATERAL_VIEWS or 'lateral' in coded:
        refusal = f'the view is {view or coded}, not a frontal one'
    elif not view:
        view = CODED_VIEWS.get(coded, '')
    return Geometry(spacing, name, left_at, view, refusal, tuple(notes))


def _coded_view(header: pydicom.Dataset) -> str:
    """Return the meaning of the view's code, in small letters."""
    try:
        codes = header.get('ViewCodeSequence') or []
        return str(codes[0].CodeMeaning).strip().lower() if codes else ''
    except Exception:  # no sequence of codes
        return ''


def _directions(header: pydicom.Dataset) -> tuple[str, str]:
    """Return the edge towards the patient's left, and a refusal."""
    parts = [text.upper() for text in _texts(header, 'PatientOrientation')]
    if len(parts) != 2 or not all(parts):
        return '', ''
    across, down = parts[0][0], parts[1][0]
    shown = '\\'.join(parts)
    if across in 'AP':
        return '', f'the PatientOrientation is {shown}, a lateral view'
    if across not in 'LR' or down != 'F':
        return '', f'the PatientOrientation is {shown}, not upright'
    return ('right' if across == 'L' else 'left'), ''


def _texts(header: pydicom.Dataset, keyword: str) -> list[str]:
    """Return the texts of an element; none if it is missing or malformed."""
    try:
        value: Any = header.get(keyword)
        if value is None:
            return []
        parts = value if isinstance(value, MultiValue) else [value]
        texts = [str(part).strip() for part in parts]
    except Exception:  # the value is not of the element's type
        return []
    return texts if any(texts) else []


def _pair(
    header: pydicom.Dataset, keyword: str, notes: list[str]
) -> tuple[float, float] | None:
    texts = _texts(header, keyword)
    if not texts:
        return None
    try:
        first, second = (float(text) for text in texts)
        if not (0 < first < math.inf and 0 < second < math.inf):
            raise ValueError
    except ValueError:
        notes.append(f'{keyword} is no pair of lengths and is not used.')
        return None
    return first, second
