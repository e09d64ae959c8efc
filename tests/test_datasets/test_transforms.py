import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from fx_mm.datasets.task_dataset import seeded
from fx_mm.datasets.transforms import (
    LoadXray,
    LoadXrayAnnotations,
    PackXray,
)
from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.registry import TRANSFORMS
from fx_mm.utils.errors import UserError

H, W = 24, 32


@pytest.fixture
def results(tmp_path):
    """Return the record of an image with the annotation of one kind."""
    path = tmp_path / 'a.png'
    pixels = np.random.default_rng(0).integers(0, 256, (H, W))
    cv2.imwrite(str(path), pixels.astype(np.uint8))

    def make(kind, classes=('A', 'B', 'C'), **annotation):
        return dict(
            img_path=str(path),
            img_id='a.png',
            task=f'toy/{kind}',
            dataset='toy',
            kind=kind,
            classes=list(classes),
            label_type=None,
            replaced=None,
            sample_idx=0,
            **annotation,
        )

    return make


def run(results, *steps):
    for step in steps:
        if isinstance(step, dict):
            step = TRANSFORMS.build(step)
        results = step(results)
    return results


def write_mask(folder, values, name='mask.png'):
    path = folder / name
    cv2.imwrite(str(path), values)
    return str(path)


def test_load_xray(results):
    loaded = run(results('cls'), LoadXray())
    assert loaded['img'].shape == (H, W, 3)
    assert loaded['img'].dtype == np.uint8
    assert (loaded['img'] == loaded['img'][..., :1]).all()
    assert loaded['img_shape'] == loaded['ori_shape'] == (H, W)


def test_cls_sample(results):
    record = results('cls', gt_score=np.array([0, np.nan, 1], np.float32))
    packed = run(
        record,
        LoadXray(),
        LoadXrayAnnotations(),
        dict(type='mmdet.Resize', scale=(16, 48)),
        PackXray(),
    )
    assert packed['inputs'].shape == (3, 48, 16)
    assert packed['inputs'].dtype == torch.uint8
    assert packed['inputs'].is_contiguous()
    sample = packed['data_samples']
    assert sample.gt_score.isnan().tolist() == [False, True, False]
    assert sample.metainfo == dict(
        sample.metainfo,
        task='toy/cls',
        dataset='toy',
        kind='cls',
        img_id='a.png',
        img_path=record['img_path'],
        ori_shape=(H, W),
        img_shape=(48, 16),
        scale_factor=(0.5, 2.0),
        replaced=None,
    )
    assert 'gt_instances' not in sample and 'gt_sem_seg' not in sample


def boxes_of(*rows):
    return dict(
        boxes=np.array(rows, np.float32).reshape(-1, 4),
        box_labels=np.arange(len(rows)),
        ann_size=np.array([W, H]),
    )


def test_loc_sample_without_boxes(results):
    packed = run(
        results('loc', **boxes_of()),
        LoadXray(),
        LoadXrayAnnotations(),
        dict(type='mmdet.Resize', scale=(16, 16)),
        dict(type='mmdet.RandomFlip', prob=1.0),
        dict(type='mmdet.Rotate', prob=1.0),
        PackXray(),
    )
    instances = packed['data_samples'].gt_instances
    assert instances.bboxes.tensor.shape == (0, 4)
    assert instances.labels.shape == (0,)
    assert instances.labels.dtype == torch.int64


