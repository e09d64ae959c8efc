"""A stability report as Markdown."""

from collections.abc import Mapping
from typing import Any

from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.utils.text_table import markdown_table

UNDEFINED = 'n/a'
ANSWERS = {True: 'yes', False: '**no**', None: 'not tried'}


def to_markdown(content: Mapping[str, Any], picture: str) -> str:
    """Lay a report out.

    Args:
        content (Mapping): Of :func:`.report.build_report`.
        picture (str): Name of the picture's file.
    """
    claim = content['claim']
    parts = [
        f'# {claim["text"]}',
        f'The claim **{content["verdict"]}**. It is: {claim["metric"]} of '
        f'"{claim["better"]}" minus "{claim["than"]}" is above '
        f'{-claim["margin"]:g}. Seeds: '
        f'{", ".join(map(str, content["seeds"]))}; intervals are of '
        f'{LEVEL:.0%}.',
        markdown_table(
            ['tried', 'passed'],
            [[c['what'], ANSWERS[c['passed']]] for c in content['checks']],
        ),
        f'![]({picture})',
        *_depends(content['stability']),
        *_predictability(content),
        *_stability(content['stability']),
        *_sets(content['prediction_sets']),
        *_computability(content['computability']),
        *_calls(content['judgement_calls']),
    ]
    if content['missing']:
        parts += [
            f'## Not finished\n\n{len(content["missing"])} runs are missing: '
            + '; '.join(content['missing'])
            + '.'
        ]
    return '\n\n'.join(parts) + '\n'


def _depends(stability: Mapping[str, Any]) -> list[str]:
    return [
        f'**The claim depends on the {each["factor"]}**: it holds for '
        f'{_names(each["holds_for"])}, and not for '
        f'{_names(each["fails_for"])}.'
        for each in stability['depends_on']
    ]


def _names(levels: list[str]) -> str:
    return ', '.join(f'"{level}"' for level in levels)


def _predictability(content: Mapping[str, Any]) -> list[str]:
    claim, found = content['claim'], content['predictability']
    rows = [
        [name, *_row(claim, each)]
        for name, each in (
            ('held-out test', found['test']),
            *((f'unseen: {n}', e) for n, e in found['unseen'].items()),
            *found['subgroups'].items(),
        )
    ]
    header = ['images', claim['better'], claim['than'], 'difference', 'agrees']
    trivial = found['trivial']
    answers = ', '.join(
        f'{name} {_number(value)}' for name, value in trivial['values'].items()
    )
    beaten = 'beats' if trivial['beaten'] else '**does not beat**'
    return [
        '## Predictability',
        markdown_table(header, rows),
        f'Trivial models: {answers}. "{claim["better"]}" '
        f'({_number(trivial["claimed"])}) {beaten} them.',
    ]


def _row(claim: Mapping[str, Any], each: Mapping[str, Any]) -> list[str]:
    means = []
    for arm in (claim['better'], claim['than']):
        values = each['values'].get(arm, {}).values()
        known = [v for v in values if v is not None]
        means.append(_number(sum(known) / len(known) if known else None))
    return [*means, _difference(each['difference']), ANSWERS[each['holds']]]


