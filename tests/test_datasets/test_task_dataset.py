import dataclasses
import json
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from fx_mm.datasets import MultiTaskDataset, TaskDataset
from fx_mm.datasets.samplers import SampleKey
from fx_mm.datasets.task_dataset import seeded
from fx_mm.image_io.errors import ImageReadError
from fx_mm.registry import TRANSFORMS
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_'
COUNT = 6


@pytest.fixture
def table(tmp_path, write_images):
    """The shipped defaults on six images with labels, boxes and masks."""
    names = [f'{i}.png' for i in range(COUNT)]
    write_images(*names, shape=(40, 48))
    write_images(*[f'../masks/{name}' for name in names], shape=(40, 48))
    lines = ['image,A,B', *(f'{name},1,0' for name in names)]
    (tmp_path / 'labels.csv').write_text('\n'.join(lines))
    lines = ['image,A,B', *(f'{n},masks/{n}#0,masks/{n}#7' for n in names)]
    (tmp_path / 'masks.csv').write_text('\n'.join(lines))
    images = [
        dict(id=i, file_name=name, width=48, height=40)
        for i, name in enumerate(names)
    ]
    boxes = [
        dict(image_id=i, category_id=i % 2, bbox=[4, 5 + i, 20, 12])
        for i in range(1, COUNT)
    ]
    categories = [dict(id=0, name='A'), dict(id=1, name='B')]
    (tmp_path / 'boxes.json').write_text(
        json.dumps(
            dict(images=images, annotations=boxes, categories=categories)
        )
    )

    def task(reader, name, **kwargs):
        splits = dict.fromkeys(('train', 'val', 'test'), name)
        reader = dict(type=reader)
        return dict(classes=('A', 'B'), reader=reader, splits=splits, **kwargs)

    defaults = Config.fromfile(CONFIGS / 'task_defaults.py').task_defaults
    for kind in defaults:
        defaults[kind].img_size = 32
    return TaskTable.from_cfg(
        dict(
            datasets=dict(
                toy=dict(
                    data_root=str(tmp_path),
                    img_dir='images/',
                    tasks=dict(
                        cls=task('CsvLabelReader', 'labels.csv'),
                        loc=task('CocoReader', 'boxes.json'),
                        seg=task('MaskReader', 'masks.csv'),
                    ),
                )
            ),
            task_defaults=defaults,
        )
    )


@pytest.fixture
def dataset(table):
    return MultiTaskDataset(table, 'train')


def with_entry(task, **changes):
    """The task with changes to its entry."""
    return dataclasses.replace(task, config={**task.config, **changes})


def content(sample):
    """Everything random in a sample, as one comparable value."""
    data = sample['data_samples']
    if data.kind == 'cls':
        truth = [data.gt_score]
    elif data.kind == 'loc':
        truth = [data.gt_instances.bboxes.tensor, data.gt_instances.labels]
    else:
        truth = [data.gt_sem_seg.data]
    tensors = [sample['inputs'], *truth]
    parts = [(t.shape, t.numpy().tobytes()) for t in tensors]
    return data.task, data.img_id, data.metainfo.get('flip'), parts


def test_samples_of_all_kinds(dataset):
    assert len(dataset) == 3 * COUNT
    assert [d.task.name for d in dataset.datasets] == [
        'toy/cls',
        'toy/loc',
        'toy/seg',
    ]
    assert dataset.metainfo == dict(
        tasks=[d.metainfo for d in dataset.datasets]
    )
    assert dataset.datasets[1].metainfo == dict(
        task='toy/loc',
        dataset='toy',
        kind='loc',
        classes=['A', 'B'],
        label_type=None,
    )
    for task, field in enumerate(['gt_score', 'gt_instances', 'gt_sem_seg']):
        sample = dataset[SampleKey(task, 2, 5)]
        assert sample['inputs'].shape == (3, 32, 32)
        assert sample['data_samples'].img_id == '2.png'
        assert field in sample['data_samples']
        assert sample['data_samples'].replaced is None
    assert dataset[SampleKey(1, 3)]['data_samples'].task == 'toy/loc'


def test_empty_tells_images_without_boxes(dataset):
    cls, loc, seg = dataset.datasets
    assert loc.empty.tolist() == [True] + [False] * (COUNT - 1)
    assert not cls.empty.any() and not seg.empty.any()
    assert len(cls.empty) == len(seg.empty) == COUNT


