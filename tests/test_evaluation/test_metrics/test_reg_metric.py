"""Metrics of numbers against scikit-learn and scipy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import (
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from fx_mm.evaluation import RegMetric
from fx_mm.evaluation.statistics.bootstrap import draw, interval, unweighted
from fx_mm.tasks import Task

NAN = math.nan
TARGETS = ('age', 'ratio')


def metric_of(classes=TARGETS):
    metric = RegMetric()
    metric.dataset_meta = Task('x', 'reg', classes).meta
    metric.kept = []
    return metric


def evaluate(truth, pred, classes=TARGETS):
    """The metric, its records and all results of numbers (N, C)."""
    metric = metric_of(classes)
    for number, (true, guess) in enumerate(zip(truth, pred)):
        sample = dict(
            img_id=f'{number:04}',
            gt_value=torch.as_tensor(true),
            pred_value=torch.as_tensor(guess),
        )
        metric.process(None, [sample])
    metric.evaluate(len(truth))
    ((records, values),) = metric.kept
    return metric, records, {**values, **metric.details(records)}


@pytest.fixture(scope='module')
def numbers():
    """Ages with a bias, ratios that are partly unknown."""
    rng = np.random.default_rng(0)
    truth = rng.normal((60.0, 0.45), (15.0, 0.05), (200, 2))
    pred = truth + rng.normal((2.0, 0.0), (6.0, 0.02), (200, 2))
    truth[rng.random(200) < 0.3, 1] = NAN
    return truth, pred


def test_against_scikit_learn_and_scipy(numbers):
    truth, pred = numbers
    _, _, values = evaluate(truth, pred)
    wanted = {}
    for c, name in enumerate(TARGETS):
        known = ~np.isnan(truth[:, c])
        pair = truth[known, c], pred[known, c]
        wanted[f'R2/{name}'] = r2_score(*pair)
        wanted[f'Pearson/{name}'] = pearsonr(*pair)[0]
        wanted[f'MAE/{name}'] = mean_absolute_error(*pair)
        wanted[f'RMSE/{name}'] = root_mean_squared_error(*pair)
        wanted[f'bias/{name}'] = (pair[1] - pair[0]).mean()
        wanted[f'SD/{name}'] = (pair[1] - pair[0]).std()
        wanted[f'n_known/{name}'] = known.sum()
    for key in ('R2', 'Pearson', 'MAE'):
        wanted[key] = np.mean([wanted[f'{key}/{name}'] for name in TARGETS])
    assert values == pytest.approx(wanted, rel=1e-10)


def test_headlines_and_details_share_no_key(numbers):
    metric, records, values = evaluate(*numbers)
    headlines = metric.compute_unique(records)
    details = metric.details(records)
    assert {*headlines} & {*details} == set()
    assert {key.split('/')[0] for key in headlines} == {'R2', 'Pearson', 'MAE'}
    assert {*headlines, *details} == {*values}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(NAN), st.integers(-20, 20)),
            st.integers(-20, 20),
        ),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_weights_count_images_as_often(pairs, data):
    """A weight of k is the image k times; 0 leaves it out."""
    truth, pred = np.array(pairs, np.float64).T.reshape(2, -1, 1)
    metric, records, _ = evaluate(truth, pred, ('age',))
    size = len(records)
    counts = st.lists(st.integers(0, 3), min_size=size, max_size=size)
    weights = np.array([data.draw(counts)], np.uint16)
    draws = metric.statistics(records)(weights)
    found = {key: float(values[0]) for key, values in draws.items()}
    rows = np.repeat(np.arange(size), weights[0])
    known = rows[~np.isnan(truth[rows, 0])]
    true, guess = truth[known, 0], pred[known, 0]
    if not known.size:
        assert all(math.isnan(value) for value in found.values())
        return
    assert found['MAE'] == pytest.approx(mean_absolute_error(true, guess))
    if len(set(true)) < 2:
        assert math.isnan(found['R2']) and math.isnan(found['Pearson'])
        return
    wanted = r2_score(true, guess)
    assert found['R2'] == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    if len(set(guess)) < 2:
        assert math.isnan(found['Pearson'])
    else:
        wanted = pearsonr(true, guess)[0]
        assert found['Pearson'] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_intervals_hold_the_value(numbers):
    metric, records, values = evaluate(*numbers)
    draws = draw(metric.statistics(records), len(records), 500)
    for key in ('R2', 'Pearson', 'MAE', 'R2/age', 'MAE/ratio', 'bias/age'):
        low, high = interval(draws[key])
        assert low < values[key] < high, key
    # the textbook's interval of a mean
    gaps = numbers[1][:, 0] - numbers[0][:, 0]
    low, high = interval(draws['bias/age'])
    half = 1.96 * gaps.std() / math.sqrt(len(gaps))
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_statistics_of_ones_are_the_metrics(numbers):
    metric, records, values = evaluate(*numbers)
    found = unweighted(metric.statistics(records), len(records))
    for key, value in found.items():
        assert values[key] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize('value', [0.1, 1e6, -3.0])
def test_a_truth_of_one_value_has_no_r2(value):
    pred = np.array([[value], [value + 1], [value - 2]])
    _, records, values = evaluate(np.full((3, 1), value), pred, ('age',))
    assert math.isnan(values['R2']) and math.isnan(values['Pearson'])
    assert values['MAE'] == pytest.approx(1)


def test_large_offsets_keep_their_digits():
    rng = np.random.default_rng(1)
    truth = 1e7 + rng.normal(size=(50, 1))
    pred = truth + rng.normal(0, 0.3, (50, 1))
    _, _, values = evaluate(truth, pred, ('age',))
    assert values['R2'] == pytest.approx(r2_score(truth, pred), rel=1e-6)


def test_unknown_and_empty():
    metric, records, values = evaluate(
        np.full((3, 2), NAN), np.zeros((3, 2)), TARGETS
    )
    assert math.isnan(values['MAE']) and values['n_known/age'] == 0
    values = metric.compute_metrics([])
    assert all(math.isnan(value) for value in values.values())


def test_broken_predictions_are_nan_and_named(numbers):
    truth, pred = (each.copy() for each in numbers)
    pred[3, 0] = NAN
    metric, records, values = evaluate(truth, pred)
    assert math.isnan(values['R2/age']) and math.isnan(values['MAE/age'])
    assert values['R2'] == values['R2/ratio'] > 0
    notes = metric.notes(records, values, 'teacher', False)
    assert 'teacher gives numbers that are not finite for age' in notes[0]


def test_a_prediction_of_an_unknown_number_does_not_count(numbers):
    truth, pred = numbers
    _, _, before = evaluate(truth, pred)
    pred = np.where(np.isnan(truth), NAN, pred)
    _, _, after = evaluate(truth, pred)
    assert before == after


def test_notes_say_what_the_numbers_are_relative_to(numbers):
    metric, records, values = evaluate(*numbers)
    spread, share = metric.notes(records, values, 'teacher', False)
    known = numbers[0][~np.isnan(numbers[0][:, 1]), 1]
    assert f'age {numbers[0][:, 0].std():.3g} (200 images)' in spread
    assert f'ratio {known.std():.3g} ({len(known)} images)' in spread
    assert 'only where they share a unit' in share
    metric, records, values = evaluate(
        np.ones((4, 1)), np.zeros((4, 1)), ('age',)
    )
    (note,) = metric.notes(records, values, 'teacher', False)
    assert 'age are undefined: its known numbers (4) do not differ' in note


def test_saved_predictions_come_back(numbers):
    metric, records, _ = evaluate(*numbers)
    columns = metric.pack(records)
    img_ids = [record.img_id for record in records]
    again = metric_of()
    again.process(None, list(again.unpack(columns, img_ids)))
    again.evaluate(0)
    ((found, _),) = again.kept
    for one, other in zip(records, found):
        assert one.img_id == other.img_id
        assert again.same_truth(one, other)
        np.testing.assert_array_equal(one.pred, other.pred)
    assert not again.same_truth(records[0], records[1])


def test_an_image_counts_once(numbers):
    truth, pred = numbers
    metric, records, values = evaluate(truth, pred)
    again = metric.compute_metrics([*records, *records[:7]])
    assert again == {key: values[key] for key in again}
