"""Patient IDs: under which name a file has them, and which are the same."""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fx_mm.utils.log import log_once
from fx_mm.utils.memory import without_garbage_collection

PATIENT = 'patient'
"""The column of a table, and the key of a COCO file's images."""
NAMES = (
    PATIENT, 'patientid', 'patientidentifier', 'patientuid', 'patientkey',
    'patientnumber', 'patientnum', 'patientno', 'patientnr', 'patientcode',
    'patid', 'ptid', 'pid', 'mrn', 'empi', 'subjectid', 'subject',
    'subjectnumber', 'subjectno', 'subjid', 'participantid', 'participant',
    'personid', 'person',
)  # fmt: skip
"""Names of the column, without case and signs, best first."""
UNKNOWN = frozenset((
    '', '-', '--', '?', 'nan', 'none', 'null', 'na', 'n/a', '<na>', '#n/a',
    'nil', 'unknown', 'missing', 'anonymous', 'anonymized', 'anonymised',
))  # fmt: skip
"""What stands in the cell of an image whose patient nobody knows."""
PEOPLE = frozenset((
    'patient', 'patients', 'subject', 'subjects', 'participant',
    'participants',
))  # fmt: skip
NUMBERS = frozenset((
    'id', 'ids', 'identifier', 'uid', 'key', 'code', 'number', 'num', 'no',
    'nr', 'sn', 'hash', 'name',
))  # fmt: skip
DISGUISES = frozenset((
    'anon', 'anonymous', 'anonymized', 'anonymised', 'deid', 'deidentified',
    'hash', 'hashed', 'pseudo', 'pseudonym', 'pseudonymized',
    'pseudonymised',
))  # fmt: skip
"""Words that make up the name of a column of patient IDs."""
LIKE_PEOPLE = PEOPLE | {'pt', 'pat', 'person', 'case', 'record'}
"""Words that may mean patients where one of NUMBERS is with them."""
_NUMBERED = re.compile(r'(\D*?)0*(\d+)(?:\.0+|,00?)?')
_SIGNS = re.compile(r'[\W_]+')
_WORDS = re.compile('[A-Z]?[a-z]+|[A-Z]+(?![a-z])')
_PERSON = re.compile('(patients?|subjects?)', re.IGNORECASE)
_INVISIBLE = re.compile('[\xad\u200b-\u200f\u2060\ufeff]')
_AROUND = ' \'"()[]{}<>./'
_PREFIX = re.compile(
    '(?:patients?|pat|pt|p|subject|subj|sub|participant|person|id|number|num|'
    'no|nr|case|mrn)*'
)
"""Words that only say that a number is a patient's."""
_MAYBE = frozenset(('s', 'sj', 'sbj', 'rec', 'record', 'volunteer', 'uid'))
"""Words that say so too, unless there are IDs of another form."""
_WORDED = re.compile(r'([^\W\d_]+)(\d+)')


class Unified(NamedTuple):
    """Patient IDs of which each stands for one patient.

    Attributes:
        names (dict[str, str]): Each ID as written, to the one that stands
            for the patient.
        variants (dict[str, list[str]]): The latter, where a patient is
            written in several ways, to all of these.
    """

    names: dict[str, str]
    variants: dict[str, list[str]]

    def describe(self) -> str:
        """Return how many patients are written in several ways, and which."""
        shown = [
            ' and '.join(f'"{text}"' for text in texts[:3])
            for texts in list(self.variants.values())[:3]
        ]
        return (
            f'{len(self.variants)} patients are written in several ways and '
            f'count as one each: {"; ".join(shown)}'
            + (', ...' if len(self.variants) > 3 else '')
        )


def find_patient_name(names: Iterable[str]) -> str | None:
    """Find the column, or key, with the patient IDs.

    The best of :data:`NAMES`; where none is there, the only name that is
    made up of such words, such as ``anon_patient_id`` or ``PatientName``.

    Args:
        names (Iterable[str]): Names of all columns, such as ``Patient ID``.

    Returns:
        str, optional: The likeliest of them, None if none looks like it.
    """
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(_SIGNS.sub('', name).casefold(), name)
    exact = next((found[name] for name in NAMES if name in found), None)
    if exact is not None:
        return exact
    likely = [name for name in found.values() if _is_likely(name)]
    return likely[0] if len(likely) == 1 else None


