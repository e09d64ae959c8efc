"""What is logged of a pass."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from fx_mm.engine.hooks.pass_log_hook import PassLogHook
from fx_mm.tasks import find_kind, split_name


def test_the_rates_that_were_applied(make_runner):
    """A lock pass of boxes trains no backbone."""
    runner = make_runner(
        **{
            'tasks': ['phantom_b/loc'],
            'train_cfg.max_cycles': 2,
            'cycle.max_batches': 1,
            'val_cfg': None,
            'optim_wrapper.optimizer.lr': 1e-3,
            'optim_wrapper.paramwise_cfg': dict(
                _delete_=True, custom_keys=dict(backbone=dict(lr_mult=0.1))
            ),
            'param_scheduler.0.start_factor': 0.5,
        }
    )
    runner.train()
    file = Path(runner.log_dir, 'vis_data', 'scalars.json')
    passes = map(json.loads, file.read_text().splitlines())
    rates = [
        {key: line[key] for key in line if key.startswith('lr')}
        for line in passes
    ]
    assert rates == [
        pytest.approx(expected)
        for expected in (
            {'lr': 5e-4},
            {'lr': 5e-4, 'lr/backbone': 5e-5},
            {'lr': 1e-3},
            {'lr': 1e-3, 'lr/backbone': 1e-4},
        )
    ]


def test_a_validation_tells_what_each_task_has(monkeypatch):
    """Answers to questions have no F1 of findings."""
    lines = []
    tasks = [
        SimpleNamespace(name=name, kind=find_kind(split_name(name)[1]))
        for name in ('a/cls', 'b/report', 'c/report', 'd/report')
    ]
    runner = SimpleNamespace(
        tasks=tasks, logger=SimpleNamespace(info=lines.append)
    )
    monkeypatch.setattr(PassLogHook, '_write', lambda *args: None)
    hook = PassLogHook()
    hook.before_val(runner)
    nan = float('nan')
    metrics = {
        'teacher/a/cls/AUC': 0.7,
        'student/a/cls/AUC': 0.6,
        'teacher/b/report/BLEU_4': 0.1,
        'teacher/b/report/F1': 0.5,
        'teacher/c/report/F1': nan,
        'teacher/c/report/BLEU_4': 0.0,
        'teacher/c/report/closed': 0.9,
        'teacher/d/report/F1': nan,
    }
    hook.after_val_epoch(runner, metrics)
    assert lines[0].partition(': ')[2].split('  ') == [
        *('teacher/a/cls/AUC 0.700', 'student/a/cls/AUC 0.600'),
        *('teacher/b/report/F1 0.500', 'teacher/c/report/closed 0.900'),
        'teacher/d/report/F1 nan',
    ]
