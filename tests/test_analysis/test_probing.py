"""Linear probing against scikit-learn, by hand."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.analysis.probing import probe_dataset
from fx_mm.utils.errors import UserError

SIZES = dict(train=80, val=40, test=60)


@pytest.fixture
def embeddings():
    """Class A is on a line, B is noise, C has no positive in validation."""
    rng = np.random.default_rng(0)
    n = sum(SIZES.values())
    vectors = rng.normal(3, 5, (n, 6)).astype(np.float32)
    vectors[:, 5] = 1.0  # never varies
    a = (vectors[:, 0] + rng.normal(0, 4, n) > 3).astype(float)
    labels = np.stack([a, rng.integers(0, 2, n).astype(float), a], axis=1)
    labels[:7, 0] = np.nan
    splits = np.repeat(list(SIZES), list(SIZES.values()))
    labels[splits == 'val', 2] = 0
    names = np.array([f'{i}.png' for i in range(n)])
    return Embeddings(
        *(vectors, labels.astype(np.float32), ['A', 'B', 'C'], names, splits),
        *(np.full(n, 'toy'), names, dict(datasets=dict(toy=['A', 'B', 'C']))),
    )


def test_probe_is_the_regression_chosen_on_validation(embeddings):
    found = probe_dataset(embeddings, 'toy', strengths=(1e-3, 1.0, 100.0))
    at = {s: embeddings.splits == s for s in SIZES}
    scaler = StandardScaler().fit(embeddings.vectors[at['train']])
    x = {s: scaler.transform(embeddings.vectors[at[s]]) for s in SIZES}
    y = {s: embeddings.labels[at[s], 0] for s in SIZES}
    known = ~np.isnan(y['train'])
    values = {}
    for strength in (1e-3, 1.0, 100.0):
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit(x['train'][known], y['train'][known])
        values[strength] = (
            roc_auc_score(y['val'], model.predict_proba(x['val'])[:, 1]),
            roc_auc_score(y['test'], model.predict_proba(x['test'])[:, 1]),
        )
    best = max(values, key=lambda c: (values[c][0], -c))
    a, b, c = found.classes
    assert a.strength == best
    assert a.val == pytest.approx(values[best][0])
    assert a.test.value == pytest.approx(values[best][1], abs=1e-3)
    assert a.test.low < a.test.value < a.test.high
    assert a.counts['train'][0] + a.counts['train'][1] == 73
    assert c.missing == 'no positive in val' and math.isnan(c.test.value)
    mean = (a.test.value + b.test.value) / 2
    assert found.mean.value == pytest.approx(mean)
    assert found.scores.shape == found.labels.shape == (60, 3)
    assert np.isnan(found.scores[:, 2]).all()
    assert found.names.tolist() == embeddings.names[at['test']].tolist()


def test_intervals_are_seeded_and_of_patients(embeddings):
    one, two = (probe_dataset(embeddings, 'toy', seed=3) for _ in range(2))
    assert one.classes[0].test == two.classes[0].test
    pairs = embeddings
    pairs.patients = np.array([f'p{i // 10}' for i in range(180)])
    assert probe_dataset(pairs, 'toy', seed=3).mean != one.mean


def test_a_split_without_images_is_refused(embeddings):
    embeddings.splits[embeddings.splits == 'val'] = 'test'
    with pytest.raises(UserError, match='no val images of "toy"'):
        probe_dataset(embeddings, 'toy')
