"""What NIH's two tuberculosis datasets share: Shenzhen and Montgomery."""

import re
from pathlib import Path

from fx_mm.preparation.cell_values import parse_age, parse_sex
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError


def parse_tuberculosis(stem: str, path: Path) -> dict[str, float | None]:
    """Read the label from an image's name, whose last digit it is.

    Raises:
        UserError: If the name is of another form.
    """
    match = re.fullmatch(r'(?:CHN|MCU)CXR_\d+_([01])', stem)
    if match is None:
        raise UserError(
            f'{path}: the name is not of the form CHNCXR_0001_0.png; move '
            'other files out of the folder.'
        )
    return dict(TB=int(match[1]))


def read_clinical_reading(
    folder: RawFolder, stem: str
) -> tuple[dict[str, str | float | None], str]:
    """Read the clinical reading of an image.

    Shenzhen's begin like ``male 45yrs``, Montgomery's with the lines
    ``Patient's Sex: F`` and ``Patient's Age: 027Y``.

    Returns:
        tuple[dict, str]: Sex and age; the whole text. None and '' if there
        is no such file.
    """
    path = folder.root / 'ClinicalReadings' / f'{stem}.txt'
    text = folder.read_optional_text(path)
    head = ' '.join(text.splitlines()[:2])
    sex = re.search(r'\b(femal|male|f\b|m\b)', head, re.I)
    age = re.search(r'\d+ *[a-z]*', head, re.I)
    return dict(
        sex=parse_sex(sex[0]) if sex else None,
        age=parse_age(age[0]) if age else None,
    ), text
