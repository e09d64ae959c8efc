"""Which kernel samples, and that all of them give the same."""

import pytest
import torch

from fx_mm.ops import sampling
from fx_mm.ops.sampling import available_kernels, sample_levels
from fx_mm.utils.errors import UserError

CPU, CUDA = torch.device('cpu'), torch.device('cuda')


def arguments(dtype=torch.float32, queries=2):
    shapes = [(2, 3), (1, 2)]
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 8, 2, 4, generator=generator).to(dtype)
    locations = torch.rand(2, queries, 2, 2, 3, 2, generator=generator)
    weights = torch.rand(2, queries, 2, 2, 3, generator=generator)
    return value, shapes, locations, weights


def has(patch, triton=True, interpreted=False, mmcv=False):
    patch.setattr(sampling, '_TRITON', triton)
    patch.setattr(sampling, '_INTERPRETED', interpreted)
    patch.setattr(sampling, '_MMCV', mmcv)


def test_no_query():
    assert sample_levels(*arguments(queries=0)).shape == (2, 0, 8)


def test_levels_and_points_in_one():
    value, shapes, locations, weights = arguments()
    assert torch.equal(
        sample_levels(value, shapes, locations, weights.flatten(3)),
        sample_levels(value, shapes, locations, weights),
    )


@pytest.mark.parametrize(
    'device, parts, kernels',
    [
        (CPU, dict(mmcv=True), ('grid_sample',)),
        (CPU, dict(interpreted=True), ('grid_sample', 'triton')),
        (CPU, dict(triton=False, interpreted=True), ('grid_sample',)),
        (CUDA, dict(), ('triton', 'grid_sample')),
        (CUDA, dict(mmcv=True), ('triton', 'mmcv', 'grid_sample')),
        (CUDA, dict(triton=False, mmcv=True), ('mmcv', 'grid_sample')),
        (CUDA, dict(triton=False), ('grid_sample',)),
        (torch.device('meta'), dict(), ('grid_sample',)),
    ],
)
def test_available_kernels(monkeypatch, device, parts, kernels):
    has(monkeypatch, **parts)
    assert available_kernels(device) == kernels


def test_mmcv_is_not_deterministic(monkeypatch):
    has(monkeypatch, mmcv=True)
    torch.use_deterministic_algorithms(True)
    try:
        assert available_kernels(CUDA) == ('triton', 'grid_sample')
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('kernel', ['mmcv', 'triton'])
def test_a_kernel_that_does_not_run_here(monkeypatch, kernel):
    has(monkeypatch, mmcv=True)
    with pytest.raises(UserError) as error:
        sample_levels(*arguments(), kernel=kernel)
    assert str(error.value) == (
        f'The kernel "{kernel}" of deformable attention does not run on cpu '
        'here; take grid_sample, or "auto".'
    )


def test_an_unknown_kernel():
    with pytest.raises(UserError, match="kernel is 'cuda'; use one of auto"):
        sample_levels(*arguments(), kernel='cuda')


@pytest.mark.parametrize(
    'dtype, tolerance',
    [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2**-7)],
)
def test_all_kernels_give_the_same(dtype, tolerance):
    device = CUDA if torch.cuda.is_available() else CPU
    value, shapes, locations, weights = arguments(dtype)
    tensors = [t.to(device) for t in (value, locations, weights)]
    results = [
        sample_levels(tensors[0], shapes, *tensors[1:], kernel=kernel)
        for kernel in available_kernels(device)
        if kernel != 'mmcv' or dtype != torch.float64
    ]
    assert len(results) >= 1 + sampling._TRITON
    for result in results:
        assert result.dtype == dtype and result.shape == (2, 2, 8)
        torch.testing.assert_close(
            result, results[0], rtol=tolerance, atol=tolerance
        )
