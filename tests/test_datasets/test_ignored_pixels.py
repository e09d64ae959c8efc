"""Pixels that nobody annotated, from the file to the batch."""

import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks

from fx_mm.datasets.collate import collate_batch
from fx_mm.datasets.readers import MaskReader
from fx_mm.datasets.task_dataset import seeded
from fx_mm.datasets.transforms import (
    LoadXray,
    LoadXrayAnnotations,
    PackXray,
    TeacherView,
)
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.registry import TRANSFORMS
from fx_mm.utils.errors import UserError

H, W = 48, 64
CLASSES = ('Lung', 'Heart')
VALUES = np.zeros((H, W), np.uint8)
VALUES[8:30, 5:30], VALUES[20:40, 34:60] = 1, 2
VALUES[26:44, 20:50] = 255


@pytest.fixture
def records(tmp_path):
    """A label map, and its truth and ignored pixels as bits."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((H, W), 90, np.uint8))
    cv2.imwrite(str(tmp_path / 'map.png'), VALUES)
    bits = (VALUES == 1) | (VALUES == 2) << 1 | (VALUES == 255) << 2
    cv2.imwrite(str(tmp_path / 'bits.png'), bits.astype(np.uint8))
    common = dict(
        img_path=str(tmp_path / 'a.png'),
        img_id='a.png',
        dataset='toy',
        kind='seg',
        task='toy/seg',
        replaced=None,
    )
    label_map = dict(
        common,
        classes=CLASSES,
        mask_paths=dict.fromkeys(CLASSES, str(tmp_path / 'map.png')),
        mask_format=MaskFormat('label_map'),
    )
    names = (*CLASSES, 'ignored')
    paths = {n: f'{tmp_path}/bits.png#{b}' for b, n in enumerate(names)}
    return label_map, dict(common, classes=names, mask_paths=paths)


def run(record, *steps, seed=0):
    results = dict(record)
    with seeded(seed):
        for step in steps:
            if isinstance(step, dict):
                step = TRANSFORMS.build(step)
            results = step(results)
    return results


STEPS = {
    'nothing': [],
    'resize': [dict(type='mmdet.Resize', scale=(90, 30))],
    'flip': [dict(type='mmdet.RandomFlip', prob=1.0)],
    'crop': [dict(type='RandomResizedCrop', scale=(40, 50))],
    'affine': [dict(type='ShiftScaleRotate', prob=1.0)],
    'mirrored': [
        dict(type='ShiftScaleRotate', prob=1.0, border='reflect'),
    ],
    'rotate': [dict(type='mmdet.Rotate', prob=1.0, max_mag=20.0)],
    'shear': [dict(type='mmdet.ShearX', prob=1.0)],
    'pad': [dict(type='mmdet.Pad', size=(70, 80))],
    'all': [
        dict(type='RandomResizedCrop', scale=(40, 50)),
        dict(type='mmdet.RandomFlip', prob=1.0),
        dict(type='ShiftScaleRotate', prob=1.0),
    ],
}


@pytest.mark.parametrize('steps', STEPS)
@pytest.mark.parametrize('cached', [False, True])
def test_they_follow_the_image_as_masks_do(records, steps, cached, tmp_path):
    where = dict(cache_dir=str(tmp_path / 'cache'), cache_size=24)
    load = where if cached else {}
    found, wanted = (
        run(
            record,
            LoadXray(**load),
            LoadXrayAnnotations(**load),
            *STEPS[steps],
            PackXray(),
            seed=3,
        )['data_samples'].gt_sem_seg
        for record in records
    )
    assert found.ignore.any() and 'ignore' not in wanted
    assert torch.equal(found.data, wanted.data[:2])
    assert torch.equal(found.ignore, wanted.data[2:])
    assert found.ignore.dtype == torch.uint8


def test_they_stay_at_the_original_in_test_mode(records):
    sample = run(
        records[0] | dict(test_mode=True),
        LoadXray(),
        dict(type='mmdet.Resize', scale=(20, 20)),
        LoadXrayAnnotations(),
        PackXray(),
    )['data_samples']
    ignore = sample.gt_sem_seg.ignore
    np.testing.assert_array_equal(ignore[0], VALUES == 255)


def test_each_class_has_its_own_where_files_are_per_class(records, tmp_path):
    first = np.where(VALUES == 255, 255, VALUES == 1).astype(np.uint8)
    cv2.imwrite(str(tmp_path / '1.png'), first)
    cv2.imwrite(str(tmp_path / '2.png'), (VALUES == 2).astype(np.uint8) * 255)
    paths = {n: f'{tmp_path}/{i}.png' for i, n in enumerate(CLASSES, 1)}
    record = dict(records[0], mask_paths=paths, mask_format=MaskFormat())
    sample = run(record, LoadXray(), LoadXrayAnnotations(), PackXray())
    found = sample['data_samples'].gt_sem_seg
    np.testing.assert_array_equal(found.ignore[0], VALUES == 255)
    assert not found.ignore[1].any()
    for number in (1, 2):
        np.testing.assert_array_equal(found.data[number - 1], number == VALUES)


def test_blank_cells_of_a_label_map(records):
    blank = dict(records[0]['mask_paths'], Heart=None)
    record = dict(records[0], mask_paths=blank)
    with pytest.raises(
        UserError, match='map.png has pixels of "Heart".*blank'
    ):
        run(record, LoadXray(), LoadXrayAnnotations())


def test_a_step_that_loses_them_is_refused(records):
    loaded = run(records[0], LoadXray(), LoadXrayAnnotations())
    loaded['gt_masks'] = loaded['gt_masks'][[0, 1]]
    with pytest.raises(UserError, match='left 2 of 3 masks'):
        run(loaded, PackXray())


def test_the_teacher_sees_the_same_place(records):
    steps = [LoadXray(), LoadXrayAnnotations()]
    flip = dict(type='mmdet.RandomFlip', prob=1.0)
    packed = run(records[0], *steps, flip, TeacherView(), PackXray())
    assert packed['teacher_inputs'].shape == (3, H, W)
    assert packed['data_samples'].gt_sem_seg.ignore.any()
    moved = run(records[0], *steps, TeacherView())
    masks = moved['gt_masks'].masks.copy()
    masks[2] = masks[2, ::-1]
    moved['gt_masks'] = BitmapMasks(masks, H, W)
    with pytest.raises(UserError, match='lies otherwise'):
        PackXray()(moved)


def test_they_survive_the_way_from_a_worker(records):
    batch = collate_batch(
        [
            run(record, LoadXray(), LoadXrayAnnotations(), PackXray())
            for record in (records[0], records[0], records[1])
        ]
    )
    for sample in pickle.loads(pickle.dumps(batch['data_samples']))[:2]:
        np.testing.assert_array_equal(
            sample.gt_sem_seg.ignore[0], VALUES == 255
        )


def test_a_table_with_one_column_for_all_classes(tmp_path, records, make_task):
    table = tmp_path / 'masks.csv'
    table.write_text('image,mask\na.png,map.png\n')
    reader = MaskReader(mask_format='label_map')
    task = make_task('seg', CLASSES)
    (record,) = reader(str(table), str(tmp_path), task)
    path = str(tmp_path / 'map.png')
    assert record['mask_paths'] == dict.fromkeys(CLASSES, path)
    assert record['mask_format'] == MaskFormat('label_map')
    table.write_text('image,mask\na.png,\n')
    (record,) = reader(str(table), str(tmp_path), task)
    assert record['mask_paths'] == dict.fromkeys(CLASSES)


def test_a_suffix_for_all_classes(tmp_path, records, make_task):
    folder = tmp_path / 'masks'
    folder.mkdir()
    (tmp_path / 'map.png').rename(folder / 'a.png')
    (tmp_path / 'bits.png').unlink()
    task = make_task('seg', CLASSES)
    reader = MaskReader(suffix='.png')
    (record,) = reader(str(folder), str(tmp_path), task)
    assert record['mask_paths'] == dict.fromkeys(CLASSES, f'{folder}/a.png')
    with pytest.raises(UserError, match='no images'):
        reader(str(folder), str(folder), task)


@pytest.mark.parametrize('bit', [False, True])
def test_a_column_of_ignored_pixels(tmp_path, records, make_task, bit):
    held = tmp_path / 'held.png'
    cv2.imwrite(str(held), (VALUES == 255).astype(np.uint8) * 255)
    cell = 'bits.png#2' if bit else 'held.png'
    table = tmp_path / 'masks.csv'
    table.write_text(
        f'image,Lung,Heart,ignore\na.png,bits.png#0,bits.png#1,{cell}\n'
    )
    task = make_task('seg', CLASSES)
    read = MaskReader()(str(table), str(tmp_path), task)
    record = records[0] | read[0]
    sample = run(record, LoadXray(), LoadXrayAnnotations(), PackXray())
    found = sample['data_samples'].gt_sem_seg
    np.testing.assert_array_equal(found.ignore[0], VALUES == 255)
    for number in (1, 2):
        np.testing.assert_array_equal(found.data[number - 1], number == VALUES)
    # a class of that name is a class
    task = make_task('seg', ('Lung', 'ignore'))
    read = MaskReader()(str(table), str(tmp_path), task)
    record = records[0] | read[0] | dict(classes=('Lung', 'ignore'))
    sample = run(record, LoadXray(), LoadXrayAnnotations(), PackXray())
    found = sample['data_samples'].gt_sem_seg
    assert 'ignore' not in found
    np.testing.assert_array_equal(found.data[1], VALUES == 255)


def test_the_frame_of_a_collimator_is_ignored(tmp_path, records, make_task):
    frame = np.full((H, W), 255, np.uint8)
    frame[5:-5, 5:-5] = 0
    cv2.imwrite(str(tmp_path / 'held.png'), frame)
    table = tmp_path / 'masks.csv'
    table.write_text(
        'image,Lung,Heart,ignore\na.png,bits.png#0,bits.png#1,held.png\n'
    )
    read = MaskReader()(str(table), str(tmp_path), make_task('seg', CLASSES))
    sample = run(
        records[0] | read[0], LoadXray(), LoadXrayAnnotations(), PackXray()
    )
    found = sample['data_samples'].gt_sem_seg
    np.testing.assert_array_equal(found.ignore[0], frame == 255)


def test_one_folder_per_split(tmp_path, records, make_task):
    """The folders of mmseg."""
    task = make_task('seg', CLASSES)
    for number, split in enumerate(('train', 'val')):
        for kind, name in (('images', 'a.png'), ('masks', 'map.png')):
            folder = tmp_path / kind / split
            folder.mkdir(parents=True)
            shutil.copy(tmp_path / name, folder / f'{number}.png')
    for number, split in enumerate(('train', 'val')):
        (record,) = MaskReader(suffix='.png')(
            str(tmp_path / 'masks' / split), str(tmp_path / 'images'), task
        )
        assert record['img_id'] == f'{split}/{number}.png'
        path = f'{tmp_path}/masks/{split}/{number}.png'
        assert record['mask_paths'] == dict.fromkeys(CLASSES, path)


def test_bits_and_another_format_exclude_each_other(
    tmp_path, records, make_task
):
    table = tmp_path / 'masks.csv'
    table.write_text('image,Lung,Heart\na.png,bits.png#0,bits.png#1\n')
    task = make_task('seg', CLASSES)
    for form in (None, 'bits'):
        reader = MaskReader(mask_format=form)
        assert len(reader(str(table), str(tmp_path), task)) == 1
    reader = MaskReader(mask_format='label_map')
    with pytest.raises(UserError, match='row 2.*asks for a bit.*label_map'):
        reader(str(table), str(tmp_path), task)
    form = dict(type='label_map', values=dict(Lung=1))
    with pytest.raises(UserError, match='Lung, Heart'):
        MaskReader(mask_format=form)(str(table), str(tmp_path), task)


def test_a_bit_beyond_the_file_is_refused(records, tmp_path):
    paths = {'Lung': f'{tmp_path}/bits.png#9', 'Heart': None}
    record = dict(records[1], classes=CLASSES, mask_paths=paths)
    with pytest.raises(UserError, match='bits.png has 8 bits, but bit 9'):
        run(record, LoadXray(), LoadXrayAnnotations())