def _stability(found: Mapping[str, Any]) -> list[str]:
    lines = [
        '## Stability',
        f'The mean difference agrees with the claim under '
        f'{_percent(found["share"])} of {found["perturbations"]} '
        f'perturbations; of all pairs of runs, {_percent(found["pair_share"])}'
        ' agree.',
        markdown_table(
            ['case', 'difference', 'pairs that agree', 'agrees'],
            [
                [
                    each['name'],
                    _difference(each['difference']),
                    f'{each["agreeing"]} of {each["difference"]["n"]}',
                    ANSWERS[each['holds']],
                ]
                for each in found['cases']
            ],
        ),
    ]
    if found['factors']:
        lines += [
            'Variance of the difference by factor (base and its levels, '
            'crossed with the seeds), as standard deviations of the '
            'components; levels were chosen and not drawn, and with two of '
            'them an interval says little.',
            markdown_table(
                ['factor', 'levels', 'of the factor', 'of the seed', 'rest'],
                [
                    [
                        each['factor'],
                        str(len(each['levels'])),
                        *(
                            _deviation(each['components'][name])
                            for name in ('level', 'seed', 'rest')
                        ),
                    ]
                    for each in found['factors']
                ],
            ),
        ]
    for name, each in found['agreement'].items():
        images = ', '.join(
            f'{image} ({value:.2f})'
            for image, value in each['least_agreement'].items()
        )
        lines.append(
            f'Agreement of predictions, {name} ({each["runs"]} runs): '
            f'{_number(each["value"])}, {each["measure"]}. Least: {images}.'
        )
    return lines


def _sets(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    rows = [
        [
            name,
            _number(once['coverage']),
            _number(found['redrawn'][name]['coverage']),
            _number(found['redrawn'][name]['lowest']),
            _number(found['redrawn'][name]['size']),
        ]
        for name, once in found['splits'].items()
    ]
    return [
        '## Prediction sets',
        f'Nominal coverage {found["level"]:g}; calibrated on the validation '
        f'images, and with the patients of validation and test drawn anew '
        f'{found["repeats"]} times. The pool: {_names(found["pool"])}.',
        markdown_table(
            [
                'sets',
                'coverage',
                'coverage, drawn anew',
                'lowest',
                'labels in a set',
            ],
            rows,
        ),
    ]


def _computability(found: Mapping[str, Any]) -> list[str]:
    keys = dict(
        steps='{:.0f}',
        images='{:.0f}',
        parameters='{:.0f}',
        seconds='{:.0f}',
        processor_seconds='{:.0f}',
        peak_memory_gib='{:.2f}',
    )
    names = [key.replace('_', ' ') for key in keys]
    rows = [
        [
            arm,
            *(
                form.format(each[key])
                if each.get(key) is not None
                else UNDEFINED
                for key, form in keys.items()
            ),
        ]
        for arm, each in found['arms'].items()
    ]
    trained, report = found['trainings'], found['report']
    own = found['computing']
    lost = trained['unknown']
    return [
        '## Computability',
        markdown_table(['a training of', *names], rows),
        f'This report: {trained["runs"]} trainings '
        f'({_minutes(trained)}'
        + (f'; the time of {lost} was not kept' if lost else '')
        + f'), {report["runs"]} tests ({_minutes(report)}) and '
        f'{own["processor_seconds"]:.0f} processor seconds of its own.',
    ]


def _minutes(cost: Mapping[str, Any]) -> str:
    return (
        f'{cost["seconds"] / 60:.1f} minutes, '
        f'{cost["processor_seconds"] / 60:.1f} of the processor'
    )


def _calls(calls: list[Mapping[str, Any]]) -> list[str]:
    if not calls:
        return []
    return [
        '## Judgement calls made otherwise',
        markdown_table(
            ['factor', 'level', 'why'],
            [[c['factor'], c['level'], c['why']] for c in calls],
        ),
    ]


def _number(value: float | None) -> str:
    return UNDEFINED if value is None else f'{value:.3f}'


def _percent(value: float | None) -> str:
    return UNDEFINED if value is None else f'{value:.0%}'


def _difference(found: Mapping[str, Any]) -> str:
    if found['mean'] is None:
        return UNDEFINED
    text = f'{found["mean"]:+.3f}'
    if found['low'] is not None:
        text += f' [{found["low"]:+.3f}, {found["high"]:+.3f}]'
    return text


def _deviation(component: Mapping[str, Any]) -> str:
    if component['variance'] is None:
        return UNDEFINED
    value, low, high = (
        max(0.0, component[key]) ** 0.5 for key in ('variance', 'low', 'high')
    )
    return f'{value:.3f} [{low:.3f}, {high:.3f}]'
