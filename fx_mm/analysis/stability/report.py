"""All that a stability report says, as one dict, from finished runs."""

import math
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fx_mm.analysis.stability.costs import (
    describe_training,
    mean_cost,
    total_cost,
)
from fx_mm.analysis.stability.images import (
    Predictions,
    agreement,
    prediction_sets,
    read_run,
    subgroup_results,
)
from fx_mm.analysis.stability.runs import Plan
from fx_mm.analysis.stability.study import BASE, Study
from fx_mm.analysis.stability.trivial import trivial_results
from fx_mm.analysis.stability.verdict import (
    Stability,
    judge_stability,
    pair_differences,
)
from fx_mm.analysis.sweep import Run
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.report.variant_comparison import (
    Difference,
    paired_difference,
)
from fx_mm.evaluation.statistics.variance_components import Component
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.errors import UserError

LOWEST = 5
"""Images with the least agreement that are listed."""


def build_report(study: Study, plan: Plan, seconds: float) -> dict[str, Any]:
    """Compute the report of what is finished.

    Args:
        study (Study): The study.
        plan (Plan): Its runs.
        seconds (float): What this process took until now, by the clock.

    Returns:
        dict: Ready for JSON; undefined values are None.

    Raises:
        UserError: If no pair of the base is finished.
    """
    claim = study.claim
    done = {key: run for key, run in plan.tests.items() if run.finished}
    results = _nest(
        {key: _value(run, claim.task, claim.key) for key, run in done.items()}
    )
    if not pair_differences(claim, results.get(BASE, {})):
        raise UserError(
            'No seed of the base is finished for both arms, so there is '
            'nothing to report.'
        )
    task = TaskTable.from_cfg(plan.configs[claim.better])[claim.task]
    # cases that change nothing of an arm share its run
    unique = {id(run): run for run in done.values()}
    of_run = {name: read_run(run, task) for name, run in unique.items()}
    read = {key: of_run[id(run)] for key, run in done.items()}
    stability = judge_stability(claim, study.cases, results)
    content: dict[str, Any] = dict(
        claim=claim.__dict__,
        arms={name: file.name for name, file in study.arms.items()},
        seeds=study.seeds,
        judgement_calls=[_call(case) for case in study.cases[1:]],
        predictability=_predictability(study, plan, task, results, read),
        stability=_stability(study, stability, task, read),
        prediction_sets=_sets(study, task, read),
        missing=_missing(plan),
    )
    content['computability'] = _computability(plan, seconds)
    content['checks'] = check_claim(content)
    content['verdict'] = judge(content['checks'], content['missing'])
    return _plain(content)


