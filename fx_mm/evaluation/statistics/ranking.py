"""Scores of one class, sorted once and counted many times.

A bootstrap asks for the same measure on a thousand resamples. A resample is
one weight per image (how often it was drawn), and the order of the scores
never changes; so the scores are sorted once, and each measure is a weighted
sum.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fx_mm.evaluation.statistics.bootstrap import Statistics


class RankedScores:
    """Labels and scores of one class in descending order of the scores.

    Items of unknown label count for nothing. Equal scores are one threshold.
    Of the thresholds, those are kept where the ROC curve has a corner: a run
    of negatives between two of them is one step.

    Args:
        labels (np.ndarray): (M,) 0, 1 or NaN (unknown).
        scores (np.ndarray): (M,), finite.
        images (np.ndarray, optional): (M,) the image of each item, where
            items are boxes. Defaults to None: items are images.
    """

    def __init__(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        images: np.ndarray | None = None,
    ) -> None:
        labels = np.asarray(labels, np.float64)
        scores = np.asarray(scores, np.float64)
        known = np.flatnonzero(~np.isnan(labels))
        order = known[np.argsort(-scores[known], kind='stable')]
        positive = labels[order] == 1
        scores = scores[order]
        # the last item of each run of equal scores
        ends = np.flatnonzero(
            np.append(scores[1:] != scores[:-1], len(order) > 0)
        )
        hits = np.add.reduceat(positive, _starts(ends)) if len(ends) else ends
        corner = (hits > 0) | (np.append(hits[1:], 1) > 0)
        ends = ends[corner]
        self.thresholds: np.ndarray = scores[ends]
        """(T,) distinct scores, highest first."""
        columns = order if images is None else np.asarray(images)[order]
        self._all = columns
        self._starts = _starts(ends)
        places = np.flatnonzero(positive)
        self._positive = columns[places]
        # how many of the positives lie up to each threshold
        self._found = np.searchsorted(places, ends, side='right')

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count what scores at least each threshold.

        Args:
            weights (np.ndarray): uint16 (R, N), whole numbers.

        Returns:
            tuple[np.ndarray, np.ndarray]: True and false positives, each
            (R, T), int64.
        """
        if not len(self._starts):
            empty = np.zeros((len(weights), 0), np.int64)
            return empty, empty
        every = np.add.reduceat(
            weights[:, self._all], self._starts, axis=1, dtype=np.int64
        ).cumsum(axis=1)
        found = np.zeros((len(weights), len(self._positive) + 1), np.int64)
        np.cumsum(weights[:, self._positive], axis=1, out=found[:, 1:])
        true = found[:, self._found]
        return true, every - true


def _starts(ends: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends


def auc(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Area under the ROC curve.

    Args:
        true (np.ndarray): (R, T) of :meth:`RankedScores.counts`.
        false (np.ndarray): (R, T), as ``true``.

    Returns:
        np.ndarray: (R,), NaN without both outcomes.
    """
    if not true.shape[1]:
        return np.full(len(true), np.nan)
    steps = np.diff(false, axis=1, prepend=0)
    # twice the height of each trapezoid
    height = true + np.pad(true, ((0, 0), (1, 0)))[:, :-1]
    area = np.einsum('rt,rt->r', steps, height, dtype=np.float64) / 2
    with np.errstate(invalid='ignore', divide='ignore'):
        return area / (true[:, -1].astype(np.float64) * false[:, -1])


def average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Average precision, without interpolation.

    Args:
        true (np.ndarray): (R, T) of :meth:`RankedScores.counts`.
        false (np.ndarray): (R, T), as ``true``.

    Returns:
        np.ndarray: (R,), NaN without positives.
    """
    if not true.shape[1]:
        return np.full(len(true), np.nan)
    precision = true / np.maximum(true + false, 1)
    steps = np.diff(true, axis=1, prepend=0)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.einsum('rt,rt->r', steps, precision) / true[:, -1]


def last_at(
    true: np.ndarray, false: np.ndarray, specificity: float
) -> np.ndarray:
    """Find the lowest threshold with a specificity.

    Args:
        true (np.ndarray): (R, T) of :meth:`RankedScores.counts`; not used.
        false (np.ndarray): (R, T).
        specificity (float): It is at least this.

    Returns:
        np.ndarray: (R,) index of the threshold, -1 where none has it.
    """
    total = false[:, -1:]
    # a tolerance for what a share of a whole number rounds to
    most = total - np.ceil(specificity * total - 1e-9 * total)
    return np.count_nonzero(false <= most, axis=1) - 1


def first_at(
    true: np.ndarray, false: np.ndarray, sensitivity: float
) -> np.ndarray:
    """Find the highest threshold with a sensitivity, as :func:`last_at`."""
    total = true[:, -1:]
    least = np.ceil(sensitivity * total - 1e-9 * total)
    return np.count_nonzero(true < least, axis=1)


def sensitivity_at(
    true: np.ndarray, false: np.ndarray, specificity: float
) -> np.ndarray:
    """Return the best sensitivity of the ROC curve at a specificity.

    Args:
        true (np.ndarray): (R, T) of :meth:`RankedScores.counts`.
        false (np.ndarray): (R, T), as ``true``.
        specificity (float): It is at least this, without interpolation.

    Returns:
        np.ndarray: (R,), NaN without both outcomes; 0 where each threshold
        that finds a positive has more false ones.
    """
    return _at(true, false, last_at, specificity, true)


def specificity_at(
    true: np.ndarray, false: np.ndarray, sensitivity: float
) -> np.ndarray:
    """Return the best specificity at a sensitivity; see its counterpart."""
    return 1 - _at(true, false, first_at, sensitivity, false)


def _at(
    true: np.ndarray,
    false: np.ndarray,
    find: Callable[[np.ndarray, np.ndarray, float], np.ndarray],
    rate: float,
    counts: np.ndarray,
) -> np.ndarray:
    if not true.shape[1]:
        return np.full(len(true), np.nan)
    place = find(true, false, rate)
    found = np.take_along_axis(counts, place[:, None], 1)[:, 0]
    found = np.where(place < 0, 0, found).astype(np.float64)
    found[(true[:, -1] == 0) | (false[:, -1] == 0)] = np.nan
    return found / np.maximum(counts[:, -1], 1)


def auc_statistics(
    columns: Mapping[Any, tuple[np.ndarray, np.ndarray]],
) -> Statistics:
    """Return what a bootstrap asks for: AUCs by name.

    Args:
        columns (Mapping): Name, any key of a dict, to labels (N,), of which 0
            and 1 count, and scores (N,), NaN where there is none.

    Returns:
        Callable: Weights (R, N) to AUCs by name, each (R,).
    """
    ranked = {
        name: RankedScores(
            np.where(np.isin(labels, (0, 1)) & ~np.isnan(s), labels, np.nan), s
        )
        for name, (labels, s) in columns.items()
    }
    return lambda weights: {
        name: auc(*each.counts(weights)) for name, each in ranked.items()
    }
