"""Forgetting in a real training, with a stop in between."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from fx_mm.utils.errors import UserError

FORGETTING = {
    'tasks': ['phantom_a/cls', 'phantom_c/seg'],
    'train_cfg.val_unit': 'pass',
    'cycle.max_batches': 1,
    'default_hooks.forgetting': dict(type='ForgettingHook', picture=False),
    'default_hooks.checkpoint.unit': 'pass',
    'val_cfg.predict_on': ['teacher', 'student'],
}


class Stop(Hook):
    """Send a signal in an iteration."""

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if runner.iter + 1 == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


def rows_of(runner):
    content = Path(runner.work_dir, 'forgetting.json').read_text()
    return json.loads(content)['rows']


@pytest.mark.slow
def test_rows_survive_a_stop(make_runner):
    drawn = {'default_hooks.forgetting.picture': True}
    whole = make_runner(work_dir='whole', **FORGETTING, **drawn)
    whole.train()
    rows = rows_of(whole)
    assert [(row['number'], row['cycle'], row['task']) for row in rows] == [
        (1, 1, 'phantom_a/cls'),
        (2, 1, 'phantom_c/seg'),
        (3, 1, 'phantom_c/seg'),
        (4, 2, 'phantom_a/cls'),
        (5, 2, 'phantom_c/seg'),
        (6, 2, 'phantom_c/seg'),
    ]
    assert [row['mode'] for row in rows[:3]] == ['release', 'lock', 'release']
    for row in rows:
        for scores in row['scores'].values():
            assert 0 <= scores['phantom_c/seg'] <= 1
    for name in ('forgetting.csv', 'forgetting.png'):
        assert (Path(whole.work_dir) / name).stat().st_size > 100
    recorded = Path(whole.log_dir).glob('vis_data/vis_image/forgetting_*.png')
    assert len(list(recorded)) == len(rows)

    cut = make_runner(work_dir='cut', **FORGETTING)
    cut.register_hook(Stop(4))
    cut.train()
    assert len(rows_of(cut)) < 6
    # what was validated after the checkpoint is validated again
    file = Path(cut.work_dir) / 'forgetting.json'
    content = json.loads(file.read_text())
    content['rows'].append(dict(content['rows'][-1], number=99))
    file.write_text(json.dumps(content))
    resumed = make_runner(work_dir='cut', resume=True, **FORGETTING)
    resumed.train()
    assert rows_of(resumed) == rows
    text = Path(whole.work_dir, 'forgetting.csv').read_text()
    table = list(csv.DictReader(text.splitlines()))
    assert {line['predict_on'] for line in table} == {'teacher', 'student'}


def test_rows_that_cannot_be_read_do_not_stop_a_resume(make_runner):
    cut = make_runner(**FORGETTING)
    cut.register_hook(Stop(4))
    cut.train()
    (Path(cut.work_dir) / 'forgetting.json').write_text('{')
    resumed = make_runner(resume=True, **FORGETTING)
    resumed.train()
    assert [row['number'] for row in rows_of(resumed)][-1] == 6


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg.val_unit': 'cycle'}, 'val_unit="pass"'),
        ({'train_cfg.val_interval': 3}, 'validations within the cycle'),
        ({'cycle.order': 'concurrent'}, 'mixed cycle.order'),
        ({'val_cfg': None}, 'config has no val_cfg'),
    ],
)
def test_what_cannot_be_told_apart_is_refused(make_runner, options, message):
    runner = make_runner(**{**FORGETTING, **options})
    with pytest.raises(UserError, match=message):
        runner.train()
