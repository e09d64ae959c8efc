"""Reconstructions as pictures and numbers."""

import json

import numpy as np
import pytest
import torch

from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.results import SelfSupervisedResult, result_class
from fx_mm.visualization.tiles import SEAM

TASK = Task('toy', 'ssl', ('pixels',))
IMAGE = np.full((40, 30), 90, np.uint8)


def beside(sample, size):
    return SelfSupervisedResult.draw_beside_truth(
        TASK, sample, IMAGE, 0.3, size
    )


@pytest.fixture
def sample():
    sample = FXDataSample(metainfo=dict(task='toy/ssl', img_id='a.png'))
    sample.gt_pixels = torch.linspace(-2, 2, 64).view(8, 8)
    sample.pred_hidden = torch.zeros(8, 8, dtype=torch.bool)
    sample.pred_hidden[4:] = True
    sample.pred_pixels = torch.full((8, 8), -9.0)
    sample.pred_error = torch.tensor(0.25)
    sample.gt_flat_error = torch.tensor(1.0)
    return sample


def test_hidden_parts_are_those_of_the_model(sample):
    assert result_class(TASK) is SelfSupervisedResult
    result = SelfSupervisedResult.from_sample(TASK, sample)
    ramp = np.linspace(0, 255, 64).reshape(8, 8)
    np.testing.assert_allclose(result.pixels[:4], ramp[:4], atol=1)
    assert (result.pixels[4:] == 0).all()
    content = result.to_dict()
    assert content == dict(kind='ssl', masked_L1=0.25, grey_L1=1.0)
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize('value', [np.nan, 3.0])
def test_an_image_of_one_value_can_be_drawn(sample, value):
    sample.gt_pixels = torch.full((8, 8), value)
    both = SelfSupervisedResult.draw_beside_truth(
        TASK, sample, IMAGE, 0.3, 100
    )
    assert both.dtype == np.uint8


def test_the_truth_has_its_hidden_parts_dark(sample):
    both = SelfSupervisedResult.draw_beside_truth(
        TASK, sample, IMAGE, 0.3, 160
    )
    assert both.shape[1] == 320 + SEAM
    left, right = both[:160, :160], both[:160, -160:]
    assert np.array_equal(left[:40], right[:40])
    assert 60 < left[140:].mean() < 100 and right[100:].max() == 0
    marks = SelfSupervisedResult.mark_truth(TASK, sample, TASK.classes)
    assert not marks.lines and SelfSupervisedResult.has_finding(sample)
