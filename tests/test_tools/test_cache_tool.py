"""The tool that fills the image cache, on phantoms."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from fx_mm.apis import load_config
from fx_mm.datasets import MultiTaskDataset
from fx_mm.phantom import ensure_phantom
from fx_mm.tasks import TaskTable

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/phantom/foundation-x_tiny_phantom.py'
TASKS = '["phantom_a/cls","phantom_c/cls","phantom_c/seg"]'
COUNT = 5


@pytest.fixture
def data(tmp_path):
    """A data folder with a few phantoms."""
    counts = dict(train=COUNT, val=1, test=1)
    ensure_phantom(tmp_path / 'phantom', counts=counts, workers=1)
    return tmp_path


def options(data, *more):
    changes = [
        f'phantom.counts.train={COUNT}',
        'phantom.counts.val=1',
        'phantom.counts.test=1',
        'cache.dir=data/cache',
        'cache.factor=1',
        'task_defaults.cls.img_size=32',
        'task_defaults.seg.img_size=32',
        f'tasks={TASKS}',
    ]
    return [
        str(CONFIG),
        *more,
        '--data-root',
        str(data),
        '--cfg-options',
        *changes,
    ]


def entries(data):
    return sorted(p for p in (data / 'cache').rglob('*') if p.is_file())


def test_without_cache_in_the_config(run):
    code, _, error = run('cache_images', CONFIG)
    assert code == 1
    assert 'has no "cache"; add cache = dict(dir="data/cache")' in error


def test_fill_go_on_and_verify(run, data):
    verify = options(data, '--verify')
    code, out, error = run('cache_images', *verify)
    assert code == 1 and '15 missing' in out
    assert not entries(data)

    # images of a and c, masks of c; cls and seg of c share the images
    code, out, error = run('cache_images', *options(data, '--workers', '2'))
    assert code == 0, error
    assert '0 of 15 entries are there, the others take about 61.4 kB' in out
    assert out.splitlines()[-1] == '15 built'
    assert len(entries(data)) == 15
    assert run('cache_images', *verify)[0] == 0

    first, second = entries(data)[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    code, out, error = run('cache_images', *verify)
    assert code == 1 and '1 missing' in out and '1 damaged' in out
    assert 'damaged: ' in error and 'missing: ' in error
    code, out, error = run('cache_images', *options(data))
    assert code == 0 and '14 of 15 entries' in out
    assert '1 rebuilt' in out
    code, out, error = run('cache_images', *verify)
    assert code == 0 and '15 good' in out


def test_unreadable_image_is_named(run, data):
    image = data / 'phantom/easy/hospital_a/images/train/000003.png'
    image.write_bytes(image.read_bytes()[:300])
    code, out, error = run('cache_images', *options(data))
    assert code == 1
    assert '1 unreadable' in out
    assert f'unreadable: {image}: the PNG is cut off' in error
    assert len(entries(data)) == 14


def test_full_disk_is_told_before(run, data, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(9, 9, 0))
    code, _, error = run('cache_images', *options(data))
    assert code == 1
    assert 'The cache takes about 61.4 kB more' in error
    # nothing was written to find that out
    assert f'{data} has 0 bytes free' in error
    assert not entries(data)


def test_training_reads_what_the_tool_wrote(run, data):
    assert run('cache_images', *options(data))[0] == 0
    cfg = load_config(
        str(CONFIG),
        {
            'cache.dir': 'data/cache',
            'cache.factor': 1,
            'task_defaults.cls.img_size': 32,
            'tasks': ['phantom_a/cls'],
        },
        str(data),
    )
    table = TaskTable.from_cfg(cfg)
    dataset = MultiTaskDataset(table, 'train').datasets[0]
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['data_samples'].ori_shape == (128, 128)
    events = dataset.pipeline.transforms[0].cache.events
    assert sum(events.values()) == 1 and not events['built']
