"""From the differences of all cases to what can be said of a claim."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fx_mm.analysis.stability.study import BASE, Case, Claim
from fx_mm.evaluation.report.variant_comparison import (
    Difference,
    paired_difference,
)
from fx_mm.evaluation.statistics.variance_components import (
    Components,
    split_variance,
)

Results = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Case, arm and seed to the metric."""


class CaseResult(NamedTuple):
    """One case.

    Attributes:
        case (Case): The case.
        difference (Difference): Better minus other, paired by seed.
        agreeing (int): Pairs that agree with the claim.
        holds (bool, optional): Whether the mean does; None without a pair.
    """

    case: Case
    difference: Difference
    agreeing: int
    holds: bool | None


class FactorResult(NamedTuple):
    """All levels of one factor, the base's among them.

    Attributes:
        factor (str): Its name.
        levels (list[str]): The base first.
        seeds (list[int]): Those that all levels have.
        components (Components): Of the difference.
        holds_for (list[str]): Levels whose mean agrees with the claim.
        fails_for (list[str]): Those whose mean does not.
    """

    factor: str
    levels: list[str]
    seeds: list[int]
    components: Components
    holds_for: list[str]
    fails_for: list[str]


class Stability(NamedTuple):
    """How a claim fares when judgement calls are made otherwise.

    Attributes:
        cases (list[CaseResult]): The base first.
        factors (list[FactorResult]): In the study's order.
        share (float): Of the perturbations whose mean agrees with the claim;
            NaN without one.
        pair_share (float): Of all pairs of runs, the base's too.
    """

    cases: list[CaseResult]
    factors: list[FactorResult]
    share: float
    pair_share: float

    @property
    def unstable(self) -> list[FactorResult]:
        """list[FactorResult]: Factors on which the claim depends."""
        return [f for f in self.factors if f.holds_for and f.fails_for]


def pair_differences(
    claim: Claim, arms: Mapping[str, Mapping[int, float]]
) -> dict[int, float]:
    """Return better minus other of each seed that both know."""
    better, other = arms.get(claim.better, {}), arms.get(claim.than, {})
    pairs = {
        seed: better[seed] - other[seed]
        for seed in sorted(better.keys() & other.keys())
    }
    return {seed: d for seed, d in pairs.items() if not math.isnan(d)}


def judge_stability(
    claim: Claim, cases: Sequence[Case], results: Results
) -> Stability:
    """Compute the share of agreeing cases and the variance components.

    Args:
        claim (Claim): The claim.
        cases (Sequence[Case]): The base first.
        results (Mapping): Case, arm and seed to the metric, as far as it is
            finished.
    """
    pairs = {
        case.name: pair_differences(claim, results.get(case.name, {}))
        for case in cases
    }
    judged = []
    for case in cases:
        found = pairs[case.name]
        difference = paired_difference(found, dict.fromkeys(found, 0.0))
        judged.append(
            CaseResult(
                case,
                difference,
                sum(map(claim.holds, found.values())),
                claim.holds(difference.mean) if found else None,
            )
        )
    known = [each for each in judged if each.holds is not None]
    others = [each for each in known if each.case.factor != BASE]
    count = sum(each.difference.n for each in known)
    return Stability(
        judged,
        _judge_factors(judged, pairs),
        _share([bool(each.holds) for each in others]),
        sum(each.agreeing for each in known) / count if count else math.nan,
    )


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan


def _judge_factors(
    judged: Sequence[CaseResult], pairs: Mapping[str, Mapping[int, float]]
) -> list[FactorResult]:
    found = []
    base = [each for each in judged if each.case.factor == BASE]
    names = dict.fromkeys(
        each.case.factor for each in judged if each.case.factor != BASE
    )
    for factor in names:
        own = base + [e for e in judged if e.case.factor == factor]
        own = [each for each in own if each.holds is not None]
        if not own:
            continue
        tables = [pairs[each.case.name] for each in own]
        seeds = sorted(set.intersection(*(set(t) for t in tables)))
        table = np.array([[t[seed] for seed in seeds] for t in tables])
        levels = [each.case.level or BASE for each in own]
        found.append(
            FactorResult(
                factor,
                levels,
                seeds,
                split_variance(table.reshape(len(tables), len(seeds))),
                [n for n, each in zip(levels, own) if each.holds],
                [n for n, each in zip(levels, own) if not each.holds],
            )
        )
    return found
