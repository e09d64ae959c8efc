"""Samples of a pipeline that reads reduced images, against the originals."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_mm.datasets import MultiTaskDataset
from fx_mm.datasets.transforms import (
    LoadXray,
    LoadXrayAnnotations,
    PackXray,
)
from fx_mm.registry import TRANSFORMS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

H, W = 96, 128
SIZE = 48


def smooth_image(height=H, width=W):
    ys, xs = np.mgrid[:height, :width]
    wave = np.sin(ys / 9) + np.cos(xs / 11) + ys / height
    return np.interp(wave, (wave.min(), wave.max()), (0, 255)).astype(np.uint8)


def write_sample(folder, boxes, height=H, width=W):
    """Write an image and masks filling the boxes; give a record of both."""
    cv2.imwrite(str(folder / 'a.png'), smooth_image(height, width))
    bits = np.zeros((height, width), np.uint16)
    for bit, (x1, y1, x2, y2) in enumerate(boxes):
        bits[y1:y2, x1:x2] |= 1 << bit
    cv2.imwrite(str(folder / 'mask.png'), bits)
    names = [f'box {bit}' for bit in range(len(boxes))]
    common = dict(
        img_path=str(folder / 'a.png'),
        img_id='a.png',
        dataset='toy',
        classes=names,
        replaced=None,
    )
    loc = dict(
        common,
        kind='loc',
        task='toy/loc',
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        box_labels=np.arange(len(boxes)),
        ann_size=np.array([width, height]),
    )
    paths = {n: f'{folder}/mask.png#{b}' for b, n in enumerate(names)}
    seg = dict(common, kind='seg', task='toy/seg', mask_paths=paths)
    return dict(loc=loc, seg=seg)


def loading(folder=None, size=SIZE):
    cached = dict(cache_dir=str(folder), cache_size=size) if folder else {}
    return LoadXray(**cached), LoadXrayAnnotations(**cached)


def run(results, *steps):
    results = dict(results)
    for step in steps:
        if isinstance(step, dict):
            step = TRANSFORMS.build(step)
        results = step(results)
    return results


def resize(width, height):
    return dict(type='mmdet.Resize', scale=(width, height))


def test_sample_without_boxes(tmp_path):
    loc = write_sample(tmp_path, [])['loc']
    image, annotations = loading(tmp_path / 'cache')
    packed = run(loc, image, annotations, resize(40, 40), PackXray())
    sample = packed['data_samples']
    assert sample.gt_instances.bboxes.tensor.shape == (0, 4)
    assert sample.ori_shape == (H, W) and sample.img_shape == (40, 40)


def test_loaded_shape_is_the_reduced_one(tmp_path):
    loc = write_sample(tmp_path, [(8, 16, 64, 48)])['loc']
    loaded = run(loc, *loading(tmp_path / 'cache'))
    assert loaded['img'].shape == (48, 64, 3)
    assert loaded['img'].flags.writeable
    assert loaded['img_shape'] == loaded['loaded_shape'] == (48, 64)
    assert loaded['ori_shape'] == (H, W)
    assert loaded['scale_factor'] == (0.5, 0.5)
    assert loaded['gt_bboxes'].tensor.tolist() == [[4, 8, 32, 24]]
    assert loaded['truth_at_ori_shape'] is False


@pytest.mark.parametrize('kind', ['loc', 'seg'])
def test_cached_and_uncached_samples_agree(tmp_path, kind):
    boxes = [(8, 16, 70, 48), (0, 0, 128, 96)]
    record = write_sample(tmp_path, boxes)[kind]
    packed = [
        run(record, *loading(folder), resize(42, 42), PackXray())
        for folder in (None, tmp_path / 'cache', tmp_path / 'cache')
    ]
    plain, first, second = (p['inputs'].numpy().astype(int) for p in packed)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - plain).max() <= 12
    assert np.abs(first - plain).mean() < 3
    samples = [p['data_samples'] for p in packed]
    if kind == 'loc':
        boxes = [s.gt_instances.bboxes.tensor.numpy() for s in samples]
        np.testing.assert_allclose(boxes[1], boxes[0], atol=1e-4)
        np.testing.assert_array_equal(boxes[1], boxes[2])
    else:
        masks = [s.gt_sem_seg.data.numpy() for s in samples]
        # one row or column of pixels along an outline at most
        assert (masks[1] != masks[0]).sum((1, 2)).max() <= 2 * 42
        np.testing.assert_array_equal(masks[1], masks[2])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_boxes_and_masks_stay_together(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp('sample')
    height = data.draw(st.integers(40, 150))
    width = data.draw(st.integers(40, 150))
    boxes = []
    for _ in range(data.draw(st.integers(1, 6))):
        x1 = data.draw(st.integers(0, width - 12))
        y1 = data.draw(st.integers(0, height - 12))
        x2 = data.draw(st.integers(x1 + 8, width))
        y2 = data.draw(st.integers(y1 + 8, height))
        boxes.append((x1, y1, x2, y2))
    records = write_sample(folder, boxes, height, width)
    size = data.draw(st.integers(20, 160))
    steps = loading(folder / 'cache', size)
    loc, seg = run(records['loc'], *steps), run(records['seg'], *steps)
    scaled = loc['gt_bboxes'].tensor.numpy()
    masks = seg['gt_masks']
    assert masks.masks.shape[1:] == loc['img'].shape[:2]
    assert min(loc['img_shape']) == min(height, width, size)
    np.testing.assert_allclose(
        masks.get_bboxes('hbox').tensor.numpy(), scaled, atol=0.51
    )


@pytest.mark.parametrize(
    'mode, width, height',
    [
        ({}, 40, 40),  # a resize before the annotation tells it
        (dict(test_mode=True), 40, 40),
        (dict(test_mode=True), 43, 32),  # the loaded size: nothing to resize
    ],
)
def test_test_truth_stays_at_the_original(tmp_path, mode, width, height):
    records = write_sample(tmp_path, [(8, 16, 64, 48)])
    image, annotations = loading(tmp_path / 'cache', 32)
    found = {}
    for kind, record in records.items():
        found[kind] = run(
            record | mode, image, resize(width, height), annotations
        )
        assert found[kind]['scale_factor'] == (width / W, height / H)
        assert found[kind]['truth_at_ori_shape']
        sample = PackXray()(found[kind])['data_samples']
        assert (sample.ori_shape, sample.img_shape) == (
            (H, W),
            (height, width),
        )
    assert found['loc']['gt_bboxes'].tensor.tolist() == [[8, 16, 64, 48]]
    assert found['seg']['gt_masks'].masks.shape == (1, H, W)


def test_masks_are_reduced_without_a_cache_of_their_own(tmp_path):
    seg = write_sample(tmp_path, [(8, 16, 70, 48)])['seg']
    image, annotations = loading(tmp_path / 'cache')
    cached = run(seg, image, annotations)['gt_masks'].masks
    plain = run(seg, image, LoadXrayAnnotations())['gt_masks'].masks
    np.testing.assert_array_equal(cached, plain)


def test_mask_of_another_size_is_refused(tmp_path):
    seg = write_sample(tmp_path, [(8, 16, 70, 48)])['seg']
    cv2.imwrite(str(tmp_path / 'mask.png'), np.ones((H, 2 * W), np.uint8))
    with pytest.raises(UserError, match='mask.png.*256x96.*a.png.*128x96'):
        run(seg, *loading(tmp_path / 'cache'))


@pytest.mark.parametrize('step', [LoadXray, LoadXrayAnnotations])
def test_half_of_the_arguments_is_refused(step):
    with pytest.raises(UserError, match=f'{step.__name__} has cache_dir.*48'):
        step(cache_size=48)
    with pytest.raises(UserError, match="cache_dir='c' and cache_size=None"):
        step(cache_dir='c')
    with pytest.raises(UserError, match='cache_size.*at least 1'):
        step(cache_dir='c', cache_size=0)


def test_second_epoch_sees_what_the_first_saw(tmp_path):
    write_sample(tmp_path, [(8, 16, 70, 48)])
    coco = dict(
        images=[dict(id=1, file_name='a.png', width=W, height=H)],
        annotations=[
            dict(id=1, image_id=1, category_id=1, bbox=[8, 16, 62, 32])
        ],
        categories=[dict(id=1, name='box')],
    )
    (tmp_path / 'train.json').write_text(json.dumps(coco))
    cache = dict(cache_dir=str(tmp_path / 'cache'), cache_size=SIZE)
    entry = dict(
        reader=dict(type='CocoReader'),
        splits=dict(train='train.json'),
        train_pipeline=[
            dict(type='LoadXray', **cache),
            dict(type='LoadXrayAnnotations', **cache),
            dict(type='mmdet.Rotate', prob=1.0, max_mag=10.0),
            dict(type='PackXray'),
        ],
    )
    task = Task('toy', 'loc', ('box',), str(tmp_path), config=entry)
    epochs = [MultiTaskDataset([task], 'train')[0, 0, 7] for _ in range(3)]
    for other in epochs[1:]:
        assert (other['inputs'] == epochs[0]['inputs']).all()
        boxes = [e['data_samples'].gt_instances.bboxes for e in epochs]
        assert (boxes[1].tensor == boxes[0].tensor).all()
