"""The tools' main way, and a user's mistakes: one sentence, exit 1."""

import json
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from fx_mm.apis import expand_config
from fx_mm.phantom import ensure_phantom
from fx_mm.registry import RUNNERS

REPO = Path(__file__).parents[2]
CONFIG = REPO / 'configs/phantom/foundation-x_tiny_phantom.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    counts = dict(train=12, val=4, test=4)
    ensure_phantom(root, size=64, counts=counts, workers=1)
    return root


@pytest.fixture
def options(data, tmp_path):
    """Cut the demo to seconds: 64 px, 12 images per hospital, one cycle."""
    roots = {
        f'datasets.phantom_{x}.data_root': f'{data}/easy/hospital_{x}/'
        for x in 'abc'
    }
    sizes = {
        f'task_defaults.{kind}.{key}': value
        for kind in ('cls', 'loc', 'seg')
        for key, value in (('img_size', 64), ('batch_size', 4))
    }
    values = {
        **roots,
        **sizes,
        'phantom.root': data,
        'phantom.size': 64,
        'phantom.counts.train': 12,
        'phantom.counts.val': 4,
        'phantom.counts.test': 4,
        'loader.num_workers': 0,
        'cycle.max_batches': 2,
        'train_cfg.max_cycles': 1,
        'tasks': '[phantom_a/cls,phantom_b/cls,phantom_b/loc,phantom_c/seg]',
        'test_cfg.predict_on': '[teacher]',
        'log_level': 'WARNING',
        # loggers of one name are one, which may hold an earlier test's stream
        'experiment_name': tmp_path.name,
    }

    def give(**more):
        merged = {**values, **more}
        return ['--cfg-options', *(f'{k}={v}' for k, v in merged.items())]

    return give


def test_training_without_a_test_ends_without_a_table(run, options, tmp_path):
    none = dict.fromkeys(('test_cfg', 'test_evaluator'), 'None')
    args = [*options(**none), "tasks=['phantom_a/cls']"]
    code, _, err = run('train', CONFIG, '--work-dir', tmp_path, *args)
    assert code == 0, err
    assert (tmp_path / 'last_checkpoint').is_file()
    assert not (tmp_path / 'results.md').exists()


def test_train_test_and_predict(run, options, data, tmp_path):
    work = tmp_path / 'work'
    code, _, err = run('train', CONFIG, '--work-dir', work, *options())
    assert code == 0, err
    for name in ('results.md', 'predictions.png', 'curves.png'):
        assert (work / name).is_file()
    checkpoint = work / (work / 'last_checkpoint').read_text().strip()

    tested = tmp_path / 'tested'
    code, _, err = run(
        'test', CONFIG, checkpoint, '--work-dir', tested, *options()
    )
    assert code == 0, err
    before = json.loads((work / 'results.json').read_text())
    after = json.loads((tested / 'results.json').read_text())
    assert after['metrics'] == before['metrics']

    picture = next(data.rglob('*.png'))
    out = tmp_path / 'out'
    code, _, err = run(
        'predict', CONFIG, checkpoint, picture, '--out-dir', out, *options()
    )
    assert code == 0, err
    (result,) = out.glob('*.json')
    assert 'phantom_b/loc' in result.read_text()


@pytest.mark.slow
def test_one_task_of_a_checkpoint(run, options, tmp_path):
    work = tmp_path / 'work'
    tasks = 'tasks=[phantom_a/cls,phantom_b/cls]'
    code, _, err = run('train', CONFIG, '--work-dir', work, *options(), tasks)
    assert code == 0, err
    checkpoint = work / (work / 'last_checkpoint').read_text().strip()
    code, _, err = run(
        *('test', CONFIG, checkpoint, '--work-dir', tmp_path / 't'),
        *('--tasks', 'phantom_b/cls', '--predict-on', 'student'),
        *options(),
    )
    assert code == 0, err
    metrics = json.loads((tmp_path / 't/results.json').read_text())['metrics']
    assert list(metrics) == ['student']
    assert list(metrics['student']) == ['phantom_b/cls']

    code, _, err = run(
        *('test', CONFIG, checkpoint, '--work-dir', tmp_path / 't'),
        *('--tasks', 'phantom_c/seg'),
        *options(),
    )
    assert code == 1, err
    assert 'no head for "phantom_c/seg"' in err


def test_dry_run(run, options, tmp_path):
    code, out, err = run(
        'train', CONFIG, '--dry-run', '--work-dir', tmp_path, *options()
    )
    assert code == 0, err
    assert 'a cycle takes about' in out
    assert not list(tmp_path.rglob('*.pth'))


