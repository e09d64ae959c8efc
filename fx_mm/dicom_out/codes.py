"""What the classes are called in coded terms: one table."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.sr.coding import Code

from fx_mm.utils.errors import UserError

ANATOMY = Code('91723000', 'SCT', 'Anatomical Structure')
FINDING = Code('49755003', 'SCT', 'Morphologically Abnormal Structure')
SIDES = {
    'left': Code('7771000', 'SCT', 'Left'),
    'right': Code('24028007', 'SCT', 'Right'),
}
CATEGORIES = {'anatomy': ANATOMY, 'finding': FINDING}
PRIVATE = '99FX_MM'
"""Scheme of codes for classes that the table lacks: 99 says it is local."""
UNKNOWN = Code('UNKNOWN', PRIVATE, 'Category not known')

_RIBS = (
    ('48535007', 'First rib'),
    ('78247007', 'Second rib'),
    ('25888004', 'Third rib'),
    ('25523003', 'Fourth rib'),
    ('15339008', 'Fifth rib'),
    ('59558009', 'Sixth rib'),
    ('24915002', 'Seventh rib'),
    ('5953002', 'Eighth rib'),
    ('22565002', 'Ninth rib'),
    ('77644006', 'Tenth rib'),
)
_ORGANS = {
    'lung': ('39607008', 'SCT', 'Lung'),
    'left lung': ('44029006', 'SCT', 'Left lung'),
    'right lung': ('3341006', 'SCT', 'Right lung'),
    'heart': ('80891009', 'SCT', 'Heart'),
    'clavicle': ('51299004', 'SCT', 'Clavicle'),
    'rib': ('113197003', 'SCT', 'Rib'),
    'thorax': ('51185008', 'SCT', 'Thoracic structure'),
}
_PLEURAL_EFFUSION = ('60046008', 'SCT', 'Pleural effusion')
_PULMONARY_EDEMA = ('19242006', 'SCT', 'Pulmonary edema')
_TUBERCULOSIS = ('154283005', 'SCT', 'Pulmonary tuberculosis')
_FIBROSIS = ('51615001', 'SCT', 'Fibrosis of lung')
_FINDINGS = {
    'atelectasis': ('46621007', 'SCT', 'Atelectasis'),
    'calcification': ('112063', 'DCM', 'Abnormal calcifications'),
    'cardiomegaly': ('8186001', 'SCT', 'Cardiomegaly'),
    'consolidation': ('95436008', 'SCT', 'Lung consolidation'),
    'covid-19': ('840539006', 'SCT', 'COVID-19'),
    'edema': _PULMONARY_EDEMA,
    'effusion': _PLEURAL_EFFUSION,
    'emphysema': ('87433001', 'SCT', 'Pulmonary emphysema'),
    'fibrosis': _FIBROSIS,
    'fracture': ('125605004', 'SCT', 'Fracture of bone'),
    'ild': ('233703007', 'SCT', 'Interstitial lung disease'),
    'infiltration': ('112121', 'DCM', 'Infiltrate'),
    'lung opacity': ('112001', 'DCM', 'Opacity'),
    'mass': ('4147007', 'SCT', 'Mass'),
    'nodule': ('27925004', 'SCT', 'Nodule'),
    'pleural effusion': _PLEURAL_EFFUSION,
    'pneumonia': ('233604007', 'SCT', 'Pneumonia'),
    'pneumothorax': ('36118008', 'SCT', 'Pneumothorax'),
    'pulmonary fibrosis': _FIBROSIS,
    'tb': _TUBERCULOSIS,
    'tuberculosis': _TUBERCULOSIS,
}
OWN_KEYS = ('value', 'scheme', 'meaning', 'category', 'side')
_LENGTHS = dict(value=16, scheme=16, meaning=64)
"""Longest that DICOM allows (PS3.5, 6.2: SH and LO)."""


@dataclass(frozen=True)
class ClassCode:
    """The coded terms of a class.

    Attributes:
        term (Code): What it is.
        category (Code): An anatomical structure or an abnormal one.
        side (Code, optional): Left or right, where the term does not say it.
    """

    term: Code
    category: Code = FINDING
    side: Code | None = None

    @property
    def known(self) -> bool:
        """bool: Whether it is from the table or a config."""
        return self.category != UNKNOWN


def find_code(
    name: str, own: Mapping[str, Mapping[str, Any]] | None = None
) -> ClassCode:
    """Return the coded terms of a class.

    Args:
        name (str): Class name, such as ``Left lung`` or ``R3`` (a rib).
        own (Mapping, optional): ``dicom_codes`` of a config: class name to
            ``value``, ``scheme``, ``meaning`` and, if wanted, ``category``
            (``finding``, the default, or ``anatomy``) and ``side``. It goes
            before the table. Defaults to None.

    Returns:
        ClassCode: A local code for a class that neither has.

    Raises:
        UserError: If ``own`` says what cannot be written.
    """
    if own and name in own:
        return _read_own(name, own[name])
    key = name.lower().replace('_', ' ')
    if key in _ORGANS:
        return ClassCode(Code(*_ORGANS[key]), ANATOMY)
    if key in _FINDINGS:
        return ClassCode(Code(*_FINDINGS[key]))
    rib = re.fullmatch(r'([rl])([1-9]|10)', key)
    if rib:
        value, meaning = _RIBS[int(rib[2]) - 1]
        side = SIDES['right' if rib[1] == 'r' else 'left']
        return ClassCode(Code(value, 'SCT', meaning), ANATOMY, side)
    digest = hashlib.sha256(name.encode()).hexdigest()[:12].upper()
    return ClassCode(Code(digest, PRIVATE, to_text(name)), UNKNOWN)


def to_text(text: str, length: int = 64) -> str:
    """Return a text that fits a DICOM string: no backslash, not too long."""
    return ' '.join(text.replace('\\', '/').split())[:length]


def _read_own(name: str, entry: Mapping[str, Any]) -> ClassCode:
    where = f'dicom_codes[{name!r}]'
    if not isinstance(entry, Mapping):
        raise UserError(
            f'{where} is {entry!r}; write dict(value=..., scheme=..., '
            'meaning=...).'
        )
    for key in entry:
        if key not in OWN_KEYS:
            raise UserError(
                f'{where} has no "{key}"; its keys are {", ".join(OWN_KEYS)}.'
            )
    for key, length in _LENGTHS.items():
        text = entry.get(key)
        if (
            not isinstance(text, str)
            or text != to_text(text, length)
            or (not text)
        ):
            raise UserError(
                f'{where}.{key} is {text!r}; write a text of 1 to {length} '
                'characters without backslashes.'
            )
    category, side = entry.get('category', 'finding'), entry.get('side')
    sides: dict[Any, Any] = {None: None, **SIDES}
    if category not in CATEGORIES or side not in sides:
        raise UserError(
            f'{where} has category {category!r} and side {side!r}; the '
            'category is finding or anatomy, the side left or right.'
        )
    term = Code(entry['value'], entry['scheme'], entry['meaning'])
    return ClassCode(term, CATEGORIES[category], sides[side])
