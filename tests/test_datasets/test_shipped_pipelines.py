"""The pipelines of the shipped configs on a file, as the papers have them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from fx_mm.apis import load_config
from fx_mm.datasets.task_dataset import seeded
from fx_mm.registry import TRANSFORMS
from fx_mm.tasks import TaskTable

CONFIGS = Path(__file__).parents[2] / 'configs'
PAPER = 'foundation_x/foundation-x_swin-b_150c.py'
PLUS = 'foundation_x_plus/foundation-x-plus_swin-b_100c.py'
ARK = 'ark/ark6_swin-b_200c.py'
ARK_PLUS = 'ark/ark-plus_swin-l-768_50c.py'
SHAPE = (300, 340)


def task_of(name, task, **options):
    return TaskTable.from_cfg(
        load_config(str(CONFIGS / name), {'tasks': [task], **options})
    )[task]


@pytest.fixture
def record(tmp_path):
    """A record of one file with truth of any kind."""
    rng = np.random.default_rng(0)
    image = cv2.resize(
        rng.integers(0, 256, (12, 14)).astype(np.uint8), SHAPE[::-1]
    )
    mask = np.zeros(SHAPE, np.uint8)
    mask[60:200, 80:220] = 1
    for name, pixels in (('a.png', image), ('mask.png', mask)):
        cv2.imwrite(str(tmp_path / name), pixels)

    def make(task):
        masks = dict.fromkeys(task.classes, str(tmp_path / 'mask.png'))
        annotation = dict(
            cls=dict(gt_score=np.zeros(len(task.classes), np.float32)),
            loc=dict(
                boxes=np.array([[80, 60, 220, 200]], np.float32),
                box_labels=np.zeros(1, np.int64),
                ann_size=np.array(SHAPE[::-1]),
            ),
            seg=dict(mask_paths=masks),
        )
        return dict(
            task.meta,
            img_path=str(tmp_path / 'a.png'),
            img_id='a.png',
            replaced=None,
            sample_idx=0,
            **annotation[task.kind.name],
        )

    return make


def run(record, task, which='train', seed=0, without=()):
    with DefaultScope.overwrite_default_scope('fx_mm'):
        steps = [
            TRANSFORMS.build(step)
            for step in task.pipeline(which)
            if step['type'] not in without
        ]
    results = record(task)
    with seeded(seed):
        for step in steps:
            results = step(results)
    return results


@pytest.mark.parametrize(
    ('name', 'task', 'size', 'tested'),
    [
        (PAPER, 'rsna/cls', 224, 224),
        (PAPER, 'rsna/loc', 224, 224),
        (PAPER, 'candid_ptx/seg', 224, 224),
        (PAPER, 'chestx_det/seg', 224, 224),
        (PLUS, 'rsna/cls', 224, 224),
        (ARK, 'rsna/cls', 224, 256),
        (ARK_PLUS, 'rsna/cls', 768, 896),
    ],
)
def test_samples_of_training_and_test(record, name, task, size, tested):
    task = task_of(name, task)
    for seed in range(4):
        packed = run(record, task, seed=seed)
        assert packed['inputs'].shape == (3, size, size)
        assert packed['inputs'].dtype == torch.uint8
        assert (packed['inputs'] == packed['inputs'][:1]).all()
        assert ('teacher_inputs' in packed) == name.startswith('ark')
        if task.kind.name == 'loc':
            assert packed['data_samples'].gt_instances.bboxes.shape == (1, 4)
        if task.kind.name == 'seg':
            data = packed['data_samples'].gt_sem_seg.data
            assert data.shape == (len(task.classes), size, size)
            assert data.any()
    packed = run(record, task, 'test')
    assert packed['inputs'].shape == (3, tested, tested)
    assert 'teacher_inputs' not in packed
    again = run(record, task, 'test', seed=1)
    assert torch.equal(packed['inputs'], again['inputs'])


@pytest.mark.parametrize(
    ('task', 'flips'),
    [
        ('rsna/cls', 0.5),
        ('rsna/loc', 0.0),
        ('siim_acr/loc', 0.0),
        ('candid_ptx/seg', 0.0),
        ('chestx_det/loc', 0.5),
        ('chestx_det/seg', 0.5),
        ('siim_acr/seg', 0.5),
    ],
)
def test_flips_where_the_paper_has_them(record, task, flips):
    task = task_of(PAPER, task, **{f'task_defaults.{task[-3:]}.img_size': 32})
    done = [
        run(record, task, seed=seed)['data_samples'].get('flip')
        for seed in range(200)
    ]
    assert abs(np.mean(done) - flips) < 0.12
    directions = {
        run(record, task, seed=seed)['data_samples'].flip_direction
        for seed in range(20)
    }
    assert directions <= {None, 'horizontal'}


def test_arks_teacher_sees_the_crop_without_photometric_steps(record):
    task = task_of(ARK, 'rsna/cls')
    seen = set()
    for seed in range(12):
        packed = run(record, task, seed=seed)
        plain = run(record, task, seed=seed, without=('RandomApply',))
        assert torch.equal(packed['teacher_inputs'], plain['inputs'])
        seen.add(torch.equal(packed['inputs'], packed['teacher_inputs']))
    assert seen == {True, False}


def test_ark_pluss_teacher_sees_the_whole_image(record):
    small = {
        'task_defaults.cls.img_size': 48,
        'task_defaults.cls.resize_size': 56,
    }
    task = task_of(ARK_PLUS, 'rsna/cls', **small)
    views = [
        run(record, task, seed=seed)['teacher_inputs'] for seed in range(3)
    ]
    assert views[0].shape == (3, 48, 48)
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])
    image = cv2.imread(record(task)['img_path'], cv2.IMREAD_GRAYSCALE)
    whole = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    error = np.abs(views[0][0].numpy().astype(float) - whole)
    assert error.mean() < 2


@pytest.mark.parametrize('name', [ARK, ARK_PLUS])
def test_ark_never_flips(record, name):
    task = task_of(name, 'rsna/cls')
    for which in ('train', 'test'):
        assert not any('Flip' in repr(step) for step in task.pipeline(which))
    assert task.config['tta'] == 'ten_crop'
