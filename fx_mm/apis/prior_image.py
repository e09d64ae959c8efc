"""The prior image that a report compares with."""

from typing import Any

from fx_mm.apis.image_sources import ImageSource
from fx_mm.utils.errors import UserError

IDENTITY = ('PatientID', 'IssuerOfPatientID')


def check_same_patient(
    now: ImageSource, before: ImageSource, formats: tuple[Any, Any]
) -> bool:
    """Refuse two DICOM files that are not of one patient, in their order.

    Args:
        now (ImageSource): The image.
        before (ImageSource): The prior image.
        formats (tuple): What each was read as.

    Returns:
        bool: Whether the files say that they are of one patient.

    Raises:
        UserError: If the files say that they are not, or that the prior
            image is the later one. Neither names nor numbers are quoted.
    """
    if formats != ('DICOM', 'DICOM'):
        return False
    headers = [_header(str(source.path)) for source in (now, before)]
    dates = [header['StudyDate'] for header in headers]
    if all(dates) and dates[1] > dates[0]:
        raise UserError(
            f'{before.path}: its StudyDate is later than that of '
            f'{now.path}; give the earlier image with --prior.'
        )
    ids = [tuple(header[key] for key in IDENTITY) for header in headers]
    if not all(each[0] for each in ids):
        return False
    if ids[0] != ids[1]:
        raise UserError(
            f'{before.path}: its PatientID is not that of {now.path}; give '
            'an earlier image of the same patient with --prior.'
        )
    return True


def _header(path: str) -> dict[str, str]:
    import pydicom  # takes 0.3 s, which other files need not wait for

    keys = (*IDENTITY, 'StudyDate')
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        return {key: str(header.get(key) or '').strip() for key in keys}
    except Exception:  # damaged headers make pydicom raise any kind
        return dict.fromkeys(keys, '')
