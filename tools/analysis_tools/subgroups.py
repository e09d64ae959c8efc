"""AUC by sex and age group, and the gaps between them.

    python tools/analysis_tools/subgroups.py SCORES TABLE

SCORES: predictions of labels that ``tools/test.py --save-predictions`` wrote
(.npz), or a CSV file with a column ``image`` and a column of scores per class:
``DATASET_scores.csv`` of linear_probe.py, ``scores.csv`` of zero_shot.py, or
``probabilities.csv`` of predict.py with ``--task``. TABLE: the prepared table
of the same split, such as data/chexpert/prepared/test.csv, with ``sex`` or
``age``. Writes ``subgroups.json`` and ``subgroups.md``.
"""

import argparse
from math import isnan
from pathlib import Path

from fx_mm.analysis.reports import write_json
from fx_mm.analysis.subgroups import (
    AGES,
    ALL,
    Group,
    age_groups,
    compare_groups,
    labels_of,
    patients_of,
    read_metadata,
    read_scores,
    sex_groups,
)
from fx_mm.evaluation.statistics.bootstrap import LEVEL, RESAMPLES
from fx_mm.evaluation.statistics.multiplicity import NAMES
from fx_mm.utils.cli import (
    add_bootstrap_options,
    add_interval_options,
    run_tool,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table

import numpy as np


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('scores')
    parser.add_argument('table')
    parser.add_argument('--task', help='of a CSV file, such as nih14/cls')
    parser.add_argument('--classes', nargs='+', help='only these')
    parser.add_argument(
        '--ages',
        nargs='+',
        type=int,
        default=list(AGES),
        help='first years of the groups (default: 18 40 60 80)',
    )
    parser.add_argument(
        '--out', type=Path, help='folder (default: that of the scores)'
    )
    add_bootstrap_options(parser, RESAMPLES)
    add_interval_options(parser)
    args = parser.parse_args()
    if args.ages != sorted(set(args.ages)):
        parser.error('--ages must ascend')
    return args


def find_groups(
    metadata: dict[str, list[str]], args: argparse.Namespace
) -> dict[str, dict[str, np.ndarray]]:
    """Return the groups by sex and by age, as far as the table has them.

    Raises:
        UserError: If it has neither sex nor age.
    """
    found = {}
    for key, make in (
        ('sex', sex_groups),
        ('age', lambda texts: age_groups(texts, args.ages)),
    ):
        groups = {
            name: mask
            for name, mask in make(metadata.get(key, ())).items()
            if mask.any()
        }
        if len(groups) > 1:
            found[key] = groups
        else:
            print(f'{args.table}: no two groups by {key}.')
    if not found:
        raise UserError(
            f'{args.table}: has neither two sexes nor two age groups of '
            'these images; it needs a column sex or age.'
        )
    return found


def gap_cells(group: Group) -> list[str]:
    """Write a gap, bold where its adjusted p is below 1 less the level."""
    gap = str(group.gap)
    if group.p_adjusted < 1 - LEVEL:
        gap = f'**{gap}**'
    return [gap, *map(p_text, (group.p, group.p_adjusted))]


def p_text(p: float) -> str:
    """Write a p-value."""
    return 'n/a' if isnan(p) else f'{p:.3f}'


def main() -> None:
    args = parse_args()
    given = read_scores(args.scores, args.task)
    metadata = read_metadata(args.table, given.names)
    classes = args.classes or [
        name
        for name in given.classes
        if given.labels is not None or name in metadata
    ]
    if not classes:
        raise UserError(
            f'{args.table}: has labels of none of the classes of '
            f'{args.scores}: {", ".join(given.classes)}.'
        )
    for name in classes:
        if name not in given.classes:
            raise UserError(
                f'{args.scores}: has no scores of "{name}"; it has '
                f'{", ".join(given.classes)}.'
            )
    columns = [given.classes.index(name) for name in classes]
    labels = given.labels
    labels = (
        labels_of(metadata, classes) if labels is None else labels[:, columns]
    )
    patients = given.patients or patients_of(metadata, given.names)
    texts, content = [], {}
    for key, groups in find_groups(metadata, args).items():
        report = compare_groups(
            labels,
            given.scores[:, columns],
            classes,
            groups,
            args.resamples,
            args.seed,
            patients,
            args.bca,
            args.correction,
        )
        rows = [
            [name, group, f'{x.positive}/{x.negative}', x.auc]
            + (['', '', ''] if group == ALL else gap_cells(x))
            for name, each in report.items()
            for group, x in each.items()
        ]
        header = ('class', key, '+/-', 'AUC [95 %]', 'gap to others [95 %]')
        header += ('p', f'p, all gaps ({NAMES[args.correction]})')
        texts.append(f'## {key}\n\n{markdown_table(header, rows)}\n')
        content[key] = {
            name: {
                group: dict(
                    positive=x.positive,
                    negative=x.negative,
                    auc=x.auc.to_dict(),
                    gap=x.gap.to_dict(),
                    p=None if isnan(x.p) else x.p,
                    p_adjusted=None if isnan(x.p_adjusted) else x.p_adjusted,
                )
                for group, x in each.items()
            }
            for name, each in report.items()
        }
    out = args.out or Path(args.scores).parent
    meta = dict(
        scores=Path(args.scores).name,
        table=Path(args.table).name,
        images=len(given.names),
        resamples=args.resamples,
        seed=args.seed,
        method='BCa' if args.bca else 'percentile',
        correction=args.correction,
    )
    write_json(out / 'subgroups.json', dict(meta, groups=content))
    text = '\n'.join(texts)
    write_whole(out / 'subgroups.md', text)
    print(text)


if __name__ == '__main__':
    run_tool(main)
