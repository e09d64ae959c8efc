"""Labels: how often each is true, unknown or together with another."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from fx_mm.audit.findings import Finding
from fx_mm.audit.task_splits import FACTS, TaskSplit
from fx_mm.datasets.presence import presence
from fx_mm.datasets.readers.masks import SHARED, MaskReader
from fx_mm.datasets.readers.patient_ids import find_patient_name
from fx_mm.datasets.readers.patients import reader_of
from fx_mm.image_io.masks import IGNORE
from fx_mm.utils.errors import UserError

LABEL_VALUES = {'', '0', '1', '-1', '0.0', '1.0', '-1.0', 'nan'}
LOOKED_AT = 1000
"""Rows that decide whether a column of a table holds labels."""
SHIFT = 5.0
"""Ratio of a class's prevalence in two splits that is worth a warning ..."""
MIN_EXPECTED = 10
"""... where at least so many positives would have been expected."""
MIN_POSITIVE = 10
"""Positives from which it is odd that a class has no negative."""


def label_table(split: TaskSplit) -> dict[Any, Any]:
    """Count a split's labels.

    Returns:
        dict: ``images``, ``patients``, and by class ``positive``,
        ``negative``, ``unknown`` (numbers of images) and ``prevalence``
        (positive share of the known, None without); ``together``: number of
        images with both classes, shape (C, C); ``none``: images of which no
        class is positive.
    """
    scores = presence(split.task, split.records)
    positive = scores >= 0.5
    unknown = np.isnan(scores)
    known = (~unknown).sum(0)
    classes = {}
    for index, name in enumerate(split.task.classes[: scores.shape[1]]):
        number = int(positive[:, index].sum())
        classes[name] = dict(
            positive=number,
            negative=int(known[index]) - number,
            unknown=int(unknown[:, index].sum()),
            prevalence=number / int(known[index]) if known[index] else None,
        )
    both = positive.astype(np.float32)
    return dict(
        images=len(split.names),
        patients=len(set(split.patients)) if split.known_patients else None,
        classes=classes,
        together=(both.T @ both).astype(int).tolist(),
        none=int((~positive.any(1)).sum()),
    )


def find_label_oddities(
    split: TaskSplit, table: dict[Any, Any]
) -> Iterator[Finding]:
    """Find classes without positives, negatives or labels, in one split.

    Nothing is learned of the labels of a kind that takes images alone.
    """
    if split.task.kind.unlabelled and split.split == 'train':
        return
    classes, total = table['classes'], table['images']
    place = (split.name,)
    unlabelled = [n for n, c in classes.items() if c['unknown'] == total]
    if unlabelled:
        yield Finding(
            'no-labels',
            place,
            'warning',
            f'Of no image of {split.name} it is known whether it has: '
            f'{", ".join(unlabelled)}.',
            len(unlabelled),
            unlabelled,
        )
    never = [
        name
        for name, counts in classes.items()
        if not counts['positive'] and name not in unlabelled
    ]
    if never:
        effect = (
            'nothing can be learned of them'
            if split.split == 'train'
            else 'their metric is undefined'
        )
        yield Finding(
            'no-positives',
            place,
            'warning',
            f'{len(never)} of {len(classes)} classes are never positive in '
            f'{split.name}, {effect}: {", ".join(never)}.',
            len(never),
            never,
        )
    if not split.records.has('gt_score'):
        return
    always = [
        name
        for name, counts in classes.items()
        if counts['positive'] >= MIN_POSITIVE and not counts['negative']
    ]
    if always:
        yield Finding(
            'no-negatives',
            place,
            'warning',
            f'These classes are never negative in {split.name} (are blank '
            f'cells meant as 0?): {", ".join(always)}.',
            len(always),
            always,
        )
    unknown = sum(counts['unknown'] for counts in classes.values())
    if unknown:
        share = unknown / (total * len(classes))
        yield Finding(
            'unknown-labels',
            place,
            'note',
            f'{share:.1%} of the labels of {split.name} are unknown or '
            'uncertain.',
            unknown,
            [f'{n}: {c["unknown"]}' for n, c in classes.items()],
        )