def test_whole_numbers_walk_all_tasks(dataset):
    walked = [dataset[i]['data_samples'] for i in range(len(dataset))]
    assert [s.task for s in walked[:: COUNT - 1]] == [
        'toy/cls',
        'toy/cls',
        'toy/loc',
        'toy/seg',
    ]
    assert walked[COUNT].img_id == '0.png'
    assert dataset[-1]['data_samples'].img_id == '5.png'
    for index in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError):
            dataset[index]


def test_test_truth_is_the_original_s(table):
    dataset = MultiTaskDataset(table, 'test')
    sample = dataset[SampleKey(1, 1)]
    assert sample['inputs'].shape == (3, 32, 32)
    boxes = sample['data_samples'].gt_instances.bboxes.tensor
    assert boxes.tolist() == [[4, 6, 24, 18]]
    sample = dataset[SampleKey(2, 1)]['data_samples']
    assert sample.gt_sem_seg.shape == (40, 48) == sample.ori_shape
    assert sample.scale_factor == (32 / 48, 32 / 40)


def test_same_key_same_bits_in_any_process(dataset):
    keys = [SampleKey(t, i, 7 * i + t) for t in range(3) for i in range(COUNT)]
    expected = [content(dataset[key]) for key in keys]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert [content(dataset[key]) for key in keys[::-1]] == expected[::-1]
    loader = DataLoader(
        dataset,
        batch_sampler=[keys[i : i + 3] for i in range(0, len(keys), 3)],
        num_workers=2,
        collate_fn=pseudo_collate,
    )
    got = [
        content(dict(inputs=image, data_samples=sample))
        for batch in loader
        for image, sample in zip(batch['inputs'], batch['data_samples'])
    ]
    assert got == expected


def test_other_seed_other_transform(dataset):
    seen = {content(dataset[SampleKey(2, 0, s)])[3][0] for s in range(8)}
    assert len(seen) > 4


def states():
    return (
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        np.random.get_state()[2:],
        torch.get_rng_state().numpy().tobytes(),
    )


def test_generators_of_the_process_are_left_alone(dataset):
    before = states()
    for task in range(3):
        dataset[SampleKey(task, 1, 2**63 - 1)]
    assert states() == before
    with pytest.raises(KeyError), seeded(3):
        raise KeyError
    assert states() == before
    with seeded(3):
        assert states() != before


def test_pickles(dataset):
    copy = pickle.loads(pickle.dumps(dataset))
    key = SampleKey(1, 2, 3)
    assert content(copy[key]) == content(dataset[key])


def test_writing_to_a_sample_leaves_the_dataset_as_it_was(dataset):
    for task in range(3):
        key = SampleKey(task, 2, 3)
        before = content(dataset[key])
        sample = dataset[key]
        sample['inputs'].zero_()
        data = sample['data_samples']
        if task == 0:
            data.gt_score.zero_()
        elif task == 1:
            data.gt_instances.bboxes.tensor.zero_()
        assert content(dataset[key]) == before


def damage(dataset, task, *indices):
    for index in indices:
        path = dataset.datasets[task].data_list[index]['img_path']
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[:-30])
    return path


def test_unreadable_image_is_replaced_in_training(dataset):
    path = damage(dataset, 0, 2)
    chosen = set()
    for seed in range(20):
        sample = dataset[SampleKey(0, 2, seed)]['data_samples']
        assert sample.replaced.startswith(f'{path}: the PNG is cut off')
        assert sample.task == 'toy/cls'
        assert sample.img_id != '2.png'
        again = dataset[SampleKey(0, 2, seed)]['data_samples']
        assert again.img_id == sample.img_id
        chosen.add(sample.img_id)
    assert len(chosen) > 2
    assert dataset[SampleKey(0, 3, 0)]['data_samples'].replaced is None


def test_replacement_finds_the_last_good_image(dataset):
    damage(dataset, 0, 0, 1)
    for seed in range(10):
        sample = dataset[SampleKey(0, 0, seed)]['data_samples']
        assert sample.img_id not in ('0.png', '1.png')
        assert '0.png' in sample.replaced


def test_unreadable_mask_is_replaced_like_its_image(dataset, tmp_path):
    (tmp_path / 'masks' / '1.png').write_bytes(b'')
    sample = dataset[SampleKey(2, 1, 0)]['data_samples']
    assert 'masks/1.png: the file is empty' in sample.replaced


