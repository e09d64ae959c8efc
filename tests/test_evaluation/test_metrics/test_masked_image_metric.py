"""Errors of reconstructions, and features that are all the same."""

import numpy as np
import pytest
import torch

from fx_mm.evaluation import MaskedImageMetric
from fx_mm.evaluation.metrics import feature_spread
from fx_mm.evaluation.statistics.bootstrap import unweighted
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


def metric_of(**options):
    metric = MaskedImageMetric(**options)
    metric.dataset_meta = Task('x', 'ssl', ('pixels',)).meta
    metric.kept = []
    return metric


def evaluate(errors, flat, features, metric=None):
    metric = metric or metric_of()
    for number, each in enumerate(zip(errors, flat, features)):
        error, grey, feature = map(torch.as_tensor, each)
        metric.process(
            None,
            [
                dict(
                    img_id=f'{number:03}',
                    pred_error=error,
                    gt_flat_error=grey,
                    pred_feature=feature,
                )
            ],
        )
    metric.evaluate(0)
    ((records, values),) = metric.kept
    return metric, records, values


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(
        feature_spread, 'log', lambda text, *args: lines.append(text)
    )
    return lines


def test_a_perfect_and_a_grey_reconstruction(warnings):
    features = np.eye(3)
    _, _, values = evaluate([0.0] * 3, [0.5, 1.0, 0.7], features)
    assert values['skill'] == values['skill/pixels'] == 1
    assert values['L1'] == 0
    _, _, values = evaluate([0.5, 1.0], [0.5, 1.0], features[:2])
    assert values['skill'] == 0 and values['L1'] == 0.75
    assert not warnings


def test_against_the_definitions():
    rng = np.random.default_rng(0)
    errors, flat = rng.uniform(0.1, 1, (2, 50))
    features = rng.normal(0.5, 1, (50, 8))
    metric, records, values = evaluate(errors, flat, features)
    assert values['skill'] == pytest.approx(1 - errors.sum() / flat.sum())
    assert values['L1'] == pytest.approx(errors.mean())
    unit = features / np.linalg.norm(features, axis=1)[:, None]
    gaps = ((unit - unit.mean(0)) ** 2).sum(1)
    assert values['spread'] == pytest.approx(np.sqrt(gaps.mean()), abs=1e-6)
    assert values == unweighted(metric.statistics(records), 50)
    assert metric.details(records) == {}


def test_a_weight_counts_an_image_as_often():
    rng = np.random.default_rng(1)
    errors, flat = rng.uniform(0.1, 1, (2, 6))
    features = rng.normal(size=(6, 4))
    metric, records, _ = evaluate(errors, flat, features)
    weights = np.array([[2, 0, 1, 1, 0, 2]], np.uint16)
    found = metric.statistics(records)(weights)
    rows = np.repeat(np.arange(6), weights[0])
    _, _, wanted = evaluate(errors[rows], flat[rows], features[rows])
    for key, value in wanted.items():
        assert found[key][0] == pytest.approx(value, abs=1e-6)


def test_equal_features_are_a_collapse(warnings):
    features = np.ones((5, 4)) * np.arange(1, 6)[:, None]
    _, _, values = evaluate([0.5] * 5, [1.0] * 5, features)
    assert values['spread'] < 1e-3
    (line,) = warnings
    assert line.startswith('x/ssl: the features of 5 images are nearly the')
    evaluate([0.5] * 5, [1.0] * 5, features, metric_of(min_spread=0.0))
    assert len(warnings) == 1


def test_one_image_has_no_spread_and_no_warning(warnings):
    _, _, values = evaluate([0.2], [0.8], np.ones((1, 4)))
    assert values['skill'] == pytest.approx(0.75)
    assert values['spread'] == pytest.approx(0, abs=1e-3)
    assert not warnings


def test_saved_records_come_back():
    features = np.random.default_rng(2).normal(size=(4, 3))
    metric, records, values = evaluate([0.1] * 4, [0.4] * 4, features)
    columns = metric.pack(records)
    again = metric_of()
    names = [record.img_id for record in records]
    again.process(None, list(again.unpack(columns, names)))
    assert again.evaluate(0) == pytest.approx(values)
    assert metric.same_truth(records[0], records[0])
    other = records[0]._replace(flat_error=0.5)
    assert not metric.same_truth(records[0], other)


def test_a_bound_that_makes_no_sense_is_refused():
    with pytest.raises(UserError, match='min_spread'):
        metric_of(min_spread=2)
