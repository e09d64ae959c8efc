"""Calibration: how often predictions of a probability are right."""

from typing import NamedTuple

import numpy as np

BINS = 15


class Reliability(NamedTuple):
    """Predictions in bins of equal width.

    Attributes:
        counts (np.ndarray): (B,), predictions in each bin.
        confidence (np.ndarray): (B,), their mean probability; NaN if empty.
        frequency (np.ndarray): (B,), share of them that is right.
    """

    counts: np.ndarray
    confidence: np.ndarray
    frequency: np.ndarray

    @property
    def error(self) -> float:
        """float: Expected calibration error, NaN without predictions.

        Mean of |frequency - confidence| over predictions (Guo et al. 2017,
        On Calibration of Modern Neural Networks, section 2).
        """
        if not self.counts.sum():
            return float('nan')
        gaps = np.abs(self.frequency - self.confidence)
        weights = self.counts / self.counts.sum()
        return float(weights[self.counts > 0] @ gaps[self.counts > 0])


def reliability(
    probabilities: np.ndarray, right: np.ndarray, bins: int = BINS
) -> Reliability:
    """Sort predictions into bins of equal width.

    Bin i is ``(i / bins, (i + 1) / bins]``; 0 is in the first.

    Args:
        probabilities (np.ndarray): (N,) in 0..1; what is not finite is
            skipped.
        right (np.ndarray): (N,) 0, 1 or NaN (unknown, skipped).
        bins (int): Defaults to 15.

    Returns:
        Reliability: The bins.
    """
    known = ~np.isnan(right) & np.isfinite(probabilities)
    probabilities, right = probabilities[known], right[known]
    place = np.ceil(probabilities * bins).astype(np.int64) - 1
    place = np.clip(place, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = [
        np.bincount(place, values, minlength=bins)
        for values in (probabilities, right)
    ]
    with np.errstate(invalid='ignore'):
        return Reliability(counts, *(total / counts for total in sums))


def likeliest(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the likeliest of exclusive classes with the true one.

    Args:
        labels (np.ndarray): (N, C), 1 for the true class.
        scores (np.ndarray): (N, C).

    Returns:
        tuple[np.ndarray, np.ndarray]: (N,) probability of the likeliest
        class; 1 where it is the true one, NaN where the image does not have
        exactly one true class.
    """
    usable = np.isfinite(scores).all(axis=1)
    usable &= (labels == 1).sum(axis=1) == 1
    right = np.full(len(labels), np.nan)
    chosen = scores.argmax(axis=1)
    right[usable] = labels[usable, chosen[usable]] == 1
    return scores.max(axis=1, initial=0), right
