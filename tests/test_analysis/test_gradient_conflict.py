"""Gradients of the tasks' own losses on the parts that they share."""

import json

import pytest
import torch
from small_run import small_cfg

from fx_mm.analysis.gradient_conflict import (
    measure_conflict,
    release_batches,
    shared_parts,
)
from fx_mm.analysis.step_timing import Trainer
from fx_mm.utils.errors import UserError
from fx_mm.visualization.conflict_plot import plot_conflict


@pytest.fixture
def cfg(tmp_path):
    return small_cfg(tmp_path / 'phantom', tmp_path / 'run')


def test_gradients_are_those_of_the_tasks_own_loss(cfg, tmp_path):
    cfg.tasks = ['phantom_a/cls', 'phantom_c/seg']
    cfg.model.student.backbone.drop_path_rate = 0.0
    conflict = measure_conflict(cfg, folds=3, batches=1)
    assert conflict.tasks == tuple(cfg.tasks)
    trainer = Trainer(cfg, synthetic=False)
    parts = shared_parts(trainer)
    assert list(conflict.products) == list(parts)
    assert {'backbone.stages.0', 'segmentation/decoder'} <= parts.keys()
    names = sum(parts.values(), [])
    assert not any('.heads.' in name for name in names)
    model = trainer.model
    for number, task in enumerate(cfg.tasks):
        assert trainer.begin(task, 'release', True)
        batch = next(release_batches(trainer, task))
        data = model.data_preprocessor(batch, True)
        losses = model.student(**data, mode='loss')
        total = sum(v.mean() for k, v in losses.items() if 'loss' in k)
        weights = dict(model.student.named_parameters())
        own = [weights[name] for name in parts['backbone.stages.0']]
        found = torch.autograd.grad(total, own)
        square = sum((grad**2).sum() for grad in found).item()
        measured = conflict.products['backbone.stages.0']
        assert measured[number, 0, number, 0] == pytest.approx(square, 1e-3)
    assert plot_conflict(conflict, tmp_path / 'c.png').stat().st_size > 5000


def test_one_task_cannot_disagree(cfg):
    cfg.tasks = cfg.tasks[:1]
    with pytest.raises(UserError, match='one task alone'):
        measure_conflict(cfg)
    with pytest.raises(UserError, match='not in the config'):
        measure_conflict(cfg, ['x/cls', 'y/cls'])
    with pytest.raises(UserError, match='folds'):
        measure_conflict(cfg, folds=2)


def test_tool(run, cfg, tmp_path):
    cfg.tasks = ['phantom_a/cls', 'phantom_c/seg']
    config, out = tmp_path / 'config.py', tmp_path / 'out'
    cfg.dump(config)
    code, text, error = run(
        'analysis_tools/gradient_conflict', config, '--out', out,
        '--folds', 3, '--batches', 1,
    )  # fmt: skip
    assert code == 0, error
    assert '| backbone.stages.0 | phantom_a/cls | phantom_c/seg |' in text
    content = json.loads((out / 'gradient_conflict.json').read_text())
    norms = content['parts']['segmentation/decoder']['norms']
    assert norms[0] is None and (norms[1] is None or norms[1] > 0)
    assert (out / 'gradient_conflict.md').read_text() in text
