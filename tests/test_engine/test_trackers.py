"""The same tags, pictures and report in every tracker, also after a resume."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from fx_mm.apis import build_runner
from fx_mm.engine.trackers import MLflowTracker, TensorboardTracker
from fx_mm.utils.errors import UserError

LOCAL = dict(type='LocalVisBackend')
SHORT = {
    'tasks': ['phantom_a/cls', 'phantom_b/loc'],
    'cycle.max_batches': 1,
}
REPORT = ('results.json', 'results.md', 'curves.png', 'predictions.png')


def backends(*trackers):
    return {'visualizer.vis_backends': [LOCAL, *trackers]}


def scalars_of(folder):
    """(name, step) to value, of all stretches of a run."""
    found = {}
    for file in sorted(Path(folder).glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            content = json.loads(line)
            step = content.pop('step')
            found |= {(k, step): v for k, v in content.items()}
    return found


def read_tensorboard(folder):
    events = EventAccumulator(str(folder), size_guidance=dict(scalars=0))
    events.Reload()
    return events, {
        (tag, event.step): event.value
        for tag in events.Tags()['scalars']
        for event in events.Scalars(tag)
    }


def check_scalars(found, expected):
    report = {key for key in found if key[0].startswith('report/')}
    assert report and found.keys() - report == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5, nan_ok=True)


@pytest.mark.slow
def test_tensorboard(make_runner):
    options = {**SHORT, **backends(dict(type='TensorboardTracker'))}
    make_runner(**options, **{'train_cfg.max_cycles': 1}).train()
    runner = make_runner(
        resume=True, report=True, **options, **{'train_cfg.max_cycles': 2}
    )
    runner.train()
    folder = Path(runner.work_dir)
    (run,) = (folder / 'tensorboard').iterdir()
    events, found = read_tensorboard(run)
    check_scalars(found, scalars_of(folder))
    assert ('phantom_b/loc/loss_bbox', 6) in found
    assert {'predictions', 'curves'} <= set(events.Tags()['images'])
    texts = events.Tags()['tensors']
    assert 'report/text_summary' in texts and 'config/text_summary' in texts


@pytest.mark.slow
def test_mlflow(make_runner):
    mlflow = pytest.importorskip('mlflow')
    options = {**SHORT, **backends(dict(type='MLflowTracker'))}
    make_runner(**options, **{'train_cfg.max_cycles': 1}).train()
    runner = make_runner(
        resume=True, report=True, **options, **{'train_cfg.max_cycles': 2}
    )
    runner.train()
    folder = Path(runner.work_dir)
    client = mlflow.MlflowClient(f'sqlite:///{folder}/mlflow.db')
    experiment = client.get_experiment_by_name('fx_mm')
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == 'FINISHED'
    key = run.info.run_id
    found = {
        (name, metric.step): metric.value
        for name in run.data.metrics
        for metric in client.get_metric_history(key, name)
    }
    check_scalars(found, scalars_of(folder))
    files = {f.path for f in client.list_artifacts(key, 'report')}
    assert {f'report/{name}' for name in REPORT} <= files
    images = {f.path for f in client.list_artifacts(key, 'images')}
    assert {'images/predictions_6.png', 'images/curves_6.png'} <= images
    assert 'config.py' in {f.path for f in client.list_artifacts(key)}


@pytest.mark.slow
def test_wandb(make_runner, monkeypatch):
    wandb = pytest.importorskip('wandb')
    entry = dict(
        type='WandbTracker', init_kwargs=dict(project='cxr', mode='offline')
    )
    logged, ids = [], []
    init = wandb.init

    def watch(**kwargs):
        run = init(**kwargs)
        ids.append((run.id, kwargs.get('id')))
        log = run.log
        monkeypatch.setattr(
            run, 'log', lambda data: (logged.append(data), log(data))
        )
        return run

    monkeypatch.setattr(wandb, 'init', watch)
    options = {**SHORT, **backends(entry)}
    make_runner(**options, **{'train_cfg.max_cycles': 1}).train()
    runner = make_runner(
        resume=True, report=True, **options, **{'train_cfg.max_cycles': 2}
    )
    runner.train()
    (first, none), (second, given) = ids
    assert none is None and first == second == given
    folder = Path(runner.work_dir)
    found = {
        (name, data['iteration']): value
        for data in logged
        if 'iteration' in data
        for name, value in data.items()
        if name != 'iteration' and isinstance(value, float | int)
    }
    check_scalars(found, scalars_of(folder))
    names = {name for data in logged for name in data}
    assert {'predictions', 'curves', 'report'} <= names
    # what the library wrote is whole
    files = sorted(folder.glob(f'wandb/offline-run-*-{first}/run-*.wandb'))
    assert len(files) == 2 and all(f.stat().st_size > 1000 for f in files)


def test_a_test_is_a_run_of_its_own(tmp_path):
    """No scalars, no id: a training that is resumed later finds its own."""
    config = Config(dict(work_dir=str(tmp_path), resume=False))
    first = TensorboardTracker(str(tmp_path / 'x/vis_data'))
    first.add_config(config)
    first.add_scalars({'a/cls/loss': 1.0}, 3)
    first.close()
    ids = (tmp_path / 'trackers.json').read_text()
    test = TensorboardTracker(str(tmp_path / 'y/vis_data'))
    test.add_config(config)
    test.add_image('predictions', np.zeros((4, 4, 3), np.uint8), 3)
    test.add_report({'a/cls/AUC': 0.5}, '| a |', [], 3)
    test.close()
    assert (tmp_path / 'trackers.json').read_text() == ids
    config.resume = True
    time.sleep(1)  # files of one second are read in any order
    third = TensorboardTracker(str(tmp_path / 'z/vis_data'))
    third.add_config(config)
    # what was logged behind the checkpoint is not shown any more
    third.prepare(2)
    first_values = {3: 0.25, 4: 0.125}
    for step, value in first_values.items():
        third.add_scalars({'a/cls/loss': value}, step)
    third.close()
    name = json.loads(ids)['tensorboard']
    _, found = read_tensorboard(tmp_path / 'tensorboard' / name)
    assert found == {
        ('a/cls/loss', step): value for step, value in first_values.items()
    }


def test_nothing_to_keep_opens_nothing(tmp_path):
    tracker = TensorboardTracker(str(tmp_path / 'x'))
    tracker.add_config(Config(dict(work_dir=str(tmp_path))))
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_a_warning_once(tmp_path, caplog, monkeypatch):
    tracker = TensorboardTracker(str(tmp_path / 'x'))
    tracker.add_config(Config(dict(work_dir=str(tmp_path))))
    told = []
    monkeypatch.setattr(
        'fx_mm.engine.trackers.base.print_log',
        lambda text, **kwargs: told.append(text),
    )
    picture = np.zeros((4, 4), np.uint8)  # has no colours
    tracker.add_image('a', picture, 1)
    tracker.add_image('a', picture, 2)
    tracker.add_scalars({'b': 1.0}, 2)
    tracker.close()
    assert len(told) == 1 and 'keep_image failed' in told[0]
    (run,) = (tmp_path / 'tensorboard').iterdir()
    assert read_tensorboard(run)[1] == {('b', 2): 1.0}


def test_a_server_that_is_not_there_is_told_before_the_first_pass(
    make_runner, monkeypatch
):
    def refuse(*args):
        raise ConnectionError('no such host')

    monkeypatch.setattr(TensorboardTracker, 'open', refuse)
    options = {**SHORT, **backends(dict(type='TensorboardTracker'))}
    runner = make_runner(**options, val_cfg=None)
    with pytest.raises(UserError, match='tensorboard cannot open .*no such'):
        runner.train()
    assert runner.iter == 0


def test_credentials_are_not_kept(tmp_path):
    tracker = TensorboardTracker(str(tmp_path / 'x'))
    kept = dict(token='secret', b='http://me:secret@host', c=1)
    config = Config(dict(work_dir=str(tmp_path), visualizer=kept))
    tracker.add_config(config)
    tracker.prepare(0)
    tracker.close()
    (run,) = (tmp_path / 'tensorboard').iterdir()
    (file,) = run.iterdir()
    content = file.read_bytes()
    assert b'http://host' in content and b'secret' not in content
    assert config.visualizer.token == 'secret'


def test_credentials_of_an_address_are_not_told(tmp_path, monkeypatch):
    def refuse(*args):
        raise ConnectionError('no answer of http://me:secret@host/path')

    monkeypatch.setattr(TensorboardTracker, 'open', refuse)
    tracker = TensorboardTracker(str(tmp_path))
    with pytest.raises(UserError, match='http://host/path') as error:
        tracker.prepare(0)
    assert 'secret' not in str(error.value)


@pytest.mark.slow
def test_names_that_mlflow_does_not_take(tmp_path):
    mlflow = pytest.importorskip('mlflow')
    tracker = MLflowTracker(save_dir=str(tmp_path / 'x'))
    tracker.add_config(Config(dict(work_dir=str(tmp_path))))
    values = {'a/cls/AUC/Lung (left)': 0.5, 'b': float('nan')}
    tracker.add_scalars(values, 7)
    tracker.close()
    client = mlflow.MlflowClient(f'sqlite:///{tmp_path}/mlflow.db')
    run = client.get_run(tracker.run_id)
    assert run.data.metrics['a/cls/AUC/Lung _left_'] == 0.5
    assert np.isnan(run.data.metrics['b'])


@pytest.mark.parametrize(
    'name, library', [('MLflowTracker', 'mlflow'), ('WandbTracker', 'wandb')]
)
def test_without_the_library(make_cfg, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    cfg = make_cfg(**SHORT, **backends(dict(type=name)))
    with pytest.raises(UserError, match=r'onedl-fx-mm\[tracking\]'):
        build_runner(cfg)
