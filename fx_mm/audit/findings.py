"""What an audit finds, each with a name by which it can be allowed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LEVELS = ('leak', 'error', 'warning', 'note')
"""From worst to mildest; the first two fail an audit unless allowed."""
FAILING = LEVELS[:2]
MAX_EXAMPLES = 20


@dataclass
class Finding:
    """One thing that an audit found.

    Attributes:
        check (str): What was found, such as ``shared-patients``.
        places (tuple[str]): Where: ``dataset``, ``dataset/split``,
            ``dataset/kind`` or ``dataset/kind/split``; two of them where
            they share something.
        level (str): ``leak``: test or validation is known from training;
            ``error``: data that cannot be used; ``warning``: probably a
            mistake; ``note``: worth knowing.
        message (str): One sentence.
        count (int): How many images, patients, boxes, ...
        examples (list): Up to 20 of them, texts or lists of texts.
        allowed (bool): Whether the user allowed it by name.
    """

    check: str
    places: tuple[Any, ...]
    level: str
    message: str
    count: int = 1
    examples: list[Any] = field(default_factory=list)
    allowed: bool = False

    def __post_init__(self) -> None:
        self.examples = list(self.examples)[:MAX_EXAMPLES]

    @property
    def name(self) -> str:
        """str: ``check:place`` or ``check:place:place``; never changes."""
        return ':'.join((self.check, *self.places))

    @property
    def fails(self) -> bool:
        """bool: Whether it makes the audit fail."""
        return self.level in FAILING and not self.allowed

    def to_dict(self) -> dict[Any, Any]:
        """Return all of it for a JSON file."""
        entry = dict(name=self.name, **asdict(self))
        return dict(entry, places=list(self.places))


def allow(findings: Iterable[Finding], entries: Sequence[str]) -> list[str]:
    """Mark the findings that a user allows.

    An entry is a finding's name or less of it: its parts (between colons)
    must be parts of the name, or what they begin with up to a slash, in any
    order. So ``nih14:rsna`` allows all that these two datasets share,
    ``near-duplicates:nih14/train:rsna/test`` one finding, and
    ``shared-patients`` that check everywhere. The name of one dataset alone
    is not enough.

    Args:
        findings (Iterable[Finding]): Are changed.
        entries (Sequence[str]): What is allowed.

    Returns:
        list[str]: The entries that allow nothing.
    """
    return _mark(findings, {entry: dict(allowed=True) for entry in entries})


def set_levels(
    findings: Iterable[Finding], levels: Mapping[str, str]
) -> list[str]:
    """Set the levels that a user chose instead of the usual ones.

    Args:
        findings (Iterable[Finding]): Are changed.
        levels (Mapping[str, str]): What :func:`allow` takes, to a level; of
            several that fit a finding, the last counts.

    Returns:
        list[str]: The entries that fit nothing.
    """
    return _mark(findings, {e: dict(level=v) for e, v in levels.items()})


def _mark(
    findings: Iterable[Finding], entries: Mapping[str, dict[str, Any]]
) -> list[str]:
    """Set attributes of what entries name; return those that name nothing."""
    findings = list(findings)
    idle = []
    for entry, values in entries.items():
        found = [each for each in findings if _matches(entry, each)]
        for each in found:
            vars(each).update(values)
        if not found:
            idle.append(entry)
    return idle


def _matches(entry: str, finding: Finding) -> bool:
    parts = [part.strip() for part in entry.split(':')]
    names_check = finding.check in parts
    if names_check:
        parts.remove(finding.check)
    elif len(parts) < 2:
        return False
    places = list(finding.places)
    # the longest first, so that "a:a/train" does not take a's only place
    for part in sorted(parts, key=len, reverse=True):
        for place in places:
            if place == part or place.startswith(part + '/'):
                places.remove(place)
                break
        else:
            return False
    return True


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Sort: what fails first, then by level, then by number."""
    return sorted(
        findings,
        key=lambda f: (f.allowed, LEVELS.index(f.level), -f.count, f.name),
    )
