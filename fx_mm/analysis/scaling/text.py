"""A scaling report in Markdown."""

from collections.abc import Mapping
from typing import Any

from fx_mm.analysis.scaling.study import NOTHING
from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.utils.text_table import markdown_table

UNDEFINED = 'n/a'
Entry = Mapping[str, Any]


def to_markdown(content: Entry, picture: str) -> str:
    """Write a report.

    Args:
        content (Mapping): Of ``build_report``.
        picture (str): File of the curves, relative to the text.
    """
    parts = [f'# Scaling study\n\n![]({picture})\n', _about(content)]
    for name in content['targets']:
        parts += [
            _results(content, name),
            _fits(content, name),
            _diversity(content, name),
        ]
    return '\n'.join(filter(None, parts))


def _about(content: Entry) -> str:
    sizes = ', '.join(
        f'{name} {count:,}' for name, count in content['parameters'].items()
    )
    done = ', '.join(
        f'{each["finished"]} of {each["all"]} {name}'
        for name, each in content['runs'].items()
    )
    count = len(content['seeds'])
    over = (
        f'{count} seeds of training patients, order and weights, by '
        "Student's distribution: with few seeds they are wide"
    )
    if count == 1:
        over = (
            'no seeds: one says nothing of how another training would differ'
        )
    return (
        f'Runs finished: {done}. Parameters of the backbone: {sizes}.\n\n'
        f'Intervals are {LEVEL:.0%}, over {content["resamples"]} resamples of '
        f'the test patients and over {over}. A row of one seed has that of '
        'the patients alone.\n'
    )


def _results(content: Entry, name: str) -> str:
    target = content['targets'][name]
    count = 'all' if target['images'] is None else target['images']
    own = [e for e in content['results'] if e['target'] == name]
    rows = [
        [
            each['method'],
            each['size'],
            each['data'] or '',
            '' if each['images'] is None else f'{each["images"]:.0f}',
            len(each['seeds']),
            _estimate(each['metric'], '.3f'),
            '' if each['method'] == NOTHING else _gain(each['gain']),
        ]
        for each in own
    ]
    header = ('pretraining', 'size', 'data', 'images', 'seeds')
    return (
        f'## {name}: {target["task"]}\n\n{target["how"].capitalize()} on '
        f'{count} training images.\n\n'
        + markdown_table(
            [*header, target['metric'], f'gain over {NOTHING}'], rows
        )
        + '\n'
    )


def _fits(content: Entry, name: str) -> str:
    rows = []
    for each in content['fits']:
        if each['target'] != name:
            continue
        row = [each['method'], each['along'], each['at'], each['seeds']]
        if not each['seeds']:
            rows.append([*row, *['no seed has all points'] * 3])
            continue
        ours, constant = each['prediction_error'].values()
        rows.append(
            [
                *row,
                _gain(each['exponent']),
                _gain(each['metric_exponent'], '+.4f'),
                UNDEFINED if ours is None else f'{ours:.4f} / {constant:.4f}',
            ]
        )
    if not rows:
        return ''
    metric = content['targets'][name]['metric']
    return (
        f'b of ln(1 - {metric}) = a - b ln(x) and of ln({metric}) = a + b '
        'ln(x); mean error with which each point is predicted from the '
        'others, by the law and by their mean.\n\n'
        + markdown_table(
            [
                *('pretraining', 'x', 'at', 'seeds', 'b of the error'),
                *('b of the metric', 'left out: law / mean'),
            ],
            rows,
        )
        + '\n'
    )


def _diversity(content: Entry, name: str) -> str:
    rows = [
        [
            each['method'],
            each['size'],
            each['images'],
            _gain(each['difference']),
        ]
        for each in content['diversity']
        if each['target'] == name
    ]
    if not rows:
        return ''
    return (
        'The same number of images from all datasets together, less the mean '
        'of each alone.\n\n'
        + markdown_table(('pretraining', 'size', 'images', 'difference'), rows)
        + '\n'
    )


def _estimate(entry: Entry, style: str) -> str:
    if entry['value'] is None:
        return UNDEFINED
    value, low, high = (
        UNDEFINED if entry[key] is None else format(entry[key], style)
        for key in ('value', 'low', 'high')
    )
    return f'{value} [{low}, {high}]'


def _gain(entry: Entry | None, style: str = '+.3f') -> str:
    """Write an estimate, bold where its interval excludes 0."""
    if entry is None:
        return UNDEFINED
    text = _estimate(entry, style)
    low, high = entry['low'], entry['high']
    known = low is not None and high is not None
    return f'**{text}**' if known and (low > 0 or high < 0) else text