def check_claim(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List what was tried, and whether the claim passed.

    Args:
        content (Mapping): The report's other parts.

    Returns:
        list[dict]: ``what``, ``passed`` (None: not tried) and ``needed``,
        whether the claim fails without it.
    """
    predicted, stable = content['predictability'], content['stability']
    groups = predicted['subgroups']
    unseen = predicted['unseen']
    return [
        dict(
            what='held-out test: the mean difference agrees',
            passed=predicted['test']['holds'],
            needed=True,
        ),
        dict(
            what='held-out test: the whole interval agrees',
            passed=predicted['test']['decided'],
            needed=False,
        ),
        dict(
            what='better than the trivial models',
            passed=predicted['trivial']['beaten'],
            needed=True,
        ),
        dict(
            what='every hospital that was left out of training',
            passed=_all_hold(unseen),
            needed=False,
        ),
        dict(
            what='every subgroup',
            passed=_all_hold(groups),
            needed=False,
        ),
        dict(
            what='every judgement call made otherwise',
            passed=not stable['failing'] if stable['perturbations'] else None,
            needed=False,
        ),
    ]


def judge(checks: list[dict[str, Any]], missing: Sequence[str] = ()) -> str:
    """Put the checks into one word or two."""
    if any(check['needed'] and check['passed'] is False for check in checks):
        return 'fails'
    if any(check['passed'] is False for check in checks):
        return 'holds in part'
    return 'holds so far' if missing else 'holds'


def _all_hold(parts: Mapping[str, Mapping[str, Any]]) -> bool | None:
    """Whether each part agrees; None where none is known."""
    known = [e['holds'] for e in parts.values() if e['holds'] is not None]
    return all(known) if known else None


def _value(run: Any, task: str, key: str) -> float:
    """Return the metric of the model that predicts."""
    content = read_results(run.results)
    values = content['metrics'][content['predict_on']][task]
    if key not in values:
        raise UserError(
            f'{task} has no metric "{key}"; it has {", ".join(values)}.'
        )
    value = values[key]
    return math.nan if value is None else float(value)


def _nest(
    values: Mapping[tuple[str, str, int], float],
) -> dict[str, dict[str, dict[int, float]]]:
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (case, arm, seed), value in values.items():
        if not math.isnan(value):
            found.setdefault(case, {}).setdefault(arm, {})[seed] = value
    return found


def _call(case: Any) -> dict[str, Any]:
    return dict(
        factor=case.factor,
        level=case.level,
        why=case.why,
        changes=dict(case.options),
        only={arm: dict(options) for arm, options in case.only.items()},
        test=dict(case.test),
    )


def _compared(
    study: Study, arms: Mapping[str, Mapping[int, float]]
) -> dict[str, Any]:
    """Return values, difference and whether it agrees with the claim."""
    pairs = pair_differences(study.claim, arms)
    difference = paired_difference(pairs, dict.fromkeys(pairs, 0.0))
    return dict(
        values=arms,
        difference=difference._asdict(),
        holds=study.claim.holds(difference.mean) if difference.n else None,
        decided=study.claim.holds(difference.low)
        if difference.n > 1
        else None,
    )


def _predictability(
    study: Study,
    plan: Plan,
    task: Task,
    results: Mapping[str, Any],
    read: Mapping[tuple[str, str, int], Predictions],
) -> dict[str, Any]:
    base = results[BASE]
    unseen: dict[str, dict[str, dict[int, float]]] = {}
    for (dataset, arm, seed), run in plan.unseen.items():
        if run.finished:
            own = unseen.setdefault(dataset, {}).setdefault(arm, {})
            own[seed] = run.auc()
    groups = {}
    if study.subgroups:
        groups = subgroup_results(
            task,
            study.claim.key,
            {k[1:]: p for k, p in read.items() if k[0] == BASE},
            study.subgroups['table'],
            study.subgroups['columns'],
        )
    trivial = trivial_results(task, study.claim.key)
    better = float(np.mean(list(base[study.claim.better].values())))
    return dict(
        test=_compared(study, base),
        unseen={n: _compared(study, arms) for n, arms in unseen.items()},
        subgroups={n: _compared(study, arms) for n, arms in groups.items()},
        trivial=dict(
            values=trivial,
            claimed=better,
            beaten=better > max(trivial.values()),
        ),
    )


def _stability(
    study: Study,
    found: Stability,
    task: Task,
    read: Mapping[tuple[str, str, int], Predictions],
) -> dict[str, Any]:
    cases = [
        dict(
            name=each.case.name,
            difference=each.difference._asdict(),
            agreeing=each.agreeing,
            holds=each.holds,
        )
        for each in found.cases
    ]
    alike = {}
    better = {k: p for k, p in read.items() if k[1] == study.claim.better}
    seeds = {
        'seeds of the base': [p for k, p in better.items() if k[0] == BASE],
        'all cases and seeds': _distinct(better.values()),
    }
    for name, runs in seeds.items():
        compared = agreement(task, runs)
        if compared is not None:
            images = compared.pop('images')
            lowest = sorted(images, key=images.__getitem__)[:LOWEST]
            compared['least_agreement'] = {i: images[i] for i in lowest}
            alike[name] = compared
    return dict(
        perturbations=sum(each.holds is not None for each in found.cases[1:]),
        share=found.share,
        pair_share=found.pair_share,
        failing=[e.case.name for e in found.cases[1:] if e.holds is False],
        depends_on=[
            dict(factor=f.factor, holds_for=f.holds_for, fails_for=f.fails_for)
            for f in found.unstable
        ],
        cases=cases,
        factors=[
            dict(
                factor=f.factor,
                levels=f.levels,
                seeds=f.seeds,
                components={
                    name: value._asdict()
                    for name, value in f.components._asdict().items()
                },
            )
            for f in found.factors
        ],
        agreement=alike,
    )


def _sets(
    study: Study,
    task: Task,
    read: Mapping[tuple[str, str, int], Predictions],
) -> dict[str, Any] | None:
    """Pool what is of one training: the base's weights in all their tests."""
    if not study.prediction_sets or task.kind.name != 'cls':
        return None
    of_base = [c.name for c in study.cases if not c.options and not c.only]
    pools = {}
    for seed in study.seeds:
        keys = [(name, study.claim.better, seed) for name in of_base]
        if all(key in read for key in keys):
            pools[seed] = _distinct(read[key] for key in keys)
    found = prediction_sets(pools, **study.prediction_sets)
    return None if found is None else found | dict(pool=of_base)


def _distinct(found: Iterable[Predictions]) -> list[Predictions]:
    """Leave out what is there twice, which would agree with itself."""
    return list({id(each): each for each in found}.values())


def _computability(plan: Plan, seconds: float) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    base = {
        arm: [r for k, r in plan.trainings.items() if k[:2] == (BASE, arm)]
        for arm in plan.configs
    }
    tests: list[Run] = [*plan.tests.values(), *plan.unseen.values()]
    return dict(
        arms={
            arm: describe_training(cfg) | mean_cost(base[arm])
            for arm, cfg in plan.configs.items()
        },
        trainings=total_cost(plan.trainings.values()),
        report=total_cost(tests),
        computing=dict(
            seconds=seconds,
            processor_seconds=usage.ru_utime + usage.ru_stime,
        ),
    )


def _missing(plan: Plan) -> list[str]:
    runs = {**plan.trainings, **plan.tests}
    runs |= {(f'unseen {k[0]}', *k[1:]): r for k, r in plan.unseen.items()}
    return [
        f'{case}, {arm}, seed {seed}'
        for (case, arm, seed), run in runs.items()
        if not run.finished
    ]


def _plain(value: Any) -> Any:
    """Turn nested values into what JSON has; not finite ones into None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Component | Difference):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
