import copy

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from fx_mm.datasets.task_dataset import seeded
from fx_mm.registry import TRANSFORMS
from fx_mm.utils.errors import UserError

SIZE = 48
RESIZE = dict(type='mmdet.Resize', scale=(24, 24))
FLIP = dict(type='mmdet.RandomFlip', prob=1.0)
TURN = dict(type='ShiftScaleRotate', prob=1.0)
CROP = dict(type='RandomResizedCrop', scale=24)
GAMMA = dict(type='RandomGamma', prob=1.0)
VIEW = dict(type='TeacherView')


def loaded(kind, boxes=((8, 10, 30, 40),)):
    """Results as of LoadXray and LoadXrayAnnotations."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (SIZE, SIZE, 1)).astype(np.uint8)
    results = dict(
        img=np.repeat(image, 3, 2),
        img_shape=(SIZE, SIZE),
        ori_shape=(SIZE, SIZE),
        scale_factor=(1.0, 1.0),
        task=f'toy/{kind}',
        dataset='toy',
        kind=kind,
        classes=['A'],
        img_id='0',
        img_path='0.png',
        replaced=None,
        truth_at_ori_shape=False,
    )
    if kind == 'cls':
        results['gt_score'] = np.ones(1, np.float32)
    elif kind == 'loc':
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        results['gt_bboxes'] = HorizontalBoxes(boxes)
        results['gt_bboxes_labels'] = np.zeros(len(boxes), np.int64)
        results['gt_ignore_flags'] = np.zeros(len(boxes), bool)
    else:
        masks = np.zeros((1, SIZE, SIZE), np.uint8)
        for x1, y1, x2, y2 in boxes:
            masks[0, y1:y2, x1:x2] = 1
        results['gt_masks'] = BitmapMasks(masks, SIZE, SIZE)
    return results


def pack(results, *steps, seed=0):
    with DefaultScope.overwrite_default_scope('fx_mm'):
        steps = [TRANSFORMS.build(s) for s in (*steps, dict(type='PackXray'))]
    results = copy.deepcopy(results)
    with seeded(seed):
        for step in steps:
            results = step(results)
    return results


@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
@pytest.mark.parametrize('boxes', [(), ((8, 10, 30, 40),)])
def test_without_it_there_is_one_view(kind, boxes):
    assert 'teacher_inputs' not in pack(loaded(kind, boxes), TURN, GAMMA)


@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
@pytest.mark.parametrize('boxes', [(), ((8, 10, 30, 40),)])
def test_same_geometry_without_the_photometric_steps(kind, boxes):
    results = loaded(kind, boxes)
    packed = pack(results, RESIZE, TURN, FLIP, VIEW, GAMMA)
    plain = pack(results, RESIZE, TURN, FLIP)
    assert packed['teacher_inputs'].dtype == torch.uint8
    assert torch.equal(packed['teacher_inputs'], plain['inputs'])
    assert not torch.equal(packed['inputs'], plain['inputs'])


def test_the_whole_image_resized():
    results = loaded('cls')
    step = dict(VIEW, transforms=[RESIZE])
    packed = pack(results, step, CROP, TURN, GAMMA)
    whole = pack(results, RESIZE)
    assert torch.equal(packed['teacher_inputs'], whole['inputs'])
    # and the student's is what it is without
    alone = pack(results, CROP, TURN, GAMMA)
    assert torch.equal(packed['inputs'], alone['inputs'])
    assert packed['data_samples'].img_shape == (24, 24)


def test_the_views_own_steps_leave_the_truth_alone():
    step = dict(VIEW, transforms=[RESIZE, FLIP])
    packed = pack(loaded('loc'), step, RESIZE, FLIP)
    boxes = packed['data_samples'].gt_instances.bboxes.tensor
    assert boxes.tolist() == [[9, 5, 20, 20]]
    assert torch.equal(packed['inputs'], packed['teacher_inputs'])


@pytest.mark.parametrize('kind', ['loc', 'seg'])
@pytest.mark.parametrize('boxes', [(), ((8, 10, 30, 40),)])
@pytest.mark.parametrize(
    'steps',
    [
        (VIEW, RESIZE),
        (RESIZE, VIEW, FLIP),
        (RESIZE, VIEW, TURN),
        (VIEW, CROP),
        (dict(VIEW, transforms=[FLIP]), GAMMA),
        (RESIZE, VIEW, dict(type='mmdet.Rotate', min_mag=5.0)),
    ],
    ids=range(6),
)
def test_another_geometry_is_refused(kind, boxes, steps):
    with pytest.raises(UserError, match=f'view of task toy/{kind} lies.*beh'):
        pack(loaded(kind, boxes), *steps)


def test_a_step_that_records_nothing_is_found_by_the_truth():
    shift = dict(type='mmdet.RandomShift', prob=1.0, max_shift_px=6)
    with pytest.raises(UserError, match='lies otherwise'):
        pack(loaded('loc'), VIEW, shift)


def test_a_view_before_the_annotation_is_refused():
    results = loaded('loc')
    truth = {k: results.pop(k) for k in list(results) if k.startswith('gt_')}

    with DefaultScope.overwrite_default_scope('fx_mm'):
        view = TRANSFORMS.build(VIEW)
    with pytest.raises(UserError, match='behind LoadXrayAnnotations'):
        pack(dict(view(results), **truth), GAMMA)


def test_later_steps_do_not_reach_the_teachers_image():
    results = loaded('cls')
    with DefaultScope.overwrite_default_scope('fx_mm'):
        results = TRANSFORMS.build(VIEW)(results)
    before = results['teacher_img'].copy()
    results['img'][:] = 0
    assert (results['teacher_img'] == before).all()


def test_views_are_collated():
    samples = [pack(loaded('cls'), CROP, VIEW, GAMMA) for _ in range(3)]
    batch = pseudo_collate(samples)
    assert len(batch['teacher_inputs']) == len(batch['inputs']) == 3