def test_all_unreadable_names_the_first(dataset):
    damage(dataset, 0, *range(COUNT))
    with pytest.raises(ImageReadError, match='4.png'):
        dataset[SampleKey(0, 4, 0)]


def test_unreadable_image_raises_in_test(table):
    dataset = MultiTaskDataset(table, 'val')
    path = damage(dataset, 0, 2)
    before = states()
    with pytest.raises(ImageReadError, match=f'{path}: the PNG is cut off'):
        dataset[SampleKey(0, 2)]
    assert states() == before


def test_missing_image_is_replaced_in_training_only(table, tmp_path):
    (tmp_path / 'images' / '2.png').unlink()
    task = table['toy/cls']
    with pytest.raises(UserError, match='1 of 6 are missing'):
        TaskDataset(task, 'train')
    reader = dict(task.config['reader'], max_missing=0.2)
    task = with_entry(task, reader=reader)
    dataset = TaskDataset(task, 'train')
    assert len(dataset) == COUNT
    sample = dataset.sample(2, 5)['data_samples']
    assert sample.replaced.startswith(f'{tmp_path}/images/2.png: No such')
    assert sample.img_id != '2.png'
    with pytest.raises(UserError, match='1 of 6 are missing, 0.0% may be'):
        TaskDataset(task, 'train', test_mode=True)


def test_names_must_not_leave_the_data_root(table, tmp_path):
    for name in ('images/0.png', '../../0.png'):
        rows = f'image,A,B\n../{name},1,0\n'
        (tmp_path / 'labels.csv').write_text(rows)
        if name == 'images/0.png':
            dataset = MultiTaskDataset(table, 'train')
            assert len(dataset.datasets[0]) == 1
            continue
        with pytest.raises(UserError, match='row 2.*leads out of the data'):
            MultiTaskDataset(table, 'train')


@pytest.fixture
def uncertain(table, tmp_path):
    """Six images whose class A is drawn and class B unknown."""
    rows = ''.join(f'{i}.png,-1,\n' for i in range(COUNT))
    (tmp_path / 'labels.csv').write_text(f'image,A,B\n{rows}')

    def build(test_mode=False, **policies):
        task = table['toy/cls']
        reader = dict(task.config['reader'], **policies)
        task = with_entry(task, reader=reader)
        return TaskDataset(task, 'train', test_mode=test_mode)

    return build


LSR = dict(uniform=(0.55, 0.85))


def test_ranges_are_drawn_for_each_sample_from_its_seed(uncertain):
    dataset = uncertain(uncertain=LSR)
    keys = [(i, seed) for i in range(COUNT) for seed in range(5)]
    drawn = [dataset.sample(*k)['data_samples'].gt_score for k in keys]
    values = torch.stack(drawn)
    assert values.dtype == torch.float32
    assert values[:, 1].isnan().all()
    assert ((values[:, 0] >= 0.55) & (values[:, 0] <= 0.85)).all()
    assert len(values[:, 0].unique()) == len(keys)
    again = [dataset.sample(*k)['data_samples'].gt_score for k in keys]
    torch.testing.assert_close(
        torch.stack(again), values, rtol=0, atol=0, equal_nan=True
    )


def test_drawing_leaves_the_transforms_as_they_were(uncertain):
    drawn = uncertain(uncertain=LSR, blank=LSR)
    fixed = uncertain(uncertain='ones')
    for seed in range(6):
        one, two = (d.sample(1, seed) for d in (drawn, fixed))
        assert torch.equal(one['inputs'], two['inputs'])
        assert not one['data_samples'].gt_score.isnan().any()
        assert two['data_samples'].gt_score[0] == 1


def test_ranges_are_unknown_in_evaluation(uncertain):
    dataset = uncertain(uncertain=LSR, blank='zeros', test_mode=True)
    score = dataset.sample(1, 3)['data_samples'].gt_score
    assert score[0].isnan() and score[1] == 0


def test_annotation_errors_are_not_replaced(dataset, tmp_path, write_images):
    write_images('../masks/1.png', shape=(40, 40))
    with pytest.raises(UserError, match='masks/1.png.*40x40.*48x40'):
        dataset[SampleKey(2, 1, 0)]


