"""Runs whose tasks arrive in stages, from config to measures."""

import json
import os
import shutil
import signal

import pytest
import torch
from small_run import Watcher, small_cfg

from fx_mm.apis import build_runner
from fx_mm.datasets.rehearsal_buffer import load_buffer
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

STAGES = [['phantom_a/cls'], ['phantom_b/loc'], ['phantom_c/seg']]
RUN = {
    'tasks': None,
    'train_cfg.max_cycles': 1,
    'cycle.max_batches': 2,
    'val_cfg': None,
    'test_cfg.predict_on': 'teacher',
    'test_cfg.amp_dtype': None,
}
REHEARSAL = dict(count=3, select='random', ratio=0.5)


@pytest.fixture
def make(phantom_root, tmp_path):
    def call(name, resume=False, root=None, **continual):
        options = dict(RUN)
        continual = dict(dict(stages=STAGES), **continual)
        for key in list(continual):
            if '.' in key or key in RUN:
                options[key] = continual.pop(key)
        options['continual'] = continual
        work_dir = tmp_path / name
        cfg = small_cfg(root or phantom_root, work_dir, **options)
        return build_runner(cfg, resume=resume)

    return call


def weights_of(folder):
    return load_file(find_checkpoint(folder))['state_dict']


def assert_equal(one, two):
    one, two = weights_of(one), weights_of(two)
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    'continual',
    [
        dict(
            stages=STAGES,
            rehearsal=REHEARSAL,
            method=dict(type='EWC', images=2),
        ),
        dict(stages=STAGES[:2], method=dict(type='LwF')),
        dict(
            stages=STAGES[:2],
            method=dict(type='FrozenTeacher'),
            **{'test_cfg.predict_on': 'student'},
        ),
    ],
    ids=['rehearsal-and-ewc', 'lwf', 'frozen-teacher'],
)
def test_a_stop_in_a_stage_changes_no_bit(make, tmp_path, continual):
    make('whole', **continual).train()
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    make('cut', **{**continual, 'stages': STAGES[:1]}).train()
    runner = make('cut', resume=True, **continual)
    assert runner.stage == 1 and not runner.resumed

    def stop(runner):
        if runner.iter == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    runner.register_hook(Watcher(stop))
    runner.train()
    assert not (cut / 'stage_2' / 'stage.json').exists()
    resumed = make('cut', resume=True, **continual)
    assert resumed.stage == 1 and resumed.resumed
    resumed.train()
    for number in range(len(continual['stages'])):
        stage = f'stage_{number + 1}'
        assert_equal(whole / stage, cut / stage)
    one, two = (
        json.loads((folder / 'continual.json').read_text())
        for folder in (whole, cut)
    )
    assert one == two
    seen = [task for tasks in continual['stages'] for task in tasks]
    for number, row in enumerate(one['rows']):
        assert list(row) == seen[: number + 1]
    last = (whole / stage / 'results.json').read_text()
    assert (whole / 'results.json').read_text() == last
    assert (whole / 'continual.png').stat().st_size > 1000


@pytest.mark.slow
def test_a_stage_is_added_with_the_images_of_the_buffer_alone(
    make, phantom_root, tmp_path
):
    """Of the old images only the buffer's exist, and those of its tests."""
    two = dict(stages=STAGES[:2], rehearsal=REHEARSAL)
    make('run', **two).train()
    root = tmp_path / 'less'
    shutil.copytree(phantom_root, root)
    buffer = load_buffer(tmp_path / 'run' / 'stage_2' / 'buffer.json')
    assert {len(names) for names in buffer.values()} == {3}
    gone = 0
    for task, names in buffer.items():
        folder = root / 'easy' / f'hospital_{task.split("/")[0][-1]}'
        kept = {folder / 'images' / name for name in names}
        text = (folder / 'train.csv').read_text().splitlines()
        for row in text[1:]:
            image = folder / 'images' / row.split(',')[0]
            if image not in kept:
                image.unlink()
                gone += 1
    assert gone == 2 * (12 - 3)
    three = make('run', resume=True, root=root, rehearsal=REHEARSAL)
    assert three.stage == 2
    datasets = three.train_loop.dataloader.dataset.datasets
    assert [len(d) for d in datasets] == [3, 3, 12]
    schedule = three.train_loop.schedule
    assert [tuple(entry) for entry in schedule.passes] == [
        ('phantom_a/cls', 'release'),
        ('phantom_b/loc', 'release'),
        ('phantom_c/seg', 'lock'),
        ('phantom_c/seg', 'release'),
    ]
    three.train()
    assert len(load_buffer(tmp_path / 'run/stage_3/buffer.json')) == 3