def test_loc_boxes_follow_the_image_in_training_and_stay_in_test(results):
    record = results('loc', **boxes_of((4, 6, 8, 12)))
    resize = dict(type='mmdet.Resize', scale=(W // 2, 2 * H))
    train = run(
        dict(record), LoadXray(), LoadXrayAnnotations(), resize, PackXray()
    )
    test = run(
        dict(record), LoadXray(), resize, LoadXrayAnnotations(), PackXray()
    )
    boxes = [p['data_samples'].gt_instances.bboxes for p in (train, test)]
    assert isinstance(boxes[0], HorizontalBoxes)
    assert boxes[0].tensor.tolist() == [[2, 12, 4, 24]]
    assert boxes[1].tensor.tolist() == [[4, 6, 8, 12]]
    assert train['inputs'].shape == test['inputs'].shape


def test_boxes_that_left_the_image_are_dropped(results):
    record = results('loc', **boxes_of((1, 2, 9, 8), (5, 5, 5, 9)))
    loaded = run(record, LoadXray(), LoadXrayAnnotations())
    kept = run(dict(loaded), PackXray())['data_samples'].gt_instances
    assert kept.labels.tolist() == [0]
    kept = run(dict(loaded), PackXray(7))['data_samples'].gt_instances
    assert len(kept) == 0 and kept.bboxes.tensor.shape == (0, 4)


def test_boxes_of_another_scale_are_refused(results):
    record = results('loc', **boxes_of((1, 2, 9, 8)))
    record['ann_size'] = np.array([1024, 1024])
    with pytest.raises(UserError, match='a.png.*32x24.*1024x1024; scale'):
        run(record, LoadXray(), LoadXrayAnnotations())
    record['ann_size'] = np.array([H, W])
    with pytest.raises(UserError, match='24x32; turn .* upright picture'):
        run(record, LoadXray(), LoadXrayAnnotations())


def test_seg_sample_with_bits_files_and_blanks(results, tmp_path):
    values = np.zeros((H, W), np.uint16)
    values[2:10, 3:9] |= 1 << 11
    values[5:20, 6:30] |= 1 << 2
    bits = write_mask(tmp_path, values)
    plain = np.zeros((H, W), np.uint8)
    plain[1, 1] = 255
    paths = {
        'A': f'{bits}#11',
        'B': None,
        'C': f'{bits}#2',
        'D': write_mask(tmp_path, plain, 'plain.png'),
    }
    packed = run(
        results('seg', 'ABCD', mask_paths=paths),
        LoadXray(),
        LoadXrayAnnotations(),
        PackXray(),
    )
    data = packed['data_samples'].gt_sem_seg.data
    assert data.dtype == torch.uint8 and data.shape == (4, H, W)
    expected = [values >> 11 & 1, 0 * values, values >> 2 & 1, plain > 0]
    np.testing.assert_array_equal(data, np.stack(expected))


def test_each_mask_file_is_read_once(results, tmp_path, monkeypatch):
    path = write_mask(tmp_path, np.full((H, W), 7, np.uint8))
    read = []
    original = MaskCode.read
    monkeypatch.setattr(
        MaskCode, 'read', lambda self, p: read.append(p) or original(self, p)
    )
    paths = {name: f'{path}#{bit}' for bit, name in enumerate('ABC')}
    run(results('seg', mask_paths=paths), LoadXray(), LoadXrayAnnotations())
    assert read == [path]


def test_mask_of_another_size_is_refused(results, tmp_path):
    path = write_mask(tmp_path, np.zeros((H, W + 1), np.uint8))
    record = results('seg', ['A'], mask_paths={'A': path})
    with pytest.raises(UserError, match='mask.png.*33x24.*a.png.*32x24'):
        run(record, LoadXray(), LoadXrayAnnotations())


def test_damaged_mask_is_an_unreadable_image(results, tmp_path):
    path = tmp_path / 'mask.png'
    path.write_bytes(b'\x89PNG\r\n\x1a\n')
    record = results('seg', ['A'], mask_paths={'A': str(path)})
    with pytest.raises(ImageReadError, match='mask.png'):
        run(record, LoadXray(), LoadXrayAnnotations())


def test_test_masks_stay_at_the_size_of_the_original(results, tmp_path):
    path = write_mask(tmp_path, np.ones((H, W), np.uint8))
    packed = run(
        results('seg', ['A'], mask_paths={'A': path}),
        LoadXray(),
        dict(type='mmdet.Resize', scale=(16, 16)),
        LoadXrayAnnotations(),
        PackXray(),
    )
    assert packed['inputs'].shape == (3, 16, 16)
    assert packed['data_samples'].gt_sem_seg.shape == (H, W)


def test_a_transform_that_forgets_the_masks_is_refused(results):
    record = results('seg', mask_paths=dict.fromkeys('ABC'))
    loaded = run(record, LoadXray(), LoadXrayAnnotations())
    crop = dict(type='mmdet.RandomCrop', crop_size=(8, 8))
    with pytest.raises(UserError, match='toy/seg left masks of'):
        run(dict(loaded), crop, PackXray())
    loaded['gt_masks'] = loaded['gt_masks'][[0]]
    with pytest.raises(UserError, match='left 1 of 3 masks'):
        run(loaded, PackXray())


GEOMETRIC = [
    [dict(type='mmdet.Resize', scale=(96, 80))],
    [dict(type='mmdet.Resize', scale=(200, 210), keep_ratio=True)],
    [dict(type='mmdet.RandomFlip', prob=1.0)],
    [dict(type='mmdet.RandomFlip', prob=1.0, direction='vertical')],
    [dict(type='mmdet.TranslateX', prob=1.0, max_mag=0.1)],
    [dict(type='mmdet.TranslateY', prob=1.0, max_mag=0.1)],
    [
        dict(type='mmdet.Resize', scale=(112, 112)),
        dict(type='mmdet.RandomFlip', prob=0.5),
        dict(type='mmdet.TranslateX', prob=0.5, max_mag=0.1),
    ],
]
ROTATING = [
    [dict(type='mmdet.Rotate', prob=1.0, max_mag=15.0)],
    [dict(type='mmdet.ShearX', prob=1.0, max_mag=10.0)],
    [dict(type='mmdet.ShearY', prob=1.0, max_mag=10.0)],
]


def rectangles(draw, count, height, width):
    rows = []
    for _ in range(count):
        x = draw(st.integers(0, width - 12))
        y = draw(st.integers(0, height - 12))
        w = draw(st.integers(10, width - x))
        h = draw(st.integers(10, height - y))
        rows.append((x, y, x + w, y + h))
    return rows


def boxed_masks(rows, height, width):
    """Return results with boxes and the masks that fill them."""
    masks = np.zeros((len(rows), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, rows):
        mask[y1:y2, x1:x2] = 1
    # a gap of one pixel between masks is lost where a resize takes the
    # nearest pixel, and dark where it takes the mean of two
    bright = cv2.dilate(masks.max(0), np.ones((3, 3), np.uint8))
    return dict(
        img=np.repeat(bright[..., None] * np.uint8(200), 3, 2),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes(np.array(rows, np.float32)),
        gt_bboxes_labels=np.zeros(len(rows), np.int64),
        gt_ignore_flags=np.zeros(len(rows), bool),
        gt_masks=BitmapMasks(masks, height, width),
    )


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_boxes_follow_masks_and_masks_follow_the_image(data):
    height, width = data.draw(st.integers(80, 120)), 100
    # more masks than the four channels that OpenCV's borders know
    rows = rectangles(data.draw, 6, height, width)
    steps = data.draw(st.sampled_from(GEOMETRIC))
    with seeded(data.draw(st.integers(0, 2**40))):
        results = run(boxed_masks(rows, height, width), *steps)
    masks = results['gt_masks'].masks
    assert masks.shape == (6, *results['img'].shape[:2])
    assert set(np.unique(masks)) <= {0, 1}
    expected = results['gt_masks'].get_bboxes('hbox').tensor.numpy()
    boxes = results['gt_bboxes'].tensor.numpy()
    there = masks.any((1, 2))
    tolerance = 1.01 + max(results.get('scale_factor', (1, 1)))
    np.testing.assert_allclose(boxes[there], expected[there], atol=tolerance)
    # a translation may push a box out, which leaves it without area
    assert (
        (np.diff(boxes[~there].reshape(-1, 2, 2), axis=1) <= 1).any(-1).all()
    )
    # bilinear image and nearest masks may differ at the outlines only; of
    # each mask, since a gap of one row between two may close
    for mask in masks:
        inside = cv2.erode(np.pad(mask, 1), np.ones((5, 5), np.uint8))
        assert (results['img'][inside[1:-1, 1:-1] == 1] > 100).all()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_boxes_contain_rotated_masks(data):
    rows = rectangles(data.draw, 6, 100, 90)
    steps = data.draw(st.sampled_from(ROTATING))
    with seeded(data.draw(st.integers(0, 2**40))):
        results = run(boxed_masks(rows, 100, 90), *steps)
    masks = results['gt_masks'].masks
    assert masks.shape == (6, 100, 90)
    boxes = results['gt_bboxes'].tensor.numpy()
    for mask, box in zip(masks, boxes):
        ys, xs = np.nonzero(mask)
        if len(xs) == 0:
            continue
        around = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        # a rotated rectangle touches all four sides of its upright box,
        # unless the image's border cuts it
        assert (around[:2] >= box[:2] - 1.6).all()
        assert (around[2:] <= box[2:] + 1.6).all()
        whole = mask[[0, -1]].sum() + mask[:, [0, -1]].sum() == 0
        if whole:
            np.testing.assert_allclose(box, around, atol=1.6)


@pytest.mark.parametrize(
    'step',
    [
        dict(type='mmdet.Resize', scale=(64, 48), keep_ratio=False),
        dict(type='mmdet.Resize', scale=(W, H), keep_ratio=False),
        dict(type='mmdet.RandomFlip', prob=1.0),
        dict(type='mmdet.Rotate', prob=1.0, level=10),
        dict(type='RandomResizedCrop', scale=16),
        dict(type='ShiftScaleRotate', prob=1.0),
    ],
)
def test_truth_that_would_not_follow_the_image_is_refused(results, step):
    """Training would go on with boxes at the wrong place."""
    boxes = dict(boxes=[[4, 4, 12, 12]], box_labels=np.zeros(1, int))
    steps = (LoadXray(), step, LoadXrayAnnotations())
    for truth in (boxes, dict(mask_paths=dict.fromkeys('ABC'))):
        with pytest.raises(UserError, match='toy/.* right behind LoadXray'):
            run(results('loc', test_mode=False, **truth), *steps)
    run(results('loc', test_mode=True, **boxes), *steps)
    run(results('cls', test_mode=False), *steps)


def test_a_step_that_moves_nothing_may_come_before_the_truth(results):
    boxes = dict(boxes=[[4, 4, 12, 12]], box_labels=np.zeros(1, int))
    record = results('loc', test_mode=False, **boxes)
    gamma = dict(type='RandomGamma', gamma_range=(0.5, 0.6), prob=1.0)
    run(record, LoadXray(), gamma, LoadXrayAnnotations())