def print_config(run, options, tmp_path):
    out = tmp_path / 'plain.py'
    code, _, err = run('print_config', CONFIG, '--out', out, *options())
    assert code == 0, err
    return Config.fromfile(out)


def test_a_printed_config_stands_alone(run, options, tmp_path):
    """It stays what it is when it is expanded again."""
    cfg = print_config(run, options, tmp_path)
    assert expand_config(cfg).to_dict() == cfg.to_dict()


@pytest.mark.slow
def test_a_printed_config_trains(run, options, tmp_path):
    cfg = print_config(run, options, tmp_path)
    cfg.work_dir = str(tmp_path / 'work')
    runner = RUNNERS.build(cfg)
    runner.train()
    assert runner.iter == runner.max_iters > 0


MISTAKES = [
    ({'taks': 'x'}, 'did you mean "tasks"'),
    ({'tasks': '[phantom_a/clz]'}, 'did you mean "phantom_a/cls"'),
    ({'cycle.lok': 'paper'}, 'did you mean "lock"'),
    ({'cycle.lock': 'papr'}, 'must be one of paper, plus,'),
    ({'model.student.backbone.type': 'mmdet.Swim'}, 'mmdet.Swim'),
    ({'model.student.backbone.depht': 3}, 'depht'),
    ({'model.student.localization.num_queries': 900}, '900'),
    ({'train_cfg.max_cicles': 3}, 'max_cicles'),
    ({'optim_wrapper.optimizer.lrr': 3}, 'lrr'),
    ({'test_cfg.predict_on': '[teecher]'}, 'teecher'),
    (
        {'datasets.phantom_a.tasks.cls.splits.train': 'no.csv'},
        'no.csv: No such file',
    ),
    (
        {'datasets.phantom_a.tasks.cls.classes': '[Nodule,Lump]'},
        'Lump',
    ),
]


@pytest.mark.parametrize('change, message', MISTAKES)
def test_a_mistake_is_one_sentence(run, options, tmp_path, change, message):
    work = tmp_path / 'work'
    code, _, err = run('train', CONFIG, '--work-dir', work, *options(**change))
    assert code == 1, err
    assert message in err
    last = [line for line in err.splitlines() if line.startswith('error: ')]
    assert len(last) == 1
    assert 'Traceback' not in err
    assert not list(tmp_path.rglob('*.pth'))


def test_a_missing_config_and_checkpoint(run, options, tmp_path):
    code, _, err = run('train', tmp_path / 'no.py')
    assert code == 1 and 'no.py" does not exist' in err
    code, _, err = run('test', CONFIG, tmp_path / 'no.pth', *options())
    assert code == 1 and 'no.pth", which does not exist' in err


@pytest.fixture
def spoiled(run, options, data, tmp_path):
    """Return a copy of hospital A to spoil, and how to train on it."""
    copy = tmp_path / 'copy'
    shutil.copytree(data / 'easy/hospital_a', copy)

    def train(**more):
        return run(
            *('train', CONFIG, '--work-dir', tmp_path / 'w'),
            *options(
                **{
                    'datasets.phantom_a.data_root': f'{copy}/',
                    'tasks': '[phantom_a/cls]',
                    'cycle.max_batches': 10,
                    **more,
                }
            ),
        )

    return copy, train


def test_an_empty_table(spoiled):
    copy, train = spoiled
    (copy / 'train.csv').write_text('')
    code, _, err = train()
    assert code == 1, err
    assert 'train.csv' in err and 'Traceback' not in err


@pytest.mark.parametrize(
    'workers', [0, pytest.param(1, marks=pytest.mark.slow)]
)
def test_truncated_images_stop_beyond_the_share(spoiled, workers):
    copy, train = spoiled
    images = sorted((copy / 'images/train').glob('*.png'))
    images[0].write_bytes(images[0].read_bytes()[:200])
    options = {'loader.num_workers': workers}
    code, _, err = train(**options)
    assert code == 1, err
    assert images[0].name in err and 'max_unreadable_ratio' in err
    assert 'Traceback' not in err
    code, _, err = train(**{'train_cfg.max_unreadable_ratio': 0.5, **options})
    assert code == 0, err


@pytest.mark.parametrize(
    'workers', [0, pytest.param(1, marks=pytest.mark.slow)]
)
def test_a_truncated_test_image_is_never_replaced(spoiled, workers):
    copy, train = spoiled
    image = next((copy / 'images/test').glob('*.png'))
    image.write_bytes(image.read_bytes()[:200])
    code, _, err = train(**{'loader.num_workers': workers})
    assert code == 1, err
    assert image.name in err and 'Traceback' not in err