def warn_of_patients(file: str, names: Iterable[str]) -> None:
    """Warn of names that may mean patients, but are too unlike or many.

    Args:
        file (str): The file that has them, for the log.
        names (Iterable[str]): Of which :func:`find_patient_name` finds none.
    """
    doubtful = sorted(filter(_is_doubtful, names))
    if doubtful:
        shown = ', '.join(f'"{name}"' for name in doubtful[:5])
        log_once(
            f'{file}: takes no patient IDs, though {shown} may be them; name '
            f'the one that has them "{PATIENT}".',
            logging.WARNING,
        )


def _words(name: str) -> set[str]:
    words = _WORDS.findall(_PERSON.sub(r' \1 ', name))
    return {word.lower() for word in words}


def _is_likely(name: str) -> bool:
    """Whether a name says patients, how they are told and nothing else."""
    words = _words(name)
    return bool(words & PEOPLE) and words <= PEOPLE | NUMBERS | DISGUISES


def _is_doubtful(name: str) -> bool:
    words = _words(name)
    return (
        bool(words & {'mrn', 'caseid', 'caseno', 'recordid'})
        or _is_likely(name)
        or bool(words & LIKE_PEOPLE and words & NUMBERS)
    )


def read_patient(value: object) -> str | None:
    """Return a patient ID as text; None if it says that nobody knows it."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    text = str(value).strip()
    return None if text.casefold() in UNKNOWN else text


def patient_key(text: str) -> str:
    """Return what IDs of the same patient have in common.

    Case, blanks, brackets, signs before the number, zeros before it, a full
    stop or slash behind it and the ``.0`` that a table program adds to it do
    not count, nor words such as ``patient`` before it: 13, 13.0, 0013, (13),
    P13 and ``Patient_13`` are the same. Other words before it count: A13 and
    B13 differ.

    Args:
        text (str): The ID as written.
    """
    if text.isascii() and text.isdigit():  # most are, and there are many
        return text.lstrip('0') or '0'
    text = _INVISIBLE.sub('', text)
    text = unicodedata.normalize('NFKC', text).casefold()
    text = unicodedata.normalize('NFKC', text)
    text = ' '.join(text.split())
    text = text.lstrip(_AROUND).rstrip(_AROUND + '_-') or text
    match = _NUMBERED.fullmatch(text)
    if match is None:
        return text
    prefix = _SIGNS.sub('', match[1])
    return ('' if _PREFIX.fullmatch(prefix) else prefix) + match[2]


def unify_patients(patients: Iterable[str]) -> Unified:
    """Find the IDs that stand for the same patient.

    S-013 is patient 13 (a subject, as P-013), unless there are IDs of another
    form than these two, such as T-013: then the letters may be sites or
    studies, each with its own patient 13.

    Args:
        patients (Iterable[str]): IDs as written, as often as they are.

    Returns:
        Unified: IDs that are written in one way stay as they are.
    """
    written: dict[str, list[str]] = defaultdict(list)
    with without_garbage_collection():
        for text in sorted(set(patients)):
            written[patient_key(text)].append(text)
        words = dict(_words_before(written))
        if len(set(words.values())) == 1 and _MAYBE.issuperset(words.values()):
            for key, word in words.items():
                written[key.removeprefix(word)] += written.pop(key)
    return Unified(
        {
            text: key if len(texts) > 1 else text
            for key, texts in written.items()
            for text in texts
        },
        {key: written[key] for key in sorted(written) if written[key][1:]},
    )


def _words_before(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys that are no numbers, with the word before the number.

    Of those that are no word and number, all of it.
    """
    for key in keys:
        if not key.isdigit():
            match = _WORDED.fullmatch(key)
            yield key, match[1] if match else key
