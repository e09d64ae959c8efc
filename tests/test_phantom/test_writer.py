"""The files, and what happens to them on a second call or a kill."""

import hashlib
import json
import multiprocessing
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from fx_mm.datasets import TaskDataset
from fx_mm.phantom import (
    FINDINGS,
    MASK_CLASSES,
    TARGETS,
    draw_phantoms,
    ensure_phantom,
    render_phantom,
    writer,
)
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

COUNTS = dict(train=5, val=2, test=3)
CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


def checksums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(Path(folder).rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def phantoms(tmp_path_factory):
    """One set that tests read but do not change."""
    return ensure_phantom(
        tmp_path_factory.mktemp('phantom'), counts=COUNTS, workers=1
    )


def test_files(phantoms):
    names = set(checksums(phantoms))
    for hospital, extras in (
        ('hospital_a', ()),
        ('hospital_b', ('train.json',)),
        (
            'hospital_c',
            ('train.json', 'train_masks.csv', 'train_values.csv'),
        ),
    ):
        own = {n for n in names if n.startswith(hospital)}
        assert f'{hospital}/images/train/000004.png' in own
        assert f'{hospital}/test.csv' in own
        assert all(f'{hospital}/{name}' in own for name in extras)
        tables = 3 * (1 + len(extras))
        masks = 10 if hospital == 'hospital_c' else 0
        assert len(own) == 10 + tables + masks
    image = cv2.imread(
        str(phantoms / 'hospital_a/images/val/000001.png'),
        cv2.IMREAD_UNCHANGED,
    )
    assert image.dtype == np.uint8 and image.ndim == 2
    assert np.array_equal(image, render_phantom(0, 'a', 'val', 1).image)


def test_workers_do_not_change_the_data(phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, '_CHUNK', 2)
    other = ensure_phantom(tmp_path, counts=COUNTS, workers=2)
    assert checksums(other) == checksums(phantoms)


def test_texts_are_added_to_images_that_are_there(tmp_path):
    def write(name, **options):
        return ensure_phantom(
            tmp_path / name, counts=COUNTS, size=32, workers=1, **options
        )

    folder = write('one')
    was = checksums(folder)
    write('one', texts=True)
    at_once = write('two', texts=True)
    added, now = checksums(folder), checksums(at_once)
    manifests = [
        json.loads((each / 'manifest.json').read_text())
        for each in (folder, at_once)
    ]
    assert manifests[0] == manifests[1]
    for each in (was, added, now):
        del each['manifest.json']
    assert added == now
    assert {name: now[name] for name in was} == was
    assert now.keys() - was.keys() == {
        f'hospital_{hospital}/{split}_{what}.csv'
        for hospital in 'bc'
        for split in COUNTS
        for what in ('reports', 'questions')
    }
    # those that ask for none take them as they are
    write('two')
    assert checksums(at_once).keys() == now.keys() | {'manifest.json'}


def test_more_images_leave_the_first_ones_alone(phantoms, tmp_path):
    counts = dict(COUNTS, train=6)
    other = checksums(ensure_phantom(tmp_path, counts=counts, workers=1))
    for name, checksum in checksums(phantoms).items():
        if '/images/' in name or '/masks/' in name:
            assert other[name] == checksum


@pytest.mark.parametrize('hospital', 'abc')
def test_shipped_configs_read_them(phantoms, hospital):
    cfg = Config.fromfile(CONFIGS / f'phantom_{hospital}.py')
    name = f'phantom_{hospital}'
    entry = cfg[name].to_dict()
    entry['data_root'] = f'{phantoms}/hospital_{hospital}/'
    steps = [
        dict(type='LoadXray'),
        dict(type='LoadXrayAnnotations'),
        dict(type='PackXray'),
    ]
    defaults = dict(
        batch_size=2, img_size=128, train_pipeline=steps, test_pipeline=steps
    )
    table = TaskTable.from_cfg(
        dict(
            datasets={name: entry},
            task_defaults=dict.fromkeys(entry['tasks'], defaults),
        )
    )
    kinds = {
        'a': ['cls'],
        'b': ['cls', 'loc'],
        'c': ['cls', 'loc', 'seg', 'reg'],
    }
    assert [task.kind.name for task in table] == kinds[hospital]
    for task in table:
        data = TaskDataset(task, 'train', test_mode=True)
        assert len(data) == COUNTS['train']
        for index in range(len(data)):
            truth = render_phantom(0, hospital, 'train', index)
            sample = data.sample(index, 0)['data_samples']
            if task.kind.name == 'cls':
                assert task.classes == FINDINGS
                assert sample.gt_score.tolist() == truth.labels.tolist()
            elif task.kind.name == 'loc':
                instances = sample.gt_instances
                boxes = getattr(
                    instances.bboxes, 'tensor', instances.bboxes
                ).tolist()
                found = [
                    (FINDINGS[label], tuple(box))
                    for label, box in zip(instances.labels.tolist(), boxes)
                ]
                assert found == truth.boxes
            elif task.kind.name == 'reg':
                assert task.classes == TARGETS
                found = sample.gt_value.tolist()
                wanted = [truth.values[name] for name in TARGETS]
                assert found == pytest.approx(wanted, abs=5.1e-5)
            else:
                assert task.classes == MASK_CLASSES
                masks = sample.gt_sem_seg.data.numpy().astype(bool)
                empty = np.zeros((128, 128), bool)
                for mask, class_name in zip(masks, task.classes):
                    expected = truth.masks.get(class_name, empty)
                    assert np.array_equal(mask, expected), class_name


def test_second_call_does_nothing(phantoms):
    before = {p: p.stat().st_mtime_ns for p in phantoms.rglob('*')}
    assert ensure_phantom(phantoms.parent, counts=COUNTS) == phantoms
    after = {p: p.stat().st_mtime_ns for p in phantoms.rglob('*')}
    assert before == after


def test_other_arguments_are_refused_then_forced(tmp_path):
    counts = dict(train=1, val=1, test=1)
    folder = ensure_phantom(tmp_path, counts=counts, workers=1)
    before = checksums(folder)
    with pytest.raises(UserError, match='seed=0 instead of seed=1.*--force'):
        ensure_phantom(tmp_path, counts=counts, seed=1, workers=1)
    assert checksums(folder) == before
    ensure_phantom(tmp_path, counts=counts, seed=1, workers=1, force=True)
    after = checksums(folder)
    assert set(after) == set(before)
    assert after != before
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {'easy', '.easy.lock'}


def test_changed_label_file_is_noticed(tmp_path):
    counts = dict(train=1, val=1, test=1)
    folder = ensure_phantom(tmp_path, counts=counts, workers=1)
    with (folder / 'hospital_b' / 'val.csv').open('a') as file:
        file.write('val/000009.png,0,0,0,0,0,0\n')
    with pytest.raises(UserError, match='val.csv is missing or was changed'):
        ensure_phantom(tmp_path, counts=counts)


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'easy').mkdir()
    (tmp_path / 'easy' / 'thesis.txt').write_text('years of work')
    with pytest.raises(UserError, match='thesis.txt.*not phantom data'):
        ensure_phantom(tmp_path, counts=COUNTS)
    assert (tmp_path / 'easy' / 'thesis.txt').read_text() == 'years of work'


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(difficulty='eazy'), 'choose one of: easy, medium, hard'),
        (dict(counts=dict(train=5)), 'give one for each of'),
        (dict(counts=dict(COUNTS, val=0)), 'count of val is 0'),
        (dict(size=8), 'size is 8'),
        (dict(seed=-1), 'seed is -1'),
        (dict(workers=0), 'workers is 0'),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        ensure_phantom(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_killed_call_leaves_nothing_and_is_repeated(tmp_path):
    counts = dict(train=60, val=1, test=1)
    process = multiprocessing.get_context('fork').Process(
        target=ensure_phantom, args=(tmp_path, 'easy', counts, 32)
    )
    process.start()
    deadline = time.time() + 60
    while not list(tmp_path.rglob('*.png')):
        assert process.is_alive() and time.time() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (tmp_path / 'easy').exists()
    assert not list(tmp_path.rglob('manifest.json'))

    folder = ensure_phantom(tmp_path, 'easy', counts, 32, workers=1)
    manifest = json.loads((folder / 'manifest.json').read_text())
    assert manifest['args']['counts'] == counts
    assert len(list(folder.rglob('images/train/*.png'))) == 3 * 60
    assert {p.name for p in tmp_path.iterdir()} == {'easy', '.easy.lock'}


@pytest.mark.parametrize(
    'entry, message',
    [
        (dict(counts='12'), "phantom.counts is '12'; it must be a dict"),
        (dict(siz=64), 'Unknown key "siz" in phantom; did you mean "size"'),
        (dict(size=True), 'phantom.size is True; it must be a whole number'),
    ],
)
def test_what_a_config_says_wrong(entry, message):
    with pytest.raises(UserError, match=message):
        draw_phantoms(Config(dict(phantom=entry)))
