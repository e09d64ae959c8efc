"""How much of a model a checkpoint covers, by parameter group."""

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
class GroupCoverage:
    """How many weights of a parameter group a checkpoint holds.

    Attributes:
        name (str): Name of the group, such as ``'chexpert/cls/head'``.
        aliases (tuple[str]): What else names it, and others, in
            ``--allow-missing``: its branch, the branch with the last word of
            its name (``'classification/head'``) and its task, from wide to
            narrow.
        matched (int): Weights of the group in the checkpoint.
        missing (int): Those that are not.
    """

    name: str
    aliases: tuple[str, ...]
    matched: int = 0
    missing: int = 0


def count_groups(
    model: FoundationX, given: Collection[str]
) -> list[GroupCoverage]:
    """Count the weights that a checkpoint holds of each group of a model.

    Args:
        model (FoundationX): The model.
        given (Collection[str]): Names of the weights in the checkpoint.
    """
    groups = model.param_groups()
    rows = {g.name: GroupCoverage(g.name, _aliases(g)) for g in groups}
    for name in model.state_dict():
        owner = next((g.name for g in groups if g.owns(name)), OTHER)
        row = rows.setdefault(owner, GroupCoverage(owner, ()))
        if name in given:
            row.matched += 1
        else:
            row.missing += 1
    return list(rows.values())


def _aliases(group: ParamGroup) -> tuple[str, ...]:
    """Return names of a group and others: branch, kind of group, task."""
    branch = group.modules[0].partition('.')[0]
    if group.task is None:
        return () if branch == group.name else (branch,)
    return branch, f'{branch}/{group.name.rsplit("/", 1)[1]}', group.task


def check_missing(
    rows: Sequence[GroupCoverage], allowed: Sequence[str], source: str
) -> None:
    """Refuse a checkpoint that holds less than the model needs.

    Args:
        rows (Sequence[GroupCoverage]): Result of :func:`count_groups`.
        allowed (Sequence[str]): Names or aliases of groups that may start
            with random weights.
        source (str): The checkpoint, for the message.

    Raises:
        UserError: Names the groups that lack weights, or a group that is
            unknown.
    """
    known = {word for row in rows for word in (row.name, *row.aliases)}
    for word in allowed:
        if word not in known:
            raise UserError(
                f'--allow-missing names "{word}", which is no parameter '
                f'group of the model; {suggest(word, known)}.'
            )
    lacking = [
        row
        for row in rows
        if row.missing and not {row.name, *row.aliases} & {*allowed}
    ]
    if lacking:
        count = sum(row.missing for row in lacking)
        raise UserError(
            f'Checkpoint "{source}" lacks {count} weights that the model of '
            'the config needs; nothing is written, unless they may start '
            'at random: then add --allow-missing '
            f'{" ".join(_short(rows, lacking))}'
        )


def _short(
    rows: Sequence[GroupCoverage], lacking: Sequence[GroupCoverage]
) -> list[str]:
    """Return the fewest names that stand for just these groups."""
    names = {row.name for row in lacking}
    words: dict[str, None] = {}
    for row in lacking:
        for word in (*row.aliases, row.name):
            members = {r.name for r in rows if word in (r.name, *r.aliases)}
            if members <= names:
                words[word] = None
                break
    return list(words)


def format_report(
    rows: Sequence[GroupCoverage], unused: Mapping[str, str]
) -> str:
    """Format the counts, and what of the source is not used, as tables.

    Args:
        rows (Sequence[GroupCoverage]): Result of :func:`count_groups`.
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
    text = console_table(('parameter group', 'matched', 'missing'), counts)
    if unused:
        groups = Counter(map(_origin, unused.items()))
        header = ('part of the source', 'why it is not used', 'unexpected')
        reasons = [(word, why, n) for (word, why), n in groups.items()]
        text += '\n\n' + console_table(header, reasons, left=2)
    return text


def _origin(entry: tuple[str, str]) -> tuple[str, str]:
    """Return what unused keys have in common: a word and the reason."""
    key, why = entry
    if why.startswith('the same as '):
        why = 'the same as another weight of the file'
    return key.removeprefix('backbone.0.').partition('.')[0], why
