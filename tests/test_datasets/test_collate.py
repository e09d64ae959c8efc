import pickle

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import DataLoader, Dataset

from fx_mm.datasets import collate
from fx_mm.datasets.collate import Samples, collate_batch
from fx_mm.structures import FXDataSample
from fx_mm.utils.errors import UserError


def make_sample(kind, index=0, height=32, teacher=False):
    rng = np.random.default_rng(index)
    sample = FXDataSample(
        metainfo=dict(task=f'toy/{kind}', kind=kind, img_id=f'{index}.png')
    )
    if kind == 'cls':
        sample.gt_score = torch.tensor([0.0, float('nan'), index])
    elif kind == 'loc':  # the first image has no box
        boxes = torch.from_numpy(rng.uniform(0, 9, (index, 4)))
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(boxes.float()),
            labels=torch.arange(index),
        )
    else:
        masks = rng.integers(0, 2, (3, height, 40)).astype(np.uint8)
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(masks))
    image = rng.integers(0, 256, (3, height, 40)).astype(np.uint8)
    packed = dict(inputs=torch.from_numpy(image), data_samples=sample)
    if teacher:
        packed['teacher_inputs'] = packed['inputs'][:, :16, :16] + 1
    return packed


class Samplings(Dataset):
    def __init__(self, kind, **options):
        self.kind, self.options = kind, options

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return make_sample(self.kind, index, **self.options)


def assert_equal(found, expected):
    assert found.metainfo == expected.metainfo
    for name in ('gt_score', 'gt_instances', 'gt_sem_seg'):
        assert (name in found) == (name in expected)
    if 'gt_score' in expected:
        torch.testing.assert_close(
            found.gt_score, expected.gt_score, equal_nan=True
        )
    if 'gt_instances' in expected:
        ours, theirs = found.gt_instances, expected.gt_instances
        assert isinstance(ours.bboxes, HorizontalBoxes)
        assert ours.bboxes.tensor.shape == theirs.bboxes.tensor.shape
        assert (ours.bboxes.tensor == theirs.bboxes.tensor).all()
        assert ours.labels.dtype == torch.int64
        assert (ours.labels == theirs.labels).all()
    if 'gt_sem_seg' in expected:
        assert (found.gt_sem_seg.data == expected.gt_sem_seg.data).all()


@pytest.mark.parametrize('workers, inline', [(0, 0), (1, 2**20), (1, 0)])
@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
def test_a_worker_hands_over_what_it_made(kind, workers, inline, monkeypatch):
    monkeypatch.setattr(collate, 'INLINE', inline)
    loader = DataLoader(
        Samplings(kind, teacher=kind == 'cls'),
        4,
        num_workers=workers,
        collate_fn=collate_batch,
        multiprocessing_context='fork' if workers else None,
    )
    for number, batch in enumerate(loader):
        expected = [loader.dataset[4 * number + i] for i in range(4)]
        assert set(batch) == set(expected[0])
        assert isinstance(batch['data_samples'], list)
        for key in set(batch) - {'data_samples'}:
            images = torch.stack([e[key] for e in expected])
            assert (batch[key] == images).all()
            assert batch[key].is_shared() == bool(workers)
        for found, one in zip(batch['data_samples'], expected):
            assert_equal(found, one['data_samples'])
        # what a loss does to one sample must not reach another
        if kind == 'seg':
            batch['data_samples'][0].gt_sem_seg.data.fill_(7)
            assert_equal(batch['data_samples'][1], expected[1]['data_samples'])


def test_images_of_several_sizes_stay_apart():
    samples = [make_sample('cls', i, height=32 + i) for i in range(3)]
    batch = collate_batch(samples)
    assert [i.shape for i in batch['inputs']] == [
        (3, 32, 40),
        (3, 33, 40),
        (3, 34, 40),
    ]


@pytest.mark.parametrize(
    'dtype',
    [
        torch.bool,
        torch.uint8,
        torch.int16,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex128,
    ],
)
@pytest.mark.parametrize('shape', [(), (0, 4), (1,), (3, 5)])
def test_every_dtype_and_shape(dtype, shape):
    first = torch.ones(shape, dtype=dtype)
    tensors = [first, torch.ones(3, dtype=torch.uint8), first.clone()]
    loaded = pickle.loads(pickle.dumps(Samples(tensors)))
    for found, expected in zip(loaded, tensors):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert (found == expected).all()


def test_samples_without_values():
    empty = [torch.zeros(0, 4), None]
    loaded = pickle.loads(pickle.dumps(Samples(empty)))
    assert loaded[0].shape == (0, 4) and loaded[1] is None
    assert pickle.loads(pickle.dumps(Samples())) == []


def test_strided_tensors_keep_their_values():
    whole = torch.arange(24).reshape(4, 6)
    tensors = [whole.T, whole[::2, 1:4], whole[1].expand(3, 6)]
    loaded = pickle.loads(pickle.dumps(Samples(tensors)))
    for found, expected in zip(loaded, tensors):
        assert (found == expected).all()


@pytest.mark.parametrize('order', [(True, False), (False, True)])
def test_a_view_for_some_only_is_refused(order):
    """As of a TeacherView in mmcv's RandomApply."""
    samples = [make_sample('cls', teacher=teacher) for teacher in order]
    with pytest.raises(UserError, match='Some samples of task toy/cls have'):
        collate_batch(samples)


@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
def test_pinned_samples_lie_in_one_piece(kind, monkeypatch):
    pinned = []

    def pin(values):
        pinned.append(values)
        return values.clone()

    monkeypatch.setattr(torch.Tensor, 'pin_memory', pin)
    samples = Samples(make_sample(kind, i)['data_samples'] for i in range(3))
    found = pickle.loads(pickle.dumps(samples)).pin_memory()
    assert len(pinned) == 1 and isinstance(found, Samples)
    assert len(found) == 3
    for ours, theirs in zip(found, samples):
        assert_equal(ours, theirs)
