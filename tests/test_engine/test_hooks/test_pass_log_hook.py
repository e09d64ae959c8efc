"""What is logged of a pass."""

import json
from pathlib import Path

import pytest


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
