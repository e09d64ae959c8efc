"""Labels of nearest neighbours against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from fx_mm.evaluation import NeighbourMetric
from fx_mm.evaluation.metrics import feature_spread
from fx_mm.evaluation.statistics.bootstrap import unweighted
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

CLASSES = ('nodule', 'mass')


def metric_of(classes=CLASSES, **options):
    metric = NeighbourMetric(**options)
    metric.dataset_meta = Task('x', 'ssl', classes).meta
    metric.kept = []
    return metric


def evaluate(features, labels, metric=None):
    metric = metric or metric_of()
    for number, (feature, label) in enumerate(zip(features, labels)):
        sample = dict(
            img_id=f'{number:04}', pred_feature=torch.as_tensor(feature)
        )
        if label is not None:
            sample['gt_score'] = torch.as_tensor(label)
        metric.process(None, [sample])
    metric.evaluate(0)
    ((records, values),) = metric.kept
    return metric, records, values


@pytest.fixture(scope='module')
def images():
    """Features of which the first tells the first label, by half."""
    rng = np.random.default_rng(0)
    labels = (rng.random((120, 2)) < 0.3).astype(float)
    features = rng.normal(size=(120, 4))
    features[:, 0] += 3 * labels[:, 0]
    labels[rng.random(120) < 0.2, 1] = np.nan
    return features, labels


def test_without_labels_only_the_spread_is_defined():
    features = np.random.default_rng(1).normal(size=(6, 3))
    metric, records, values = evaluate(
        features, [None] * 6, metric_of(('pixels',))
    )
    assert np.isnan(values['skill']) and np.isnan(values['kNN_AUC/pixels'])
    assert 0 < values['spread'] <= 1
    notes = metric.notes(records, values, 'teacher', False)
    assert 'give the task classes and a reader of labels' in notes[1]


def test_against_scikit_learn(images):
    features, labels = images
    metric, records, values = evaluate(features, labels)
    unit = features / np.linalg.norm(features, axis=1)[:, None]
    finder = NearestNeighbors(n_neighbors=20, metric='cosine').fit(unit)
    gaps, near = finder.kneighbors()  # without the image itself
    guesses = np.empty_like(labels)
    for i, (gap, others) in enumerate(zip(gaps, near)):
        weights = np.exp((1 - gap) / 0.07)
        for c in range(2):
            theirs = labels[others, c]
            known = ~np.isnan(theirs)
            guesses[i, c] = np.average(theirs[known], weights=weights[known])
    wanted = []
    for c, name in enumerate(CLASSES):
        known = ~np.isnan(labels[:, c])
        auc = roc_auc_score(labels[known, c], guesses[known, c])
        assert values[f'kNN_AUC/{name}'] == pytest.approx(auc, abs=1e-6)
        wanted.append(auc)
    assert values['kNN_AUC'] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert values['skill'] == pytest.approx(2 * np.mean(wanted) - 1, abs=1e-6)
    assert wanted[0] > 0.8 and wanted[1] < 0.65
    assert values == unweighted(metric.statistics(records), 120)


def test_of_few_images_half_are_neighbours():
    """Of all others, the guess would be the opposite of the own label."""
    features = np.array([[1, 0.0], [1, 0.1], [0.0, 1], [0.1, 1], [0, 1.1]])
    labels = np.array([[1.0], [1], [0], [0], [0]])
    metric, _, values = evaluate(features, labels, metric_of(('a',)))
    assert metric.neighbours(features).shape == (5, 2)
    assert values['kNN_AUC'] == 1
    one = evaluate(features[:1], labels[:1], metric_of(('a',)))[2]
    assert np.isnan(one['kNN_AUC'])


def test_saved_records_come_back(images):
    metric, records, values = evaluate(*images)
    again = metric_of()
    names = [record.img_id for record in records]
    again.process(None, list(again.unpack(metric.pack(records), names)))
    assert again.evaluate(0) == pytest.approx(values)
    assert metric.same_truth(records[0], records[0])
    assert not metric.same_truth(
        records[0], records[0]._replace(labels=np.array([9.0, 9]))
    )


def test_a_collapse_is_said(monkeypatch):
    lines = []
    monkeypatch.setattr(
        feature_spread, 'log', lambda text, *args: lines.append(text)
    )
    evaluate(np.ones((5, 3)), np.eye(5)[:, :2])
    (line,) = lines
    assert 'x/ssl: the features of 5 images are nearly the same' in line


@pytest.mark.parametrize('options', [dict(k=0), dict(temperature=0)])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(UserError, match='must be a'):
        metric_of(**options)
