"""What the stages compare, against what is known."""

import time
from pathlib import Path

import pytest
import torch
from mmdet.models.losses import FocalLoss

from fx_mm.analysis.gpu_check import numerics, operators
from fx_mm.analysis.gpu_check.configs import all_configs, demo, swin
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.loader import fastest
from fx_mm.analysis.step_timing import measure
from fx_mm.analysis.stock_models import OneHotLoss
from fx_mm.config import load_config
from fx_mm.tasks import split_name

REPO = Path(__file__).parents[3]


@pytest.fixture
def job(tmp_path):
    results = []
    job = Job(
        *('cpu', True, time.time() + 60, REPO, tmp_path, {}, results.append)
    )
    job.results = results
    return job


def test_attentions_of_the_paper():
    path = REPO / 'configs/foundation_x/foundation-x_swin-b_150c.py'
    encoder, decoder = operators.attentions(load_config(str(path)))
    shapes = ((28, 28), (14, 14), (7, 7), (4, 4))
    assert encoder == (shapes, 1045, 8, 32, 4)
    assert decoder == (shapes, 900, 8, 32, 4)


def test_configs_without_boxes_have_none():
    path = REPO / 'configs/phantom/regression_tiny_phantom.py'
    assert not list(operators.attentions(load_config(str(path))))


def test_all_shipped_configs_are_looked_at(job):
    names = {path.stem for path in all_configs(job)}
    assert 'foundation-x_swin-l-768_150c' in names
    assert 'foundation-x_swin-b' not in names


def test_attention_against_float64(job):
    attention = operators.Attention(((5, 3), (1, 1)), 7, 2, 16, 3)
    operators.check_attention(job, attention)
    exact = [r for r in job.results if 'float32' in r['name']]
    assert exact and all(r['value'] < 1e-5 for r in exact)
    assert all(r['passed'] for r in job.results)


def test_a_wrong_kernel_is_noticed(job, monkeypatch):
    def wrong(value, shapes, locations, *more):
        output = right(value, shapes, locations, *more)
        # right values, wrong gradients
        total = locations.sum()
        return output * (1 + total - total.detach())

    right = operators.sample_levels
    monkeypatch.setattr(operators, 'sample_levels', wrong)
    attention = operators.Attention(((4, 4),), 5, 2, 16, 2)
    operators.check_attention(job, attention)
    assert not any(r['passed'] for r in job.results)


@pytest.mark.parametrize('make', [demo, swin])
def test_each_kind_has_a_task(job, make):
    kinds = [split_name(task)[1] for task in make(job).tasks]
    assert kinds == ['cls', 'loc', 'seg', 'reg']


def test_difference_of_gradients(job):
    cfg = demo(job)
    cfg.tasks = ['phantom_b/cls']
    cfg.model.student.backbone.update(embed_dims=16, depths=(1, 1, 1, 1))
    model = numerics.without_chance(cfg)
    gradients = {n: p.detach() for n, p in model.student.named_parameters()}
    assert numerics.worst_part(model, gradients, gradients) == 0
    name = next(n for n in gradients if n.startswith('classification.heads'))
    other = dict(gradients, **{name: 1.5 * gradients[name]})
    assert 0.1 < numerics.worst_part(model, other, gradients) <= 0.5
    del other[name]
    error = numerics.worst_part(model, other, gradients)
    assert error != error


def test_stock_loss_is_mmdets():
    torch.manual_seed(0)
    logits, labels = torch.randn(9, 3), torch.randint(4, (9,))
    loss = FocalLoss()
    weight = torch.rand(9)
    torch.testing.assert_close(
        OneHotLoss(loss)(logits, labels, weight, avg_factor=5.0),
        loss(logits, labels, weight, avg_factor=5.0),
    )


def test_the_fastest_step(job):
    assert fastest(job, 'cls') == 0
    rows = [('cls lock', 'ms', 9), ('cls lock', 'images/s', 5)]
    rows += [('cls alone', 'images/s', 7), ('seg alone', 'images/s', 8)]
    job.earlier = dict(
        steps=[dict(name=n, unit=u, value=v) for n, u, v in rows]
    )
    assert fastest(job, 'cls') == 7


def test_measuring_ends_with_its_time():
    calls = []
    case = (lambda: None, lambda: calls.append(time.sleep(0.01)))
    found = measure(dict(a=case, b=case), 1000, 1, seconds=0.1)
    assert 8 <= len(calls) < 100
    assert found['a']['wall'] >= 10
    calls.clear()
    measure(dict(a=case), 1000, 2, seconds=0)
    assert len(calls) == 5
