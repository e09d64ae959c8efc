"""What of a model a checkpoint gives, part by part."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.param_groups import ParamGroup
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_table import console_table

OTHER = 'other'


@dataclass
class PartRow:
    """How much of a part is given.

    Attributes:
        name (str): Name of the part, such as ``'chexpert/cls/head'``.
        groups (tuple[str]): What else stands for it in ``--allow-missing``:
            its branch, the branch with the last word of its name
            (``'classification/head'``) and its task, from wide to narrow.
        matched (int): Weights of the part that are given.
        missing (int): Those that are not.
    """

    name: str
    groups: tuple[str, ...]
    matched: int = 0
    missing: int = 0


def count_parts(model: FoundationX, given: Collection[str]) -> list[PartRow]:
    """Count the given weights of each part of a model.

    Args:
        model (FoundationX): The model.
        given (Collection[str]): Names of the weights.
    """
    groups = model.param_groups()
    rows = {g.name: PartRow(g.name, _owners(g)) for g in groups}
    for name in model.state_dict():
        owner = next((g.name for g in groups if g.owns(name)), OTHER)
        row = rows.setdefault(owner, PartRow(owner, ()))
        if name in given:
            row.matched += 1
        else:
            row.missing += 1
    return list(rows.values())


def _owners(group: ParamGroup) -> tuple[str, ...]:
    """Names that stand for a group and others: branch, kind of group, task."""
    branch = group.modules[0].partition('.')[0]
    if group.task is None:
        return () if branch == group.name else (branch,)
    return branch, f'{branch}/{group.name.rsplit("/", 1)[1]}', group.task


def check_missing(
    rows: Sequence[PartRow], allowed: Sequence[str], source: str
) -> None:
    """Refuse what gives less than the model asks for.

    Args:
        rows (Sequence[PartRow]): Result of :func:`count_parts`.
        allowed (Sequence[str]): Parts, or groups of them, that may start at
            random.
        source (str): The checkpoint, for the message.

    Raises:
        UserError: Names the parts that lack weights, or a part that is not
            known.
    """
    known = {word for row in rows for word in (row.name, *row.groups)}
    for word in allowed:
        if word not in known:
            raise UserError(
                f'--allow-missing names "{word}", which is no part of the '
                f'model; {suggest(word, known)}.'
            )
    lacking = [
        row
        for row in rows
        if row.missing and not {row.name, *row.groups} & {*allowed}
    ]
    if lacking:
        count = sum(row.missing for row in lacking)
        raise UserError(
            f'Checkpoint "{source}" lacks {count} weights that the model of '
            'the config asks for; nothing is written, unless they may start '
            'at random: then add --allow-missing '
            f'{" ".join(_short(rows, lacking))}'
        )


def _short(rows: Sequence[PartRow], lacking: Sequence[PartRow]) -> list[str]:
    """The fewest words for parts: groups that lack as a whole."""
    names = {row.name for row in lacking}
    words: dict[str, None] = {}
    for row in lacking:
        for word in (*row.groups, row.name):
            members = {r.name for r in rows if word in (r.name, *r.groups)}
            if members <= names:
                words[word] = None
                break
    return list(words)


def format_report(rows: Sequence[PartRow], unused: Mapping[str, str]) -> str:
    """Lay out the counts, and what of the source is not used, as tables.

    Args:
        rows (Sequence[PartRow]): Result of :func:`count_parts`.
        unused (Mapping[str, str]): Key of the source to the reason.
    """
    counts = [(row.name, row.matched, row.missing) for row in rows]
    counts.append(
        (
            'all',
            sum(row.matched for row in rows),
            sum(row.missing for row in rows),
        )
    )
    text = console_table(('part of the model', 'matched', 'missing'), counts)
    if unused:
        groups = Counter(map(_origin, unused.items()))
        header = ('part of the source', 'why it is not used', 'unexpected')
        reasons = [(word, why, n) for (word, why), n in groups.items()]
        text += '\n\n' + console_table(header, reasons, left=2)
    return text


def _origin(entry: tuple[str, str]) -> tuple[str, str]:
    """What keys without a use have in common: a word and the reason."""
    key, why = entry
    if why.startswith('the same as '):
        why = 'the same as another weight of the file'
    return key.removeprefix('backbone.0.').partition('.')[0], why
