"""Linear probing: one logistic regression per class on fixed vectors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.evaluation.statistics.bootstrap import (
    RESAMPLES,
    Estimate,
    estimate,
    unweighted,
)
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.ranking import auc_statistics
from fx_mm.utils.errors import UserError

STRENGTHS = tuple(10.0**power for power in range(-5, 3))
"""Values of ``C``, the inverse strength of the L2 penalty."""
MEAN = 'mean'
ROUNDS = 2000


class ClassProbe(NamedTuple):
    """A class of a dataset.

    Attributes:
        name (str): The class.
        counts (dict): Split to (positive, negative) images.
        strength (float, optional): ``C``, chosen on validation images; None
            where ``missing`` says why.
        val (float): Its AUC there.
        test (Estimate): AUC on test images.
        missing (str): Why there is none, such as ``no positive in val``.
    """

    name: str
    counts: dict[str, tuple[int, int]]
    strength: float | None
    val: float
    test: Estimate
    missing: str


class Probe(NamedTuple):
    """All classes of a dataset.

    Attributes:
        dataset (str): Its name.
        classes (list[ClassProbe]): One per class.
        mean (Estimate): Mean test AUC over the classes that have one.
        names (np.ndarray): Test images.
        scores (np.ndarray): (N, C) their probabilities, NaN where missing.
        labels (np.ndarray): (N, C) 0, 1 or NaN (unknown).
    """

    dataset: str
    classes: list[ClassProbe]
    mean: Estimate
    names: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def probe_dataset(
    embeddings: Embeddings,
    dataset: str,
    strengths: Sequence[float] = STRENGTHS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Probe:
    """Fit on training images, choose on validation, report on test images.

    Vectors are standardised by the training images. Only labels of 0 and 1
    count. The test images play no part before the end.

    Args:
        embeddings (Embeddings): With all three splits.
        dataset (str): One of its datasets.
        strengths (Sequence[float]): Values of ``C`` to choose from; of equal
            ones on validation, the smallest is taken.
        resamples (int): Of the intervals, by patient. Defaults to 1000.
        seed (int): Defaults to 0.

    Returns:
        Probe: Its classes in the dataset's order.

    Raises:
        UserError: If a split has no images.
    """
    own = embeddings.datasets == dataset
    at = {s: own & (embeddings.splits == s) for s in ('train', 'val', 'test')}
    for split, chosen in at.items():
        if not chosen.any():
            raise UserError(
                f'The embeddings have no {split} images of "{dataset}"; '
                'linear probing fits on train, chooses on val and reports '
                'on test.'
            )
    train = embeddings.vectors[at['train']].astype(np.float64)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    vectors = {
        split: (embeddings.vectors[chosen] - mean) / deviation
        for split, chosen in at.items()
    }
    found, columns, scores = [], {}, []
    for name in embeddings.meta['datasets'][dataset]:
        known = embeddings.labels[:, embeddings.classes.index(name)]
        labels = {split: known[chosen] for split, chosen in at.items()}
        counts = {s: _count(values) for s, values in labels.items()}
        missing = _missing(counts)
        model, val = None, np.nan
        column = np.full(len(labels['test']), np.nan)
        if not missing:
            model, val = _choose(vectors, labels, strengths)
            column = model.predict_proba(vectors['test'])[:, 1]
        columns[name] = labels['test'], column
        scores.append(column)
        strength = None if model is None else model.C
        found.append((name, counts, strength, val, missing))
    aucs = auc_statistics(columns)

    def with_mean(weights: np.ndarray) -> dict[Any, np.ndarray]:
        values = aucs(weights)
        # as an own key, which no class can have
        return {**values, (MEAN,): nan_mean(list(values.values()), axis=0)}

    intervals = estimate(
        with_mean,
        int(at['test'].sum()),
        resamples,
        seed,
        embeddings.patients[at['test']],
    )
    return Probe(
        dataset,
        [
            ClassProbe(name, counts, strength, val, intervals[name], missing)
            for name, counts, strength, val, missing in found
        ],
        intervals[MEAN,],
        embeddings.names[at['test']],
        np.stack(scores, axis=1),
        np.stack([labels for labels, _ in columns.values()], axis=1),
    )


def _count(labels: np.ndarray) -> tuple[int, int]:
    return int((labels == 1).sum()), int((labels == 0).sum())


def _missing(counts: dict[str, tuple[int, int]]) -> str:
    for split, found in counts.items():
        for number, what in zip(found, ('positive', 'negative')):
            if not number:
                return f'no {what} in {split}'
    return ''


def _choose(
    vectors: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    strengths: Sequence[float],
) -> tuple[LogisticRegression, float]:
    """Return the regression that ranks the validation images best."""
    known = np.isin(labels['train'], (0, 1))
    x, y = vectors['train'][known], labels['train'][known]
    best, best_auc = None, -1.0
    for strength in sorted(strengths):
        model = LogisticRegression(C=strength, max_iter=ROUNDS).fit(x, y)
        scores = model.decision_function(vectors['val'])
        statistics = auc_statistics({strength: (labels['val'], scores)})
        value = unweighted(statistics, len(scores))[strength]
        if value > best_auc:
            best, best_auc = model, value
    return best, best_auc