def find_shifts(task: str, tables: dict[Any, Any]) -> Iterator[Finding]:
    """Find classes that one split has far more often than the next.

    Args:
        task (str): Name of the task.
        tables (dict): Split to its :func:`label_table`.
    """
    for (a, first), (b, second) in pairwise(tables.items()):
        shifted = []
        for name, counts in first['classes'].items():
            other = second['classes'][name]
            p, q = counts['prevalence'], other['prevalence']
            if not p or not q:
                continue
            # positives that each would have at the other's prevalence
            expected = min(
                q * (counts['positive'] + counts['negative']),
                p * (other['positive'] + other['negative']),
            )
            if max(p / q, q / p) > SHIFT and expected > MIN_EXPECTED:
                shifted.append(f'{name} {p:.1%} and {q:.1%}')
        if shifted:
            yield Finding(
                'shifted-labels',
                (f'{task}/{a}', f'{task}/{b}'),
                'warning',
                f'Classes of {task} that are more than {SHIFT:g} times as '
                f'frequent in {a} as in {b}, or the reverse: '
                f'{", ".join(shifted)}.',
                len(shifted),
                shifted,
            )


def find_disagreements(splits: Iterable[TaskSplit]) -> list[Finding]:
    """Find images whose labels say another thing than boxes or masks.

    Compared are the tasks of one dataset, classes of the same name, images
    of the same file; unknown labels agree with anything.
    """
    splits = list(splits)
    labelled = [split for split in splits if split.records.has('gt_score')]
    findings = []
    for key, word in (('box_labels', 'box'), ('mask_paths', 'mask')):
        for split in splits:
            if split.records.has(key):
                own = [
                    p for p in labelled if p.task.dataset == split.task.dataset
                ]
                findings += _compare(split, own, word)
    return findings


def _compare(
    split: TaskSplit, labelled: Iterable[TaskSplit], word: str
) -> list[Any]:
    drawn = presence(split.task, split.records)
    if not drawn.shape[1]:
        return []
    columns = {name.lower(): i for i, name in enumerate(split.task.classes)}
    rows = {path: row for row, path in enumerate(split.paths)}
    only_label, only_drawn = [], []
    for other in labelled:
        shared = [
            (mine, columns[name.lower()], name)
            for mine, name in enumerate(other.task.classes)
            if name.lower() in columns
        ]
        if not shared or rows.keys().isdisjoint(other.paths):
            continue
        scores = presence(other.task, other.records)
        for index, path in enumerate(other.paths):
            row = rows.get(path)
            if row is None:
                continue
            for mine, yours, name in shared:
                label, there = scores[index, mine], drawn[row, yours]
                if label >= 0.5 and not there:
                    only_label.append(f'{other.names[index]}: {name}')
                elif label < 0.5 and there:
                    only_drawn.append(f'{other.names[index]}: {name}')
    findings = []
    for check, found, text in (
        (f'label-without-{word}', only_label, f'a label but no {word}'),
        (f'{word}-without-label', only_drawn, f'a {word} but label 0'),
    ):
        if found:
            findings.append(
                Finding(
                    check,
                    (split.name,),
                    'warning',
                    f'{len(found)} times, an image and class of {split.name} '
                    f'have {text}.',
                    len(found),
                    found,
                )
            )
    return findings


def find_unused_classes(split: TaskSplit) -> Iterator[Finding]:
    """Find columns of a table that look like labels and are no class.

    (A class without its column is an error of the reader.)
    """
    try:
        table = reader_of(split.task).open_table(split.ann_file, split.task)
        if table is None:
            return
        reader = split.task.config['reader']
        masks = MaskReader.__name__ in str(reader['type'])
        keys = ('image_column', 'findings_column')
        known = {
            *split.task.classes,
            find_patient_name(table.header),
            *FACTS,
            *map(reader.get, keys),
            *(reader.get('where') or ()),
            *([SHARED, IGNORE] if masks else []),
        }
        extra = {
            index: name
            for index, name in enumerate(table.header)
            if name and index and name not in known
        }
        filled = set()
        for count, (_, cells) in enumerate(table):
            if count == LOOKED_AT:
                break
            for index in list(extra):
                cell = cells[index].strip().lower()
                if cell:
                    filled.add(index)
                if not masks and cell not in LABEL_VALUES:
                    del extra[index]
    except UserError:
        # Said by the reader already.
        return
    unused = [name for index, name in extra.items() if index in filled]
    if unused:
        yield Finding(
            'unused-classes',
            (split.name,),
            'note',
            f'{split.ann_file} has columns that look like classes and are '
            f'none of the task: {", ".join(unused)}.',
            len(unused),
            unused,
        )
