"""tools/test.py: reports with and without the model."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from fx_mm.apis import build_runner, load_config
from fx_mm.utils.files import hash_file

REPO = Path(__file__).parents[2]
CONFIG = REPO / 'configs/phantom/foundation-x_tiny_phantom.py'
TASKS = ('phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg')


def change(root):
    """Cut the demo to a second: 64 px, 8 images a hospital."""
    values = {
        f'datasets.phantom_{x}.data_root': f'{root}/easy/hospital_{x}/'
        for x in 'abc'
    }
    for kind in ('cls', 'loc', 'seg'):
        values[f'task_defaults.{kind}.img_size'] = 64
        values[f'task_defaults.{kind}.batch_size'] = 4
    return {
        **values,
        'phantom.root': str(root),
        'phantom.size': 64,
        'phantom.counts.train': 1,
        'phantom.counts.val': 8,
        'phantom.counts.test': 8,
        'loader.num_workers': 0,
        'log_level': 'WARNING',
    }


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Return a folder with phantoms, a checkpoint and a tested model."""
    root = tmp_path_factory.mktemp('evaluate')
    cfg = load_config(str(CONFIG), dict(change(root), tasks=list(TASKS)))
    cfg.work_dir = str(root / 'built')
    torch.manual_seed(0)
    runner = build_runner(cfg, train=False)
    torch.save(dict(state_dict=runner.model.state_dict()), root / 'a.pth')
    DefaultScope._instance_dict.clear()
    return root


@pytest.fixture
def test_tool(run, root):
    """Run the tool on the demo's config."""

    def call(*args, **more):
        values = {**change(root), 'tasks': f'[{",".join(TASKS)}]', **more}
        options = [f'{key}={value}' for key, value in values.items()]
        return run('test', CONFIG, *args, '--cfg-options', *options)

    return call


@pytest.fixture(scope='module')
def tested():
    """Remember the folder of the one run with the model."""
    return {}


@pytest.fixture
def saved(test_tool, root, tested):
    """Return the folder of a test that saved its predictions."""
    if not tested:
        code, _, err = test_tool(
            *(root / 'a.pth', '--work-dir', root / 'tested'),
            *('--save-predictions', '--thresholds-from', 'val'),
            *('--intervals', 20),
        )
        assert code == 0, err
        tested['folder'] = root / 'tested'
    return tested['folder']


def results(folder):
    return json.loads((folder / 'results.json').read_text())


def test_everything_is_written(saved):
    found = results(saved)
    assert found['split'] == 'test' and not found['skipped']
    digest = hash_file(saved.parent / found['checkpoint'])
    assert found['checkpoint_sha256'] == digest
    assert list(found['metrics']) == ['teacher', 'student']
    of_cls = found['metrics']['teacher']['phantom_a/cls']
    assert {'AUC', 'AP', 'ECE', 'F1', 'MCC', 'PPV', 'Brier'} <= set(of_cls)
    of_seg = found['metrics']['teacher']['phantom_c/seg']
    assert {'NSD_pos', 'BIoU_pos', 'HD95'} <= set(of_seg)
    assert any(of_cls[key] for key in of_cls if 'threshold_F1' in key)
    assert found['bootstrap']['resamples'] == 20
    assert 'F1' in found['intervals']['student']['phantom_a/cls']
    assert found['tasks']['phantom_c/seg']['n_images'] == 8
    rows = list(csv.DictReader((saved / 'results.csv').open()))
    assert {row['kind'] for row in rows} == {'cls', 'loc', 'seg'}
    assert '95% intervals' in (saved / 'results.md').read_text()
    for predict_on in ('teacher', 'student'):
        for task in TASKS:
            name = task.replace('/', '_')
            assert (saved / f'plots/{predict_on}/{name}.png').is_file()
            file = saved / f'predictions/test/{predict_on}/{name}.npz'
            assert file.is_file()
    # thresholds are chosen for labels and boxes, of both models
    assert len(list(saved.glob('predictions/val/*/*.npz'))) == 4


def test_without_the_model_the_same_to_the_last_bit(test_tool, saved, root):
    folder = root / 'again'
    code, out, err = test_tool(
        *('--from-predictions', saved / 'predictions', '--work-dir', folder),
        *('--thresholds-from', 'val', '--intervals', 20),
    )
    assert code == 0, err
    assert results(folder) == results(saved)
    assert (folder / 'results.json').read_bytes() == (
        saved / 'results.json'
    ).read_bytes()
    assert (folder / 'results.csv').read_text() == (
        saved / 'results.csv'
    ).read_text()
    assert 'phantom_c/seg' in out
    # thresholds from files, of one of two models, for one task
    folder = root / 'part'
    code, _, err = test_tool(
        *('--from-predictions', saved / 'predictions/test'),
        *('--thresholds-from', saved / 'predictions/val'),
        *('--tasks', 'phantom_a/cls', '--predict-on', 'student'),
        *('--work-dir', folder),
    )
    assert code == 0, err
    part, whole = results(folder)['metrics'], results(saved)['metrics']
    assert part == dict(
        student={'phantom_a/cls': whole['student']['phantom_a/cls']}
    )


