"""Typed predictions of numbers: text, pictures, JSON and plots."""

import json
import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from fx_mm.evaluation import RegMetric
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.results import RegResult, result_class
from fx_mm.visualization.task_plots import plot_task
from fx_mm.visualization.tiles import SEAM

NAN = math.nan
TASK = Task('toy', 'reg', ('age', 'ratio'))
IMAGE = np.full((40, 30), 90, np.uint8)


@pytest.fixture
def sample():
    sample = FXDataSample(metainfo=dict(task='toy/reg', img_id='a.png'))
    sample.gt_value = torch.tensor([61.0, NAN])
    sample.pred_value = torch.tensor([58.25, 0.451234567])
    return sample


def test_the_kind_has_this_result(sample):
    assert result_class(TASK) is RegResult
    result = RegResult.from_sample(TASK, sample)
    assert result.numbers == {
        'age': 58.25,
        'ratio': pytest.approx(0.451234567, rel=1e-6),
    }
    assert result.std is None


def test_json_holds_numbers_and_null(sample):
    content = RegResult.from_sample(TASK, sample).to_dict()
    assert content == dict(
        kind='reg', values=dict(age=58.25, ratio=pytest.approx(0.451235))
    )
    sample.pred_value[0] = NAN
    sample.pred_std = torch.tensor([3.0, 0.02])
    content = RegResult.from_sample(TASK, sample).to_dict()
    assert content['values']['age'] is None
    assert content['std'] == dict(age=3.0, ratio=pytest.approx(0.02))
    json.dumps(content, allow_nan=False)


def test_a_row_per_image(sample):
    result = RegResult.from_sample(TASK, sample)
    row = result.row()
    assert list(row) == RegResult.columns(TASK)
    assert row == {'toy/reg/age': '58.25', 'toy/reg/ratio': '0.451235'}


def test_truth_of_a_sample(sample):
    assert RegResult.has_finding(sample)
    marks = RegResult.mark_truth(TASK, sample, TASK.classes)
    assert marks.lines == ['61 age', 'unknown ratio']
    sample.gt_value[0] = NAN
    assert not RegResult.has_finding(sample)


def test_tiles(sample):
    result = RegResult.from_sample(TASK, sample)
    tile = result.draw(IMAGE, 0.3, 200)
    assert tile.shape == (200 + 15 * 2, 200, 3)
    assert (tile[200:] > 100).any(), 'no text'
    both = RegResult.draw_beside_truth(TASK, sample, IMAGE, 0.3, 200)
    assert both.shape == (tile.shape[0] + 15, 400 + SEAM, 3)
    other = sample.clone()
    other.pred_value = torch.tensor([59.25, 0.45])
    again = RegResult.draw_beside_truth(TASK, other, IMAGE, 0.3, 200)
    assert (both[:, :200] == again[:, :200]).all()
    assert (both[:, 200:] != again[:, 200:]).any()


def metric_and_records(truth, pred, classes):
    metric = RegMetric()
    metric.dataset_meta = Task('toy', 'reg', classes).meta
    metric.kept = []
    for i, (true, guess) in enumerate(zip(truth, pred)):
        metric.process(
            None,
            [
                dict(
                    img_id=f'{i:03}',
                    gt_value=torch.as_tensor(true),
                    pred_value=torch.as_tensor(guess),
                )
            ],
        )
    metric.evaluate(0)
    ((records, values),) = metric.kept
    return metric, records, {**values, **metric.details(records)}


def plotted(truth, pred, classes):
    metric, records, values = metric_and_records(truth, pred, classes)
    axes = Figure().subplots(1, RegResult.panels)
    RegResult.plot(axes, metric, records, values)
    return axes, values


def test_plots_of_one_target_are_in_its_unit():
    rng = np.random.default_rng(0)
    truth = rng.normal(60, 10, (50, 1))
    truth[3] = NAN
    pred = truth + rng.normal(2, 4, (50, 1))
    (scatter, agreement), values = plotted(truth, pred, ('age',))
    known = ~np.isnan(truth[:, 0])
    dots = scatter.lines[0]
    np.testing.assert_allclose(dots.get_xdata(), truth[known, 0])
    np.testing.assert_allclose(dots.get_ydata(), pred[known, 0])
    assert f'{values["R2"]:.3f}' in dots.get_label()
    heights = sorted(line.get_ydata()[0] for line in agreement.lines[1:4])
    bias, spread = values['bias/age'], 1.96 * values['SD/age']
    np.testing.assert_allclose(heights, [bias - spread, bias, bias + spread])
    low, high = scatter.get_xlim()
    assert low < np.nanmin(truth) and high > np.nanmax(truth)
    assert high < 2 * np.nanmax(pred), 'the axis ends where the numbers do'


def test_several_targets_share_the_plots_in_standard_deviations():
    rng = np.random.default_rng(0)
    truth = rng.normal((60, 0.5), (10, 0.05), (50, 2))
    pred = truth + rng.normal(0, (4, 0.02), (50, 2))
    (scatter, agreement), _ = plotted(truth, pred, ('age', 'ratio'))
    for line in scatter.lines[:2]:
        assert abs(np.mean(line.get_xdata())) < 1e-9
        assert np.std(line.get_xdata()) == pytest.approx(1)
    assert 'standard deviations' in scatter.get_xlabel()


@pytest.mark.parametrize('value', [NAN, 3.0])
def test_plots_without_anything_to_draw(tmp_path, value):
    truth = np.full((4, 1), value)
    metric, records, values = metric_and_records(
        truth, np.zeros((4, 1)), ('age',)
    )
    path = plot_task(metric, records, values, 'toy', tmp_path / 'plot.png')
    assert path.stat().st_size > 1000
