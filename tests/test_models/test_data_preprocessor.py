import pickle

import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch.overrides import TorchFunctionMode

import fx_mm.models  # noqa: F401
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.utils.errors import UserError

CLS_MEAN, CLS_STD = 0.5056 * 255, 0.252 * 255
RGB_MEAN = torch.tensor([123.675, 116.28, 103.53])
RGB_STD = torch.tensor([58.395, 57.12, 57.375])


def build(**kwargs):
    return MODELS.build(dict(type='fx_mm.TaskDataPreprocessor', **kwargs))


def batch(kind, *sizes, dataset='toy'):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in sizes:
        meta = dict(task=f'{dataset}/{kind}', dataset=dataset, kind=kind)
        samples.append(FXDataSample(metainfo=meta))
        if kind == 'loc':
            boxes = HorizontalBoxes(torch.tensor([[1.0, 2, 3, 4]]))
            samples[-1].gt_instances = InstanceData(
                bboxes=boxes, labels=torch.tensor([0])
            )
    images = [
        torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator)
        for size in sizes
    ]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
def test_normalises_by_kind(kind):
    data = batch(kind, (8, 6), (8, 6))
    prepared = build()(data, training=True)
    images = torch.stack(data['inputs']).float()
    if kind == 'cls':
        expected = (images - CLS_MEAN) / CLS_STD
    else:
        expected = (images - RGB_MEAN.view(3, 1, 1)) / RGB_STD.view(3, 1, 1)
    assert prepared['inputs'].dtype == torch.float32
    torch.testing.assert_close(prepared['inputs'], expected)
    for sample in prepared['data_samples']:
        assert sample.batch_input_shape == sample.pad_shape == (8, 6)


def test_boxes_become_tensors_and_the_input_stays():
    data = batch('loc', (8, 8))
    prepared = build()(data)
    boxes = prepared['data_samples'][0].gt_instances.bboxes
    assert isinstance(boxes, torch.Tensor)
    assert boxes.tolist() == [[1, 2, 3, 4]]
    assert data['inputs'][0].dtype == torch.uint8
    assert 'pad_shape' not in data['data_samples'][0]
    boxes = data['data_samples'][0].gt_instances.bboxes
    assert isinstance(boxes, HorizontalBoxes)


def test_stacked_input_gives_the_same():
    data = batch('seg', (4, 4), (4, 4))
    stacked = dict(data, inputs=torch.stack(data['inputs']))
    assert torch.equal(build()(data)['inputs'], build()(stacked)['inputs'])


def test_other_sizes_are_padded_with_the_mean():
    data = batch('cls', (8, 6), (5, 9))
    prepared = build(pad_size_divisor=4)(data)
    assert prepared['inputs'].shape == (2, 3, 8, 12)
    assert (prepared['inputs'][1, :, 5:] == 0).all()
    assert (prepared['inputs'][0, :, :, 6:] == 0).all()
    assert prepared['inputs'][0, :, :8, :6].abs().min() > 0
    shapes = [s.pad_shape for s in prepared['data_samples']]
    assert shapes == [(8, 8), (8, 12)]
    assert prepared['data_samples'][1].batch_input_shape == (8, 12)


def test_equal_sizes_are_padded_to_the_divisor():
    prepared = build(pad_size_divisor=32)(batch('cls', (8, 6), (8, 6)))
    assert prepared['inputs'].shape == (2, 3, 32, 32)


def test_own_values_of_a_kind_and_of_a_task():
    preprocessor = build(
        normalize={
            'cls': dict(mean=10, std=2),
            'odd/cls': dict(mean=[1, 2, 3], std=[1, 1, 2]),
        }
    )
    data = batch('cls', (4, 4))
    got = preprocessor(data)['inputs'][0]
    torch.testing.assert_close(got, (data['inputs'][0].float() - 10) / 2)
    data = batch('cls', (4, 4), dataset='odd')
    got = preprocessor(data)['inputs'][0]
    torch.testing.assert_close(got[2], (data['inputs'][0][2].float() - 3) / 2)
    data = batch('seg', (4, 4))
    got = preprocessor(data)['inputs'][0, 0]
    image = data['inputs'][0][0].float()
    torch.testing.assert_close(got, (image - RGB_MEAN[0]) / RGB_STD[0])


def test_mixed_tasks_are_refused():
    data = batch('cls', (4, 4))
    data['inputs'] += data['inputs']
    data['data_samples'] += batch('loc', (4, 4))['data_samples']
    with pytest.raises(ValueError, match='toy/cls.*toy/loc'):
        build()(data)


@pytest.mark.parametrize(
    ('entry', 'part'),
    [
        (dict(mean=1), 'no "std"'),
        (dict(mean=1, std=0), r'\["std"\] is 0'),
        (dict(mean=[1, 2], std=1), r'\["mean"\] is \[1, 2\]'),
    ],
)
def test_bad_values_are_named(entry, part):
    with pytest.raises(UserError, match=f'"loc".*{part}'):
        build(normalize=dict(loc=entry))


def test_is_not_in_checkpoints_and_moves_with_the_model():
    preprocessor = build()
    assert preprocessor.state_dict() == {}
    preprocessor.to('cpu')
    assert preprocessor.device == torch.device('cpu')
    copy = pickle.loads(pickle.dumps(preprocessor))
    assert torch.equal(copy.statistics, preprocessor.statistics)


class Copies(TorchFunctionMode):
    """Remember how tensors are moved."""

    def __init__(self):
        super().__init__()
        self.asynchronous = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.to:
            self.asynchronous.append((kwargs or {}).get('non_blocking'))
        return func(*args, **kwargs or {})


def test_the_host_waits_for_no_copy():
    """Neither for images nor for boxes, labels and masks."""
    sample = FXDataSample(metainfo=dict(task='a/loc', kind='loc'))
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.ones(1, 4)), labels=torch.ones(1)
    )
    sample.gt_score = torch.ones(3)
    with Copies() as copies:
        build().cast_data(
            dict(inputs=torch.ones(1, 3, 4, 4), data_samples=[sample])
        )
    assert copies.asynchronous == [True] * 4
