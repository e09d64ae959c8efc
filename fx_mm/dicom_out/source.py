"""The header of the image that results belong to."""

import logging
import re
from collections.abc import Callable
from typing import Any

import pydicom
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, PersonName

from fx_mm.dicom_out.errors import SourceError
from fx_mm.dicom_out.extra import quiet
from fx_mm.utils.log import log

UIDS = (
    'StudyInstanceUID',
    'SeriesInstanceUID',
    'SOPInstanceUID',
    'SOPClassUID',
)
TEXTS = {
    'PatientID': 64,
    'IssuerOfPatientID': 64,
    'AccessionNumber': 16,
    'StudyID': 16,
    'PatientIdentityRemoved': 16,
    'DeidentificationMethod': 64,
    'Modality': 16,
    'StudyDescription': 64,
}
"""Texts, and how many characters DICOM allows them."""
NAMES = ('PatientName', 'ReferringPhysicianName')
NAME = 64
"""Characters of each of a name's groups."""
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

    What is malformed or too long is left out with a warning, since no result
    would be valid with it, and half an accession number would be another
    one; texts are in UTF-8 after it.

    Args:
        path (str): The DICOM file.

    Returns:
        pydicom.Dataset: UIDs, patient, study and the pixel grid.

    Raises:
        SourceError: If the file lacks a valid UID, has a patient ID that is
            not valid, or its pixels are in frames with headers of their own.
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
        if not uid or not UID(uid).is_valid:
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
        **{key: _text_reader(length) for key, length in TEXTS.items()},
        **dict.fromkeys(NAMES, _read_name),
        **dict.fromkeys(DATES, DA),
        **dict.fromkeys(PIXELS, int),
        **dict.fromkeys(SPACINGS, _read_pair),
        'StudyTime': TM,
        'PatientSex': _read_sex,
        'PatientAge': _read_age,
        'PatientOrientation': _read_orientation,
        'PhotometricInterpretation': str,
        'VOILUTFunction': str,
        'VOILUTSequence': list,
        'ModalityLUTSequence': list,
    }
    left_out = []
    for keyword, reader in readers.items():
        value = _value(whole, keyword, reader)
        if value not in (None, '', []):
            setattr(source, keyword, value)
            continue
        if keyword in NEEDED:
            setattr(source, keyword, '')
        if whole.get(keyword) not in (None, '', []):
            left_out.append(keyword)
    if 'PatientID' in left_out:
        raise SourceError(
            f'{path}: the DICOM has a PatientID that is not valid (several '
            f'values, or more than {TEXTS["PatientID"]} characters), so its '
            'results would be of no patient and there are none; correct it.'
        )
    if left_out:
        log(
            f'{path}: not valid and left out of its DICOM results: '
            f'{", ".join(left_out)}.',
            logging.WARNING,
        )
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


def _text_reader(length: int) -> Callable[[Any], str | None]:
    """Return what takes a text of at most so many characters.

    And none for several, which a backslash makes of it.
    """

    def read(value: Any) -> str | None:
        valid = isinstance(value, str) and len(value) <= length
        return value if valid else None

    return read


def _read_name(value: Any) -> str | None:
    if not isinstance(value, str | PersonName):
        return None
    name = str(PersonName(str(value)))
    return name if max(map(len, name.split('='))) <= NAME else None


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
