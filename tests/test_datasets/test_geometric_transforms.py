"""Boxes and masks follow every geometric transform of the shipped configs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import DefaultScope

from fx_mm.apis import load_config
from fx_mm.datasets.task_dataset import seeded
from fx_mm.datasets.transforms import RandomResizedCrop, ShiftScaleRotate
from fx_mm.registry import TRANSFORMS
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs'
# Pixels stay where they are, or are yet to come.
PLAIN = (
    'LoadXray',
    'LoadXrayAnnotations',
    'TeacherView',
    'RandomApply',
    'RandomBrightnessContrast',
    'mmdet.Brightness',
    'mmdet.Contrast',
    'PackXray',
)


def shipped_steps():
    """Each geometric step of a shipped training pipeline, once."""
    found = {}
    other = ('_base_', 'studies')  # the latter are studies
    files = [f for f in CONFIGS.glob('*/*.py') if f.parent.name not in other]
    for file in files:
        for task in TaskTable.from_cfg(load_config(str(file))):
            small = Task(
                task.dataset,
                task.kind.name,
                task.classes,
                config=dict(
                    task.config, img_size=64, resize_size=72, flip_prob=0.5
                ),
            )
            for step in small.pipeline('train'):
                if step['type'] not in PLAIN:
                    # mirrored objects have no boxes
                    step.pop('border', None)
                    found[repr(step)] = step
    return [found[key] for key in sorted(found)]


STEPS = shipped_steps()


def boxed_masks(rows, height, width):
    """Results with boxes, labels by number, and the masks that fill them."""
    masks = np.zeros((len(rows), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, rows):
        mask[y1:y2, x1:x2] = 1
    filled = masks.max(0, initial=0)
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    return dict(
        task='toy/loc',
        kind='loc',
        img=np.repeat(filled[..., None] * np.uint8(200), 3, 2),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.arange(len(rows)),
        gt_ignore_flags=np.zeros(len(rows), bool),
        gt_masks=BitmapMasks(masks, height, width),
    )


@st.composite
def cases(draw):
    height, width = draw(st.integers(60, 110)), draw(st.integers(60, 110))
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        x, y = (
            draw(st.integers(0, width - 8)),
            draw(st.integers(0, height - 8)),
        )
        w, h = (
            draw(st.integers(6, width - x)),
            draw(st.integers(6, height - y)),
        )
        rows.append((x, y, x + w, y + h))
    return height, width, rows, draw(st.integers(0, 2**40))


def run(results, step, seed):
    if isinstance(step, dict):
        with DefaultScope.overwrite_default_scope('fx_mm'):
            step = TRANSFORMS.build(step)
    with seeded(seed):
        return step(results)


def check(results, rows):
    """Compare boxes with masks, and masks with the image."""
    height, width = results['img'].shape[:2]
    masks = results['gt_masks'].masks
    assert results['img_shape'][:2] == (height, width)
    assert masks.shape == (len(rows), height, width)
    assert set(np.unique(masks)) <= {0, 1}
    boxes = results['gt_bboxes'].tensor.numpy()
    labels = results['gt_bboxes_labels']
    assert len(boxes) == len(labels) == len(results['gt_ignore_flags'])
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (width, height)).all()
    by_label = dict(zip(labels.tolist(), boxes))
    matrix = results.get('homography_matrix', np.eye(3))
    upright = abs(matrix[0, 1]) < 1e-6
    for label, mask in enumerate(masks):
        ys, xs = np.nonzero(mask)
        box = by_label.get(label, np.zeros(4))
        if not len(xs):
            # nearest sampling may miss what is thinner than a pixel; of a
            # turned one, only the box's corner may be left in the image
            assert not upright or (box[2:] - box[:2]).min() <= 1.5
            continue
        found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        if label not in by_label:
            assert (found[2:] - found[:2]).min() <= 1
            continue
        # A mask is sampled at pixel centres: half a pixel on either side of
        # its edge, and half of one that a resize has made of it. mmdet's
        # rotation is half a pixel off, too.
        assert (found[:2] >= box[:2] - 1.6).all()
        assert (found[2:] <= box[2:] + 1.6).all()
        # A turned rectangle touches all sides of its upright box with its
        # corners, unless the border cuts one off.
        uncut = mask[[0, -1]].sum() + mask[:, [0, -1]].sum() == 0
        if upright or uncut:
            np.testing.assert_allclose(box, found, atol=1.6)
    # Linear image and nearest masks may differ at the outlines only; a mask
    # at a time, since a gap between two may vanish when sampled.
    kernel = np.ones((7, 7), np.uint8)
    for mask in masks:
        inside = cv2.erode(np.pad(mask, 1), kernel)[1:-1, 1:-1] == 1
        assert (results['img'][inside] > 100).all()
    outside = np.ones((height, width), bool)
    for x1, y1, x2, y2 in boxes:
        rows = slice(max(int(y1) - 2, 0), int(y2) + 3)
        outside[rows, max(int(x1) - 2, 0) : int(x2) + 3] = False
    black = results['img'][outside]
    # mmdet's border is 128 by default
    assert ((black < 100) | (np.abs(black.astype(int) - 128) <= 1)).all()


def test_the_shipped_configs_have_these_steps():
    assert {step['type'] for step in STEPS} == {
        'RandomResizedCrop',
        'ShiftScaleRotate',
        'mmdet.RandomFlip',
        'mmdet.Resize',
        'mmdet.Rotate',
    }


@pytest.mark.parametrize('step', STEPS, ids=lambda step: step['type'])
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_boxes_and_masks_follow_the_image(step, case):
    height, width, rows, seed = case
    check(run(boxed_masks(rows, height, width), step, seed), rows)


@settings(max_examples=60, deadline=None)
@given(
    case=cases(),
    angle=st.floats(0, 180),
    shift=st.floats(0, 0.6),
    scale=st.floats(0, 0.5),
)
def test_any_shift_scale_and_rotation(case, angle, shift, scale):
    height, width, rows, seed = case
    step = ShiftScaleRotate(shift, scale, angle, prob=1.0)
    check(run(boxed_masks(rows, height, width), step, seed), rows)


@pytest.mark.parametrize(
    'step',
    [
        ShiftScaleRotate(prob=1.0),
        RandomResizedCrop((32, 48), crop_ratio_range=(0.1, 0.2)),
    ],
    ids=lambda step: type(step).__name__,
)
def test_images_without_truth_and_without_boxes(step):
    image = np.full((60, 50, 3), 9, np.uint8)
    plain = dict(task='toy/cls', kind='cls', img=image, img_shape=(60, 50))
    moved = run(dict(plain), step, 1)
    assert 'gt_bboxes' not in moved and 'gt_masks' not in moved
    assert moved['img'].dtype == np.uint8
    free = run(boxed_masks([], 60, 50), step, 1)
    assert free['gt_bboxes'].tensor.shape == (0, 4)
    assert free['gt_bboxes_labels'].shape == (0,)
    assert free['gt_masks'].masks.shape == (0, *free['img_shape'])
    np.testing.assert_array_equal(
        free['homography_matrix'], moved['homography_matrix']
    )


def test_half_a_turn_is_exact():
    # an odd number of pixels tells a half pixel's error
    image = np.arange(35, dtype=np.uint8).reshape(5, 7)
    results = boxed_masks([(1, 2, 3, 5)], 5, 7)
    results['img'] = np.repeat(image[..., None], 3, 2)
    step = ShiftScaleRotate(0, 0, 180, prob=1.0)
    step._draw = lambda: np.array([0, 0, 0, 180.0])
    turned = step(results)
    np.testing.assert_array_equal(turned['img'][..., 0], image[::-1, ::-1])
    np.testing.assert_allclose(
        turned['gt_bboxes'].tensor[0], [4, 0, 6, 3], atol=1e-4
    )
    found = turned['gt_masks'].get_bboxes('hbox').tensor[0]
    np.testing.assert_allclose(found, [4, 0, 6, 3], atol=1e-4)


def test_a_box_that_left_does_not_come_back():
    # cut to a line at the border, it would grow under the next rotation
    results = boxed_masks([(0, 20, 10, 60), (40, 30, 60, 70)], 100, 100)
    leave = ShiftScaleRotate(0.5, 0, 0, prob=1.0)
    leave._draw = lambda: np.array([-0.2, 0, 0, 0])
    turn = ShiftScaleRotate(0, 0, 20, prob=1.0)
    turn._draw = lambda: np.array([0, 0, 0, 20.0])
    results = turn(leave(results))
    assert results['gt_bboxes_labels'].tolist() == [1]
    assert results['gt_masks'].masks[0].sum() == 0
    assert len(results['gt_masks']) == 2


def test_values_are_drawn_evenly():
    step = ShiftScaleRotate(0.1, 0.2, 10, prob=0.5)
    with seeded(0):
        draws = [step._draw() for _ in range(4000)]
    values = np.array([draw for draw in draws if draw is not None])
    assert abs(len(values) / 4000 - 0.5) < 0.03
    for column, limit in zip(values.T, (0.1, 0.1, 0.2, 10)):
        counts, _ = np.histogram(column, 8, (-limit, limit))
        assert counts.sum() == len(values)
        assert abs(counts / len(values) - 1 / 8).max() < 0.03
    assert abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.1


def test_the_rotation_of_foundation_x_is_even():
    rotate = next(s for s in STEPS if s.get('max_mag') == 7.0)
    with DefaultScope.overwrite_default_scope('fx_mm'):
        rotate = TRANSFORMS.build(rotate)
    with seeded(0):
        assert not any(rotate._random_disable() for _ in range(100))
        angles = [rotate._get_mag() for _ in range(4000)]
    counts, _ = np.histogram(angles, 7, (-7.05, 7.05))
    assert counts.sum() == 4000
    assert abs(counts / 4000 - 1 / 7).max() < 0.03


def test_a_reflected_border_mirrors_image_and_masks_alike():
    results = boxed_masks([(0, 0, 60, 40)], 60, 60)
    del results['gt_bboxes']
    step = ShiftScaleRotate(0.3, 0, 0, prob=1.0, border='reflect')
    step._draw = lambda: np.array([0, 0.25, 0, 0])
    moved = step(results)
    assert (moved['img'][:54] == 200).all()
    np.testing.assert_array_equal(
        moved['img'][..., 0] > 100, moved['gt_masks'].masks[0] == 1
    )
    with pytest.raises(UserError, match='toy/loc.*reflect.*constant'):
        step(boxed_masks([], 60, 60))


def test_same_seed_same_image():
    step = RandomResizedCrop(32)
    images = [
        run(boxed_masks([(10, 10, 30, 40)], 60, 60), step, seed)['img']
        for seed in (3, 3, 4)
    ]
    assert (images[0] == images[1]).all()
    assert (images[0] != images[2]).any()


@pytest.mark.parametrize(
    'wrong',
    [
        dict(shift_limit=-0.1),
        dict(scale_limit=1.0),
        dict(rotate_limit='a lot'),
        dict(prob=2),
        dict(border='white'),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(
        UserError, match=f'ShiftScaleRotate.{next(iter(wrong))}'
    ):
        ShiftScaleRotate(**wrong)


def test_every_kind_has_a_shipped_pipeline():
    table = TaskTable.from_cfg(
        load_config(str(CONFIGS / 'foundation_x/foundation-x_swin-b_150c.py'))
    )
    assert {task.kind.name for task in table} == {'cls', 'loc', 'seg'}
