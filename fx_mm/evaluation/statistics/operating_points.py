"""F1 and MCC at thresholds that were chosen elsewhere.

A threshold that is chosen on the test images makes the model look better than
it is, so it comes from the validation split.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fx_mm.evaluation.statistics.ranking import RankedScores


class Thresholds(NamedTuple):
    """Scores from which on a class counts as found.

    Attributes:
        f1 (np.ndarray): (C,), for the best F1; NaN without a positive.
        mcc (np.ndarray): (C,), for the best MCC; NaN without both outcomes.
    """

    f1: np.ndarray
    mcc: np.ndarray


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


SCORES: dict[str, Callable[..., np.ndarray]] = dict(F1=f1_score, MCC=mcc_score)


def choose_thresholds(labels: np.ndarray, scores: np.ndarray) -> Thresholds:
    """Choose the threshold of each class that is best on these images.

    Candidates are the scores that occur; of equally good ones the highest is
    taken.

    Args:
        labels (np.ndarray): (N, C) 0, 1 or NaN (unknown), of the validation
            split.
        scores (np.ndarray): (N, C).

    Returns:
        Thresholds: NaN for classes that no threshold can be chosen for.
    """
    chosen = np.full((2, labels.shape[1]), np.nan)
    for c in range(labels.shape[1]):
        if not np.isfinite(scores[~np.isnan(labels[:, c]), c]).all():
            continue
        ranked = RankedScores(labels[:, c], scores[:, c])
        tp, fp = ranked.counts(np.ones((1, len(labels)), np.uint16))
        for row, score in enumerate(SCORES.values()):
            values = score(tp, fp, tp[:, -1:] - tp, fp[:, -1:] - fp)[0]
            if values.size and not np.isnan(values).all():
                chosen[row, c] = ranked.thresholds[np.nanargmax(values)]
    return Thresholds(*chosen)


class OperatingPoints:
    """Counts of right and wrong decisions at given thresholds.

    Args:
        labels (np.ndarray): (N, C) 0, 1 or NaN (unknown).
        scores (np.ndarray): (N, C).
        thresholds (Thresholds): Of another split.
    """

    def __init__(
        self, labels: np.ndarray, scores: np.ndarray, thresholds: Thresholds
    ) -> None:
        self._undefined = np.isnan(np.stack(thresholds))
        groups = []
        for limits in thresholds:
            with np.errstate(invalid='ignore'):
                found = scores >= limits
            for outcome in (labels == 1, labels == 0):
                groups += [outcome & found, outcome & ~found]
        # (thresholds, outcomes, C) as one matrix, exact in float64
        self._shape = (2, 4, labels.shape[1])
        self._matrix = np.concatenate(groups, axis=1).astype(np.float64)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``F1`` and ``MCC``, each (R, C), of weights (R, N)."""
        counts = weights.astype(np.float64) @ self._matrix
        counts = counts.reshape(-1, *self._shape).transpose(1, 2, 0, 3)
        found = {}
        for (name, score), (tp, fn, fp, tn), undefined in zip(
            SCORES.items(), counts, self._undefined, strict=True
        ):
            values = score(tp, fp, fn, tn)
            values[:, undefined] = np.nan
            found[name] = values
        return found