def test_a_task_without_predictions_says_so(test_tool, saved, root):
    part = root / 'few'
    shutil.copytree(saved / 'predictions', part / 'predictions')
    for file in part.rglob('*_seg.npz'):
        file.unlink()
    code, out, err = test_tool(
        *('--from-predictions', part / 'predictions', '--work-dir', part),
        *('--compare', saved / 'predictions'),
    )
    assert code == 0, err
    assert 'not evaluated: phantom_c/seg' in out
    found = results(part)
    assert list(found['skipped']) == ['phantom_c/seg']
    assert found['compared_with'] == 'a.pth'
    change = found['differences']['teacher']['phantom_a/cls']['AUC']
    assert change == dict(difference=0, low=0, high=0, p=1, p_adjusted=1)
    assert found['bootstrap']['resamples'] == 1000
    assert found['correction'] == 'holm'


def test_other_intervals_and_corrections(test_tool, saved, root):
    folder = root / 'bca'
    code, out, err = test_tool(
        *('--from-predictions', saved / 'predictions', '--work-dir', folder),
        *('--compare', saved / 'predictions', '--intervals', 30, '--bca'),
        *('--correction', 'bh'),
    )
    assert code == 0, err
    found = results(folder)
    assert found['bootstrap']['method'] == 'BCa'
    assert found['correction'] == 'bh' and '(Benjamini and Hochberg)' in out
    assert 'AUC' in found['normal_intervals']['teacher']['phantom_a/cls']
    assert '## AUC by DeLong' in (folder / 'results.md').read_text()


def test_a_task_without_data_says_so(test_tool, root, tmp_path):
    options = {
        'phantom': 'None',
        'datasets.phantom_c.data_root': f'{tmp_path}/nowhere/',
    }
    args = (root / 'a.pth', '--work-dir', tmp_path, '--predict-on', 'student')
    code, _, err = test_tool(*args, **options)
    assert code == 0, err
    found = results(tmp_path)
    assert 'there is no' in found['skipped']['phantom_c/seg']
    assert list(found['metrics']['student']) == list(TASKS[:2])
    # asked for by name, it must be there
    code, _, err = test_tool(*args, '--tasks', TASKS[2], **options)
    assert code == 1 and 'nowhere' in err
    for x in 'ab':
        options[f'datasets.phantom_{x}.data_root'] = f'{tmp_path}/no/'
    code, _, err = test_tool(*args, **options)
    assert code == 1 and err.count('error: No task has data') == 1


MISTAKES = [
    ([], 'either a checkpoint or --from-predictions'),
    (['a.pth', '--from-predictions', 'b'], 'either a checkpoint or'),
    (['--from-predictions', 'nothing'], 'nothing has no predictions'),
    (['a.pth', '--intervals', '-3'], '--intervals takes a number'),
    (['a.pth', '--bca'], '--bca is of --intervals or --compare'),
    (['a.pth', '--correction', 'bh'], '--correction is of --compare'),
]


@pytest.mark.parametrize('args, message', MISTAKES)
def test_mistakes(test_tool, args, message):
    code, _, err = test_tool(*args)
    assert code == 1 and message in err


def test_predictions_of_other_classes_or_tasks_are_refused(
    test_tool, saved, root
):
    folder = saved / 'predictions'
    code, _, err = test_tool(
        *('--from-predictions', folder, '--work-dir', root / 'no'),
        **{'datasets.phantom_a.tasks.cls.classes': '[Nodule]'},
    )
    assert code == 1 and 'use the config they were made with' in err
    code, _, err = test_tool(
        *('--from-predictions', folder, '--tasks', 'phantom_b/cls'),
        *('--work-dir', root / 'no'),
    )
    assert code == 1 and 'has no predictions of the' in err


def test_predictions_that_cannot_serve_are_refused(test_tool, saved, root):
    folder = saved / 'predictions'
    runs = root / 'runs'
    for name in ('a', 'b'):
        shutil.copytree(folder, runs / name)
    one = ('--from-predictions', folder, '--work-dir', root / 'no')
    cases = [
        (('--from-predictions', runs), 'several models (a.pth)'),
        ((*one, '--compare', runs), 'runs has predictions of several'),
        ((*one, '--compare', folder / 'val'), 'of the split "test"'),
        (
            (*one, '--thresholds-from', folder / 'test'),
            'the validation split for phantom_a/cls',
        ),
        (
            (*('--from-predictions', folder / 'test'), '--thresholds-from')
            + ('val',),
            'the validation split for phantom_a/cls',
        ),
    ]
    for args, message in cases:
        code, _, err = test_tool(*args)
        assert code == 1 and message in err, err
    code, _, err = test_tool(
        *one, **{'datasets.phantom_b.tasks.loc.metric.max_box': 1}
    )
    assert code == 1 and 'Unknown key "max_box" in the metric' in err


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(saved, root):
    values = {**change(root), 'tasks': f'[{",".join(TASKS)}]'}
    command = [
        *(sys.executable, '-m', 'torch.distributed.run', '--standalone'),
        *('--nproc_per_node', 2, REPO / 'tools/test.py', CONFIG),
        *(root / 'a.pth', '--launcher', 'pytorch'),
        *('--work-dir', root / 'two', '--thresholds-from', 'val'),
        *('--intervals', 20, '--cfg-options'),
        *(f'{key}={value}' for key, value in values.items()),
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    one, two = results(saved), results(root / 'two')
    for key in ('notes', 'tasks', 'bootstrap'):
        assert one[key] == two[key]
    for key in ('metrics', 'intervals'):
        for predict_on, tasks in one[key].items():
            for task, found in tasks.items():
                other = two[key][predict_on][task]
                for metric, value in found.items():
                    expected = pytest.approx(value, abs=1e-6)
                    assert other[metric] == expected, metric
