"""Sheets of training samples: the very samples, all that belongs to them."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from small_run import small_cfg

from fx_mm.apis import build_runner
from fx_mm.phantom import ensure_phantom
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.visualization.contact_sheet import PALETTE, UNKNOWN
from fx_mm.visualization.text import text_strip
from fx_mm.visualization.tiles import SEAM
from fx_mm.visualization.training_sheet import (
    STUDENT,
    TEACHER,
    _draw,
    draw_training_sheets,
    first_keys,
    open_loader,
)

TASKS = ['phantom_a/cls', 'phantom_c/seg']


@pytest.fixture(scope='module')
def phantoms(tmp_path_factory):
    return tmp_path_factory.mktemp('phantom')


@pytest.fixture
def make_cfg(phantoms, tmp_path):
    def make(**options):
        options.setdefault('tasks', TASKS)
        cfg = small_cfg(phantoms, tmp_path, test_cfg=None, **options)
        ensure_phantom(**cfg.phantom)
        return cfg

    return make


def test_samples_are_those_of_the_training(make_cfg):
    cfg = make_cfg(**{'randomness.seed': 7})
    loader = open_loader(cfg, 7)
    keys = first_keys(loader.batch_sampler, 4)
    assert [len(each) for each in keys.values()] == [4, 4]
    batches = iter(build_runner(cfg).train_dataloader)
    seen = set()
    while len(seen) < 2:
        batch = next(batches)
        task = batch['data_samples'][0].task
        if task in seen:
            continue
        seen.add(task)
        for i, key in enumerate(keys[TASKS.index(task)]):
            sample = loader.dataset[key]
            assert torch.equal(sample['inputs'], batch['inputs'][i])
            theirs = batch['data_samples'][i]
            assert sample['data_samples'].img_id == theirs.img_id
    other = first_keys(open_loader(cfg, 8).batch_sampler, 4)
    assert other != keys


@pytest.mark.parametrize('order', ['cyclic', 'shuffled', 'concurrent'])
def test_as_many_as_there_are(make_cfg, order):
    cfg = make_cfg(**{'cycle.order': order})
    sampler = open_loader(cfg, 0).batch_sampler
    keys = first_keys(sampler, 3)
    assert [len(each) for each in keys.values()] == [3, 3]
    assert all(key.task == i for i, each in keys.items() for key in each)
    # of twelve images, six in the lock pass of seg and all in its other
    keys = first_keys(sampler, 100)
    assert len(keys[0]) == 12 and 12 < len(keys[1]) <= 18


def test_a_sheet_of_each_task(make_cfg, tmp_path):
    folder = tmp_path / 'deep' / 'browse'
    paths = list(draw_training_sheets(make_cfg(), folder, 2))
    assert [path.name for path in paths] == [
        'phantom_a_cls.png',
        'phantom_c_seg.png',
    ]
    for path in paths:
        picture = cv2.imread(str(path))
        assert picture.shape[1] > 2 * 256
        assert len(np.unique(picture)) > 50
    spread = np.ptp(picture.astype(int), axis=2)
    assert (spread > 60).sum() > 500, 'masks are drawn'


def test_nothing_to_train(make_cfg, tmp_path):
    with pytest.raises(UserError, match='no train_cfg'):
        next(draw_training_sheets(make_cfg(train_cfg=None), tmp_path))


def packed_sample(kind, **meta):
    sample = FXDataSample(
        metainfo=dict(
            task=f'x/{kind}',
            img_id='im',
            ori_shape=(600, 400),
            img_shape=(300, 300),
            replaced=None,
            **meta,
        )
    )
    inputs = torch.full((3, 300, 300), 90, dtype=torch.uint8)
    return dict(inputs=inputs, data_samples=sample)


def has(tile, color):
    return (tile == np.array(color)).all(-1)


def ends_with(tile, *lines):
    """Whether these lines are at the bottom of a tile."""
    strip = text_strip(lines, tile.shape[1])
    return np.array_equal(tile[-len(strip) :], strip)


def test_boxes_in_the_pixels_that_the_model_sees():
    packed = packed_sample('loc')
    packed['data_samples'].gt_instances = InstanceData(
        bboxes=torch.tensor([[30.0, 60.0, 90.0, 120.0]]),
        labels=torch.tensor([1]),
    )
    tile = _draw(Task('x', 'loc', ('nodule', 'mass')), packed)
    rows, columns = np.nonzero(has(tile, PALETTE[1])[60:])
    assert (rows.min(), rows.max()) == (0, 60)
    assert (columns.min(), columns.max()) == (30, 90)
    assert ends_with(tile, 'im', '400 x 600 px to 300 x 300')


def test_ignored_regions_and_masks():
    packed = packed_sample('seg', flip=True, flip_direction='horizontal')
    data = torch.zeros(1, 300, 300, dtype=torch.uint8)
    data[0, 200:220, 100:150] = 1
    ignore = torch.zeros_like(data)
    ignore[0, :100] = 1
    packed['data_samples'].gt_sem_seg = PixelData(data=data, ignore=ignore)
    tile = _draw(Task('x', 'seg', ('lung',)), packed)
    assert 0.2 < has(tile, UNKNOWN)[:100].mean() < 0.3
    assert not has(tile, UNKNOWN)[100:300].any()
    rows, columns = np.nonzero(has(tile, PALETTE[0])[:300])
    assert (rows.min(), rows.max()) == (200, 219)
    assert (columns.min(), columns.max()) == (100, 149)
    note = '400 x 600 px to 300 x 300, mirrored (horizontal)'
    assert ends_with(tile, [('lung', PALETTE[0]), ('ignored', UNKNOWN)], note)


def test_labels_numbers_and_replaced_images():
    packed = packed_sample('cls')
    packed['data_samples'].set_metainfo(dict(replaced='bad.png is cut'))
    packed['data_samples'].gt_score = torch.tensor([1.0, 0.0, 0.7])
    tile = _draw(Task('x', 'cls', ('Nähe', 'b', 'Отёк')), packed)
    size = '400 x 600 px to 300 x 300'
    reason = 'stands in for another: bad.png is cut'
    assert ends_with(tile, 'im', 'Nähe, Отёк 0.7', size, reason)
    packed = packed_sample('reg')
    packed['data_samples'].gt_value = torch.tensor([61.0])
    tile = _draw(Task('x', 'reg', ('age',)), packed)
    assert ends_with(tile, 'im', '61 age', size)


def test_a_view_of_the_teacher():
    packed = packed_sample('cls')
    packed['data_samples'].gt_score = torch.zeros(1)
    packed['teacher_inputs'] = torch.full(
        (3, 200, 200), 200, dtype=torch.uint8
    )
    tile = _draw(Task('x', 'cls', ('a',)), packed)
    # tiles of small images are enlarged
    assert tile.shape[1] == 300 + SEAM + 256
    assert (tile[:300, :300] == 90).all()
    assert (tile[:256, 300 + SEAM :] == 200).all()
    below = tile[256:]
    assert has(below[:, :300], STUDENT[1]).any()
    assert has(below[:, 300:], TEACHER[1]).any()
