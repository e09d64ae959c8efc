"""Measures of decisions at thresholds that were chosen elsewhere.

A threshold that is chosen on the test images makes the model look better than
it is, so it comes from the validation split.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fx_mm.evaluation.statistics.ranking import (
    RankedScores,
    first_at,
    last_at,
)


class Thresholds(NamedTuple):
    """Scores from which on a class counts as found.

    Attributes:
        f1 (np.ndarray): (C,), for the best F1; NaN without a positive.
        mcc (np.ndarray): (C,), for the best MCC; NaN without both outcomes.
        point (np.ndarray): (C,), of the operating point, that has a given
            specificity or sensitivity at least; NaN without both outcomes,
            or where no score has it.
    """

    f1: np.ndarray
    mcc: np.ndarray
    point: np.ndarray


def f1_score(
    tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray
) -> np.ndarray:
    """Harmonic mean of precision and recall, NaN without a positive."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)


def mcc_score(
    tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray
) -> np.ndarray:
    """Matthews' correlation: NaN without both outcomes, 0 if all are alike."""
    tp, fp, fn, tn = (np.asarray(n, np.float64) for n in (tp, fp, fn, tn))
    scale = np.sqrt(tp + fp) * np.sqrt(tn + fn)
    scale = scale * np.sqrt(tp + fn) * np.sqrt(tn + fp)
    mcc = (tp * tn - fp * fn) / np.where(scale > 0, scale, 1)
    return np.where((tp + fn > 0) & (tn + fp > 0), mcc, np.nan)


RATIOS = ('LR+', 'LR-')
"""Measures that may be infinite, so they have no mean over classes."""
SCORES: dict[str, Callable[..., np.ndarray]] = dict(F1=f1_score, MCC=mcc_score)


def choose_thresholds(
    labels: np.ndarray,
    scores: np.ndarray,
    measure: str = 'specificity',
    rate: float = 0.9,
) -> Thresholds:
    """Choose the threshold of each class that is best on these images.

    Candidates are the scores that occur; of equally good ones the highest is
    taken.

    Args:
        labels (np.ndarray): (N, C) 0, 1 or NaN (unknown), of the validation
            split.
        scores (np.ndarray): (N, C).
        measure (str): What the operating point holds, ``specificity`` or
            ``sensitivity``. Defaults to ``specificity``.
        rate (float): It is at least this. Defaults to 0.9.

    Returns:
        Thresholds: NaN for classes that no threshold can be chosen for.
    """
    chosen = np.full((3, labels.shape[1]), np.nan)
    for c in range(labels.shape[1]):
        if not np.isfinite(scores[~np.isnan(labels[:, c]), c]).all():
            continue
        ranked = RankedScores(labels[:, c], scores[:, c])
        tp, fp = ranked.counts(np.ones((1, len(labels)), np.uint16))
        for row, score in enumerate(SCORES.values()):
            values = score(tp, fp, tp[:, -1:] - tp, fp[:, -1:] - fp)[0]
            if values.size and not np.isnan(values).all():
                chosen[row, c] = ranked.thresholds[np.nanargmax(values)]
        if tp.size and tp[0, -1] and fp[0, -1]:
            find = first_at if measure == 'sensitivity' else last_at
            place = find(tp, fp, rate)[0]
            if place >= 0:
                chosen[2, c] = ranked.thresholds[place]
    return Thresholds(*chosen)


class OperatingPoints:
    """Counts of right and wrong decisions at given thresholds.

    Args:
        labels (np.ndarray): (N, C) 0, 1 or NaN (unknown).
        scores (np.ndarray): (N, C).
        thresholds (Thresholds): Of another split.
        prevalence (np.ndarray, optional): (C,) share of positives among
            those that the model is meant for, for ``PPV`` and ``NPV``; NaN
            for that of the images. Defaults to None: NaN for all.
    """

    def __init__(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        thresholds: Thresholds,
        prevalence: np.ndarray | None = None,
    ) -> None:
        self._undefined = np.isnan(np.stack(thresholds))
        classes = labels.shape[1]
        self._prevalence = np.full(classes, np.nan)
        if prevalence is not None:
            self._prevalence = prevalence
        groups = []
        for limits in thresholds:
            with np.errstate(invalid='ignore'):
                found = scores >= limits
            for outcome in (labels == 1, labels == 0):
                groups += [outcome & found, outcome & ~found]
        # (thresholds, outcomes, C) as one matrix, exact in float64
        self._shape = (len(thresholds), 4, classes)
        self._matrix = np.concatenate(groups, axis=1).astype(np.float64)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the measures of decisions on samples.

        Args:
            weights (np.ndarray): uint16 (R, N).

        Returns:
            dict[str, np.ndarray]: ``F1`` and ``MCC`` at their thresholds; at
            the operating point ``Sensitivity``, ``Specificity``, ``PPV``,
            ``NPV``, ``LR+`` and ``LR-``; each (R, C).
        """
        counts = weights.astype(np.float64) @ self._matrix
        counts = counts.reshape(-1, *self._shape).transpose(1, 2, 0, 3)
        found = {}
        for (name, score), (tp, fn, fp, tn) in zip(SCORES.items(), counts):
            found[name] = score(tp, fp, fn, tn)
        tp, fn, fp, tn = counts[-1]
        decided = decisions(tp, fn, fp, tn, self._prevalence)
        for values, undefined in (
            *zip(found.values(), self._undefined),
            *((values, self._undefined[-1]) for values in decided.values()),
        ):
            values[:, undefined] = np.nan
        return found | decided


def decisions(
    tp: np.ndarray,
    fn: np.ndarray,
    fp: np.ndarray,
    tn: np.ndarray,
    prevalence: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute what a reader of single results asks for.

    Predictive values at a prevalence are Bayes' rule: PPV = sensitivity *
    prevalence / (that + (1 - specificity) * (1 - prevalence)).

    Args:
        tp (np.ndarray): (R, C) true positives.
        fn (np.ndarray): (R, C) false negatives.
        fp (np.ndarray): (R, C) false positives.
        tn (np.ndarray): (R, C) true negatives.
        prevalence (np.ndarray): (C,) in 0..1, NaN for that of the images.

    Returns:
        dict[str, np.ndarray]: ``Sensitivity``, ``Specificity``, ``PPV``,
        ``NPV``, ``LR+`` and ``LR-``, each (R, C), NaN where undefined; a
        ratio by 0 is infinite.
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        sensitivity, missed = (n / (tp + fn) for n in (tp, fn))
        specificity, alarms = (n / (tn + fp) for n in (tn, fp))
        own = np.isnan(prevalence)
        ill, well = prevalence, 1 - prevalence
        right, wrong = sensitivity * ill, alarms * well
        ppv = np.where(own, tp / (tp + fp), right / (right + wrong))
        right, wrong = specificity * well, missed * ill
        npv = np.where(own, tn / (tn + fn), right / (right + wrong))
        return {
            'Sensitivity': sensitivity,
            'Specificity': specificity,
            'PPV': ppv,
            'NPV': npv,
            'LR+': sensitivity / alarms,
            'LR-': missed / specificity,
        }