@pytest.mark.slow
def test_with_norms_by_kind_and_early_stopping(make, tmp_path):
    """What depends on the task is asked for a task; a stop is an end."""
    early = dict(
        type='CyclicEarlyStoppingHook', patience=1, stopping_threshold=-1.0
    )
    options = {
        'model.student.adapter': dict(type='KindNorms'),
        'default_hooks.early_stopping': early,
        'train_cfg.max_cycles': 3,
        'val_cfg': dict(),
    }
    make(
        'run',
        stages=STAGES[:2],
        rehearsal=dict(count=3, select='herding'),
        method=dict(type='LwF'),
        **options,
    ).train()
    for number in (1, 2):
        stage = tmp_path / f'run/stage_{number}'
        assert (stage / 'stage.json').exists()
    scores = json.loads((tmp_path / 'run/continual.json').read_text())
    assert len(scores['rows']) == 2


def test_an_adapter_on_a_base_is_refused_before_it_trains(make):
    adapter = {'model.student.adapter': dict(type='LoRA')}
    with pytest.raises(UserError, match='continual does not go with'):
        make('run', **adapter).prepare()


@pytest.mark.slow
def test_an_empty_buffer_is_no_rehearsal(make, tmp_path):
    stages = STAGES[:2]
    make('none', stages=stages).train()
    make('empty', stages=stages, rehearsal=dict(count=0)).train()
    assert_equal(tmp_path / 'none/stage_2', tmp_path / 'empty/stage_2')
    assert not (tmp_path / 'empty/stage_1/buffer.json').exists()


@pytest.mark.slow
@pytest.mark.parametrize('select', ['balanced', 'herding'])
def test_a_stage_behind_a_finished_run(make, tmp_path, select):
    """Ark's case: what is finished is an ordinary run of its own."""
    make('first', stages=STAGES[:1]).train()
    start = find_checkpoint(tmp_path / 'first' / 'stage_1')
    rehearsal = dict(share=0.5, select=select)
    continual = dict(start=start, stages=STAGES[:2], rehearsal=rehearsal)
    make('then', **continual).train()
    record = json.loads((tmp_path / 'then/stage_1/stage.json').read_text())
    assert record['checkpoint'] == start
    scores = json.loads((tmp_path / 'then/continual.json').read_text())
    first = json.loads((tmp_path / 'first/continual.json').read_text())
    assert scores['rows'][0] == first['rows'][0]
    lengths = load_buffer(tmp_path / 'then/stage_1/buffer.json')
    assert len(lengths['phantom_a/cls']) == 6
    with pytest.raises(UserError, match='has no head for "phantom_b/loc"'):
        make('wrong', **{**continual, 'stages': STAGES[1:]}).train()


def test_finished_stages_are_not_trained_again(make, tmp_path):
    record = dict(tasks=['phantom_a/cls'], checkpoint='iter_1.pth')
    folder = tmp_path / 'run' / 'stage_1'
    folder.mkdir(parents=True)
    (folder / 'stage.json').write_text(json.dumps(record))
    with pytest.raises(UserError, match='has 1 finished stages; go on'):
        make('run')
    with pytest.raises(UserError, match='is a finished stage with phantom_a'):
        make('run', resume=True, stages=STAGES[1:])
    with pytest.raises(UserError, match='give --resume alone'):
        make('run', resume=str(folder / 'iter_1.pth'))


def test_a_method_that_is_none(make):
    with pytest.raises(UserError, match='use EWC, LwF or FrozenTeacher'):
        make('run', method=dict(type='MeanTeacherHook'))
    with pytest.raises(UserError, match='use EWC, LwF or FrozenTeacher'):
        make('run', method=dict(type='EWK'))
