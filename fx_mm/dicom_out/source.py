"""The header of the image that results belong to."""

import re
from collections.abc import Callable
from typing import Any

import pydicom
from pydicom.valuerep import DA, TM, PersonName

from fx_mm.dicom_out.errors import SourceError
from fx_mm.dicom_out.extra import quiet

UIDS = (
    'StudyInstanceUID',
    'SeriesInstanceUID',
    'SOPInstanceUID',
    'SOPClassUID',
)
TEXTS = (
    'PatientID',
    'IssuerOfPatientID',
    'AccessionNumber',
    'StudyID',
    'StudyDescription',
    'PatientIdentityRemoved',
    'DeidentificationMethod',
    'Modality',
)
NAMES = ('PatientName', 'ReferringPhysicianName')
DATES = ('PatientBirthDate', 'StudyDate')
NEEDED = (
    'PatientID',
    'PatientSex',
    'AccessionNumber',
    'StudyID',
    'StudyTime',
    *NAMES,
    *DATES,
)
"""Written in every result, empty where the source has none (type 2)."""
SEXES = ('M', 'F', 'O')
AGE = r'[0-9]{3}[DWMY]'
DIRECTIONS = r'[ALRPHF]{1,3}'
PIXELS = ('Rows', 'Columns', 'SamplesPerPixel', 'PixelRepresentation')
SPACINGS = ('PixelSpacing', 'ImagerPixelSpacing', 'PixelAspectRatio')


def read_source(path: str) -> pydicom.Dataset:
    """Read what results take over of a DICOM: patient, study, references.

    What is malformed is left out, since no result would be valid with it;
    texts are in UTF-8 after it.

    Args:
        path (str): The DICOM file.

    Returns:
        pydicom.Dataset: UIDs, patient, study and the pixel grid.

    Raises:
        SourceError: If the file lacks a UID, or its pixels are in frames
            with headers of their own.
    """
    with quiet():
        try:
            whole = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            whole.decode()
        except Exception as error:  # damaged headers make pydicom raise any
            raise SourceError(
                f'{path}: its header cannot be read as a whole '
                f'({type(error).__name__}), so there are no DICOM results.'
            ) from error
        return _take_over(path, whole)


def _take_over(path: str, whole: pydicom.Dataset) -> pydicom.Dataset:
    source = pydicom.Dataset()
    source.SpecificCharacterSet = 'ISO_IR 192'
    for keyword in UIDS:
        uid = _value(whole, keyword, str)
        if not uid or not re.fullmatch(r'[0-9.]{1,64}', uid):
            raise SourceError(
                f'{path}: the DICOM has no valid {keyword}, which its '
                'results would refer to, so there are none; send it through '
                'an archive or give it one.'
            )
        setattr(source, keyword, uid)
    if 'PerFrameFunctionalGroupsSequence' in whole:
        raise SourceError(
            f'{path}: the DICOM is an enhanced multi-frame one, to which no '
            'results are written; save the X-ray as a plain image.'
        )
    readers: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(TEXTS, _read_text),
        **dict.fromkeys(NAMES, _read_name),
        **dict.fromkeys(DATES, DA),
        **dict.fromkeys(PIXELS, int),
        **dict.fromkeys(SPACINGS, _read_pair),
        'StudyTime': TM,
        'PatientSex': _read_sex,
        'PatientAge': _read_age,
        'StudyDescription': _read_description,
        'PatientOrientation': _read_orientation,
        'PhotometricInterpretation': str,
        'VOILUTFunction': str,
        'VOILUTSequence': list,
        'ModalityLUTSequence': list,
    }
    for keyword, reader in readers.items():
        value = _value(whole, keyword, reader)
        if value not in (None, '', []):
            setattr(source, keyword, value)
        elif keyword in NEEDED:
            setattr(source, keyword, '')
    if 'Modality' not in source:
        source.Modality = 'OT'
    return source


def _value(
    whole: pydicom.Dataset, keyword: str, reader: Callable[[Any], Any]
) -> Any:
    """Return the value of an element; None if it is missing or malformed."""
    try:
        value = whole.get(keyword)
        return None if value is None else reader(value)
    except Exception:  # the value is not of the element's type
        return None


def _read_text(value: Any) -> str | None:
    """Return a text; None for several, which a backslash makes of it."""
    return value if isinstance(value, str) else None


def _read_description(value: Any) -> str | None:
    text = _read_text(value)
    return text and text[:64]  # a longer one is not valid


def _read_name(value: Any) -> str | None:
    if not isinstance(value, str | PersonName):
        return None
    return str(PersonName(str(value)))


def _read_sex(value: Any) -> str | None:
    return value if value in SEXES else None


def _read_age(value: Any) -> str | None:
    return value if re.fullmatch(AGE, value) else None


def _read_orientation(value: Any) -> list[str] | None:
    parts = list(value)
    valid = all(re.fullmatch(DIRECTIONS, part) for part in parts)
    return parts if valid and len(parts) == 2 else None


def _read_pair(value: Any) -> list[float] | None:
    pair = [float(part) for part in value]
    return pair if len(pair) == 2 and min(pair) > 0 else None
