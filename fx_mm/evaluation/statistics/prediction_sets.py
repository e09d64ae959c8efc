"""Sets of answers that hold the true one with a given probability.

A label of a class is 0 or 1, so the set of an image and class is {0}, {1},
both, or, with split conformal prediction, none.

- Pooled (PCS-UQ, arXiv 2505.08784): models, checkpoints and views that are
  all reasonable give a pool of probabilities. Their median plus and minus
  gamma times their half width is an interval; every label that some
  probability in it would decide for, at 0.5, is in the set. Gamma is the
  smallest by which the sets of the calibration images hold the truth often
  enough (multiplicative calibration).
- Split conformal: a label is in the set if its probability is at least 1 - q,
  q being the quantile of 1 - p(truth) over the calibration images (Sadinle,
  Lei and Wasserman 2019).

Both take the quantile with the finite-sample correction, so that coverage
holds on average for exchangeable images.
"""

import math
from typing import NamedTuple

import numpy as np

CUT = 0.5
WIDTH = 1e-6
"""Least half width, so that a pool of one opinion can be widened."""


class Coverage(NamedTuple):
    """How sets fare on other images.

    Attributes:
        coverage (float): Share of known labels that are in their set.
        size (float): Mean number of labels in a set, 0 to 2.
        parameter (float): Mean over the classes of gamma, or q.
    """

    coverage: float
    size: float
    parameter: float


def corrected_quantile(scores: np.ndarray, level: float) -> float:
    """Return the smallest value that holds for a next score at a level.

    Args:
        scores (np.ndarray): (N,) of the calibration images.
        level (float): Such as 0.9.

    Returns:
        float: The ceil((N + 1) * level)-th smallest; infinite if there are
        too few.
    """
    place = math.ceil((len(scores) + 1) * level - 1e-9)
    if place > len(scores):
        return math.inf
    return float(np.sort(scores)[place - 1])


def pool_interval(pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the half width of a pool of probabilities.

    Args:
        pool (np.ndarray): (M, N) of M members.

    Returns:
        tuple[np.ndarray, np.ndarray]: Median and half the range, each (N,).
    """
    half = (pool.max(axis=0) - pool.min(axis=0)) / 2
    return np.median(pool, axis=0), np.maximum(half, WIDTH)


def pooled_sets(
    pool: np.ndarray,
    labels: np.ndarray,
    calibration: np.ndarray,
    level: float,
) -> tuple[np.ndarray, float]:
    """Calibrate the pool's intervals and return all sets of one class.

    Args:
        pool (np.ndarray): (M, N) probabilities of N images.
        labels (np.ndarray): (N,) 0, 1 or NaN (unknown).
        calibration (np.ndarray): bool (N,), the images to calibrate with.
        level (float): Nominal coverage.

    Returns:
        tuple[np.ndarray, float]: bool (N, 2), whether 0 and 1 are in the set;
        and gamma.
    """
    middle, half = pool_interval(pool)
    # how far the interval must reach until it decides for the truth
    short = np.where(labels == 1, CUT - middle, middle - CUT)
    needed = np.maximum(short, 0) / half
    used = calibration & ~np.isnan(labels)
    gamma = corrected_quantile(needed[used], level)
    with np.errstate(invalid='ignore'):
        reach = gamma * half
    sets = np.stack([middle - reach <= CUT, middle + reach >= CUT], axis=1)
    return sets, gamma


def conformal_sets(
    scores: np.ndarray,
    labels: np.ndarray,
    calibration: np.ndarray,
    level: float,
) -> tuple[np.ndarray, float]:
    """Return the split conformal sets of one class.

    Args:
        scores (np.ndarray): (N,) probabilities.
        labels (np.ndarray): As of :func:`pooled_sets`.
        calibration (np.ndarray): As of :func:`pooled_sets`.
        level (float): Nominal coverage.

    Returns:
        tuple[np.ndarray, float]: bool (N, 2), and q.
    """
    both = np.stack([1 - scores, scores], axis=1)
    used = calibration & ~np.isnan(labels)
    chosen = np.where(labels == 1, both[:, 1], both[:, 0])
    q = corrected_quantile(1 - chosen[used], level)
    # 1 - (1 - p) is not p to the bit
    return 1 - both <= q, q


def measure(
    sets: np.ndarray, labels: np.ndarray, chosen: np.ndarray
) -> tuple[float, float]:
    """Return coverage and mean size over the images with a known label.

    Args:
        sets (np.ndarray): bool (N, 2).
        labels (np.ndarray): (N,).
        chosen (np.ndarray): bool (N,), the images that count.
    """
    known = chosen & ~np.isnan(labels)
    if not known.any():
        return math.nan, math.nan
    truth = labels[known].astype(int)
    own = sets[known]
    return (
        float(own[np.arange(len(truth)), truth].mean()),
        float(own.sum(axis=1).mean()),
    )


def compare_sets(
    pool: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    calibration: np.ndarray,
    level: float,
) -> dict[str, Coverage]:
    """Measure both kinds of sets on the images that did not calibrate.

    Args:
        pool (np.ndarray): (M, N, C).
        scores (np.ndarray): (N, C) of the one model for split conformal.
        labels (np.ndarray): (N, C).
        calibration (np.ndarray): bool (N,).
        level (float): Nominal coverage.

    Returns:
        dict[str, Coverage]: ``pooled`` and ``split conformal``, means over
        the classes.
    """
    found: dict[str, list[tuple[float, float, float]]] = {
        'pooled': [],
        'split conformal': [],
    }
    for c in range(labels.shape[1]):
        own = labels[:, c]
        for name, (sets, parameter) in (
            ('pooled', pooled_sets(pool[..., c], own, calibration, level)),
            (
                'split conformal',
                conformal_sets(scores[:, c], own, calibration, level),
            ),
        ):
            found[name].append((*measure(sets, own, ~calibration), parameter))
    return {
        name: Coverage(*map(float, np.nanmean(rows, axis=0)))
        for name, rows in found.items()
    }


def draw_calibration(
    size: int, share: float, rng: np.random.Generator, groups: np.ndarray
) -> np.ndarray:
    """Draw whole groups of images to calibrate with.

    Args:
        size (int): Number of images N.
        share (float): Of the groups.
        rng (Generator): Draws.
        groups (np.ndarray): (N,) the patient of each image, from 0.

    Returns:
        np.ndarray: bool (N,).
    """
    count = int(groups.max(initial=-1)) + 1
    order = rng.permutation(count)[: round(share * count)]
    return np.isin(groups, order)[:size]