def test_chosen_images(table):
    task = with_entry(table['toy/loc'], img_ids=('3.png', '0.png'))
    dataset = TaskDataset(task, 'train')
    assert [r['img_id'] for r in dataset.data_list] == ['0.png', '3.png']
    assert dataset.empty.tolist() == [True, False]


def test_transforms_within_others_need_no_runner(table):
    """Tools build datasets outside of one, which sets the default scope."""
    pipeline = table['toy/cls'].pipeline('train')
    inner = dict(type='RandomGamma', prob=1.0)
    step = dict(type='RandomApply', prob=1.0, transforms=[inner])
    pipeline.insert(-1, step)
    with DefaultScope.overwrite_default_scope('mmengine'):
        dataset = TaskDataset(table['toy/cls'], 'train', pipeline=pipeline)
        sample = dataset[0]
    assert sample['inputs'].shape == (3, 32, 32)


def test_a_transform_that_drops_images_is_named(table):
    class Drop:
        def __call__(self, results):
            return None

    TRANSFORMS.register_module(module=Drop, name='DropForTest', force=True)
    steps = [dict(type='DropForTest')]
    dataset = TaskDataset(table['toy/cls'], 'train', pipeline=steps)
    with pytest.raises(UserError, match='Drop of task toy/cls'):
        dataset[0]


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (
            dict(reader=dict(type='CsvLabelsReader')),
            ['reader of task toy/cls: "CsvLabelsReader"', '"CsvLabelReader"?'],
        ),
        (
            dict(reader=dict(type='CsvLabelReader', colum='x')),
            ['reader of task toy/cls', 'Unknown key "colum"'],
        ),
        (
            dict(pipeline=[dict(type='LoadXrai')]),
            ['transform of task toy/cls: "LoadXrai"', '"LoadXray"?'],
        ),
        (
            dict(pipeline=[dict(type='mmdet.Resise')]),
            ['transform of task toy/cls: "mmdet.Resise"'],
        ),
        (
            dict(pipeline=[dict(type='mmdet.RandomFlip', prob=3.0)]),
            ['transform of task toy/cls', 'mmdet.RandomFlip'],
        ),
        (dict(pipeline=[dict(scale=3)]), ['toy/cls', 'type']),
    ],
)
def test_mistyped_configs_are_named(table, change, parts):
    change = dict(change)
    pipeline = change.pop('pipeline', None)
    task = with_entry(table['toy/cls'], **change)
    with pytest.raises(UserError) as info:
        TaskDataset(task, 'train', pipeline=pipeline)
    for part in parts:
        assert part in str(info.value)
    assert '\n' not in str(info.value)


def test_annotation_errors_keep_their_sentence_when_built(table, tmp_path):
    (tmp_path / 'labels.csv').write_text('image,A\n0.png,1\n')
    with pytest.raises(UserError) as info:
        MultiTaskDataset(table, 'train')
    assert str(info.value).startswith(f'{tmp_path / "labels.csv"}: has no')


@pytest.mark.realdata
@pytest.mark.skipif(
    'FX_MM_REAL_DATA' not in os.environ, reason='needs FX_MM_REAL_DATA'
)
def test_shipped_configs_of_real_data():
    names = ('real_nih', 'real_tbx11k', 'real_lungs')
    datasets = {}
    for name in names:
        cfg = Config.fromfile(CONFIGS / 'datasets' / f'{name}.py')
        assert list(cfg) == [name]
        datasets[name] = cfg[name]
    cfg = Config.fromfile(CONFIGS / 'task_defaults.py')
    table = TaskTable.from_cfg(
        dict(datasets=datasets, task_defaults=cfg.task_defaults)
    )
    for split in ('train', 'test'):
        dataset = MultiTaskDataset(table, split)
        assert [len(d) for d in dataset.datasets] == [2, 3, 4]
        for index in range(len(dataset)):
            sample = dataset[index]
            assert sample['inputs'].shape == (3, 224, 224)
            assert sample['inputs'].float().std() > 20
    nih, tbx, lungs = dataset.datasets
    found = [r['gt_score'].nonzero()[0].tolist() for r in nih.data_list]
    assert found == [[1], []]
    assert tbx.empty.tolist() == [False, False, True]
    for index in range(4):
        mask = lungs[index]['data_samples'].gt_sem_seg.data.float()
        assert 0.15 < mask.mean() < 0.5
