"""The module against mmcv's, with each kernel."""

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention

from fx_mm.ops.deformable_attention import DeformableAttention
from fx_mm.ops.sampling import available_kernels
from fx_mm.utils.errors import UserError

DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
KERNELS = available_kernels(DEVICE)
SHAPES = [(2, 3), (1, 2)]


def build(kernel='auto'):
    """Ours and mmcv's, of equal random weights."""
    options = dict(embed_dims=16, num_heads=2, num_levels=2, num_points=2)
    options.update(batch_first=True, dropout=0.0)
    torch.manual_seed(0)
    ours = DeformableAttention(kernel=kernel, **options)
    theirs = MultiScaleDeformableAttention(**options)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.load_state_dict(ours.state_dict())
    return ours.to(DEVICE), theirs


def inputs(coordinates, queries=3):
    generator = torch.Generator().manual_seed(1)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    return dict(
        query=rand(2, queries, 16),
        value=rand(2, 8, 16),
        query_pos=rand(2, queries, 16),
        key_padding_mask=rand(2, 8) < 0.2,
        reference_points=rand(2, queries, 2, coordinates),
        spatial_shapes=torch.tensor(SHAPES),
    )


def to_device(tensors):
    return {name: tensor.to(DEVICE) for name, tensor in tensors.items()}


@pytest.mark.parametrize('kernel', KERNELS)
def test_no_query(kernel):
    ours, _ = build(kernel)
    assert ours(shapes=SHAPES, **to_device(inputs(2, queries=0))).shape == (
        2,
        0,
        16,
    )


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize('coordinates', [2, 4])
def test_mmcvs_values_and_gradients(kernel, coordinates):
    ours, theirs = build(kernel)
    given = inputs(coordinates)
    result = ours(shapes=SHAPES, **to_device(given))
    wanted = theirs(level_start_index=torch.tensor([0, 6]), **given)
    close = dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.cpu(), wanted, **close)
    result.square().sum().backward()
    wanted.square().sum().backward()
    for mine, right in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine.grad.cpu(), right.grad, **close)


@pytest.mark.parametrize('kernel', KERNELS)
def test_locations_stay_in_float32_under_autocast(kernel):
    """In bfloat16 they would be off by whole pixels of a large map."""
    ours, _ = build(kernel)
    ours.value_proj.weight.data.copy_(torch.eye(16))
    ours.output_proj.weight.data.copy_(torch.eye(16))
    shapes = [(1, 1000), (1, 1)]
    given = to_device(inputs(2, queries=1))
    ramp = torch.arange(1001.0, device=DEVICE).view(1, -1, 1) / 1000
    given.update(
        value=ramp.expand(2, -1, 16),
        reference_points=torch.tensor([0.7037, 0.5], device=DEVICE).expand(
            2, 1, 2, 2
        ),
        spatial_shapes=torch.tensor(shapes, device=DEVICE),
        key_padding_mask=None,
        identity=torch.zeros(2, 1, 16, device=DEVICE),
    )
    for layer in (ours.value_proj, ours.output_proj, ours.sampling_offsets):
        layer.bias.data.zero_()
    ours.sampling_offsets.weight.data.zero_()
    # all weight on the points of the first level
    ours.attention_weights.weight.data.zero_()
    ours.attention_weights.bias.data.copy_(
        torch.tensor([0.0, 0.0, -99.0, -99.0]).repeat(2)
    )
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        result = ours(shapes=shapes, **given)
    # the values themselves are rounded to steps of 2**-8
    assert (result.float() - 0.7032).abs().max() < 2**-8


def test_torch_compile_takes_it_whole():
    torch.compiler.reset()
    kernel = 'triton' if 'triton' in KERNELS else 'auto'
    ours, _ = build(kernel)
    given = to_device(inputs(2))
    wanted = ours(shapes=SHAPES, **given)
    compiled = torch.compile(ours, fullgraph=True, backend='eager')
    assert torch.equal(compiled(shapes=SHAPES, **given), wanted)


def test_an_unknown_kernel():
    with pytest.raises(UserError, match="kernel is 'cuda'; use one of auto"):
        DeformableAttention(kernel='cuda')
