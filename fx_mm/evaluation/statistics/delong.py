"""Intervals and tests of AUCs by DeLong's covariance.

DeLong et al. 1988, in the time of a sort by midranks (Sun and Xu 2014, Fast
Implementation of DeLong's Algorithm). Images of a patient are alike, so with
known patients the covariance is that of Obuchowski 1997, Nonparametric
Analysis of Clustered ROC Curve Data, which is DeLong's where each patient has
one image.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from fx_mm.evaluation.statistics.bootstrap import (
    LEVEL,
    Interval,
    PairedInterval,
)


class AucCovariance(NamedTuple):
    """AUCs of K scores of the same images.

    Attributes:
        aucs (np.ndarray): (K,), NaN without both outcomes.
        covariance (np.ndarray): (K, K), NaN where one of both has fewer than
            two units (images, or patients) with an outcome.
    """

    aucs: np.ndarray
    covariance: np.ndarray

    def contrast(self, weights: np.ndarray) -> PairedInterval:
        """Compute a weighted sum of AUCs with its normal interval.

        Args:
            weights (np.ndarray): (K,), 1 for one AUC, 1 and -1 for a
                difference; an AUC of weight 0 may be undefined.

        Returns:
            PairedInterval: The sum; the p-value is of a sum of 0. All but
            the sum are NaN where its variance is 0 or undefined, as that of
            an AUC of 1 is: then the normal distribution says nothing.
        """
        used = np.flatnonzero(weights)
        chosen = weights[used]
        # equal AUCs of two models cancel to the last bit
        value = math.fsum(chosen * self.aucs[used])
        variance = chosen @ self.covariance[np.ix_(used, used)] @ chosen
        # what rounding leaves of a variance of 0
        if not variance > 1e-15:
            return PairedInterval(value, np.nan, np.nan)
        error = np.sqrt(variance)
        half = ndtri((1 + LEVEL) / 2) * error
        p = 2 * ndtr(-abs(value) / error)
        return PairedInterval(value, value - half, value + half, float(p))

    def interval(self, weights: np.ndarray) -> Interval:
        """Return the interval of a mean of AUCs, within 0..1."""
        found = self.contrast(weights)
        ends = np.clip((found.low, found.high), 0, 1)
        return Interval(*map(float, ends))


def auc_covariance(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray | None = None,
) -> AucCovariance:
    """Compute AUCs and the covariance of their estimates.

    Columns may differ in their labels, as classes do; those of two models
    have the same.

    Args:
        labels (np.ndarray): (N, K) 0, 1 or NaN (unknown).
        scores (np.ndarray): (N, K), finite where the label is known, else
            the AUC is NaN.
        groups (np.ndarray, optional): (N,) whole numbers from 0, the patient
            of each image. Defaults to None: images are independent.

    Returns:
        AucCovariance: Of the K columns.
    """
    n, columns = labels.shape
    groups = np.arange(n) if groups is None else groups
    units = int(groups.max(initial=-1)) + 1
    aucs = np.full(columns, np.nan)
    sums = np.zeros((2, units, columns))
    scales = np.full((2, columns), np.nan)
    for k in range(columns):
        known = ~np.isnan(labels[:, k])
        if not np.isfinite(scores[known, k]).all():
            continue
        positive = labels[known, k] == 1
        outcomes = positive, ~positive
        if not all(outcome.any() for outcome in outcomes):
            continue
        placed = _placements(positive, scores[known, k])
        aucs[k] = placed[positive].mean()
        for row, outcome in enumerate(outcomes):
            members = groups[known][outcome]
            gaps = placed[outcome] - aucs[k]
            sums[row, :, k] = np.bincount(members, gaps, units) / len(gaps)
            count = len(np.unique(members))
            if count > 1:
                scales[row, k] = np.sqrt(count / (count - 1))
    scaled = sums * scales[:, None]
    both = sums[0].T @ sums[1] * (units / max(units - 1, 1))
    covariance = scaled[0].T @ scaled[0] + scaled[1].T @ scaled[1]
    covariance += both + both.T
    undefined = np.isnan(scales).any(axis=0)
    covariance[undefined] = covariance[:, undefined] = np.nan
    return AucCovariance(aucs, covariance)


def _placements(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the share of the other outcome that each image is right of.

    Equal scores count half. For a positive image it is the share of negative
    ones below it, for a negative image that of positive ones above it.
    """
    # midranks among all, less those among the own outcome
    others = rankdata(scores)
    placed = np.empty(len(scores))
    for outcome in (positive, ~positive):
        own = others[outcome] - rankdata(scores[outcome])
        placed[outcome] = own / np.count_nonzero(~outcome)
    placed[~positive] = 1 - placed[~positive]
    return placed
