"""The Triton kernels against ``grid_sample`` in float64.

Without a GPU they run in Triton's interpreter, a tenth of a second per
program: everything here is tiny.
"""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_mm.ops import sampling, triton_sampling
from fx_mm.ops.sampling import sample_levels

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
pytestmark = pytest.mark.skipif(
    'triton' not in sampling.available_kernels(torch.device(DEVICE)),
    reason='there is no Triton',
)
KEPT = 10
"""Where points are: this many hundredths away from the middle of a cell,
where gradients of locations jump."""


def inputs(
    shapes, batch=1, queries=3, heads=1, dims=4, points=2, seed=0, far=2
):
    """Values, locations up to ``far`` cells outside, and weights."""
    generator = torch.Generator().manual_seed(seed)
    kwargs = dict(generator=generator, dtype=torch.float64)
    sizes = torch.tensor(shapes, dtype=torch.float64).flip(-1)
    tokens = sum(h * w for h, w in shapes)
    lead = (batch, queries, heads, len(shapes), points)
    spread = torch.rand(*lead, 2, **kwargs)
    sizes = sizes.view(-1, 1, 2)
    cells = (spread * (sizes + 2 * far)).floor() - far
    part = torch.randint(KEPT, 100 - KEPT, (*lead, 2), generator=generator)
    locations = (cells + part / 100 + 0.5) / sizes.clamp(min=1)
    value = torch.randn(batch, tokens, heads, dims, **kwargs)
    weights = torch.randn(*lead, **kwargs)
    return [t.to(DEVICE) for t in (value, locations, weights)]


def reference(value, shapes, locations, weights):
    """Level by level, image by image, head by head."""
    batch, queries, heads, *_ = locations.shape
    output = value.new_zeros((batch, queries, heads, value.shape[3]))
    # gradients of zero, not none
    output = output + 0 * (value.sum() + locations.sum() + weights.sum())
    begin = 0
    for level, (height, width) in enumerate(shapes):
        end = begin + height * width
        if height * width and queries:
            maps = value[:, begin:end].permute(0, 2, 3, 1).flatten(0, 1)
            samples = F.grid_sample(
                maps.unflatten(-1, (height, width)),
                2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1)
                - 1,
                align_corners=False,
            ).unflatten(0, (batch, heads))
            output = output + torch.einsum(
                'bhdqp,bqhp->bqhd', samples, weights[:, :, :, level]
            )
        begin = end
    return output.flatten(2)


def results(function, shapes, tensors, seed=1):
    """Output and gradients, for a random gradient of the output."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    output = function(leaves[0], shapes, *leaves[1:])
    generator = torch.Generator().manual_seed(seed)
    grad = torch.randn(output.shape, generator=generator).to(output)
    grads = torch.autograd.grad(
        output, leaves, grad, allow_unused=True, materialize_grads=True
    )
    return [output.detach(), *grads]


def by_triton(value, shapes, locations, weights):
    return sample_levels(value, shapes, locations, weights, 'triton')


def compare(shapes, tensors, rtol=0.0, atol=1e-11):
    ours = results(by_triton, shapes, tensors)
    theirs = results(reference, shapes, [t.double() for t in tensors])
    for mine, right, name in zip(
        ours, theirs, ('output', 'value', 'locations', 'weights')
    ):
        assert mine.shape == right.shape
        torch.testing.assert_close(
            mine.double(),
            right,
            rtol=rtol,
            atol=atol,
            msg=lambda text, name=name: f'{name}: {text}',
        )
    return ours


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


# ------------------------------------------------------------ small and odd


def test_no_query():
    output, value, *_ = compare([(2, 3)], inputs([(2, 3)], queries=0))
    assert output.shape == (1, 0, 4)
    assert not value.any()


def test_no_query_with_deterministic_gradients(deterministic):
    compare([(2, 3)], inputs([(2, 3)], queries=0))


def test_no_image():
    assert by_triton(*_with([(1, 1)], batch=0)).shape == (0, 3, 4)


def test_no_token():
    compare([(0, 3), (0, 0)], inputs([(0, 3), (0, 0)]))


def test_one_token():
    compare([(1, 1)], inputs([(1, 1)], points=1, dims=1))


def _with(shapes, **options):
    value, locations, weights = inputs(shapes, **options)
    return value, shapes, locations, weights


@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5)),
        min_size=1,
        max_size=2,
    ),
    images_heads=st.sampled_from([(1, 1), (2, 1), (1, 2)]),
    queries=st.integers(0, 9),
    dims=st.sampled_from([1, 3, 16, 24]),
    points=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_any_size(shapes, images_heads, queries, dims, points, seed):
    batch, heads = images_heads
    tensors = inputs(shapes, batch, queries, heads, dims, points, seed)
    compare(shapes, tensors)


def test_several_blocks_of_queries():
    """Two blocks of 16 forward, three of 8 backward, the last one not full."""
    tensors = inputs([(3, 4)], queries=18, dims=32, points=4)
    compare([(3, 4)], tensors)


def test_tensors_with_gaps():
    """Slices and transposed tensors, as in ``value.transpose(1, 2)``."""
    shapes = [(2, 3)]
    value, locations, weights = inputs(shapes, heads=2)
    apart = [
        value.transpose(1, 2).contiguous().transpose(1, 2),
        torch.cat([locations, locations], dim=-1)[..., :2],
        weights.flip(1).flip(1).expand(weights.shape),
    ]
    assert not apart[0].is_contiguous() and not apart[1].is_contiguous()
    for ours, theirs in zip(
        results(by_triton, shapes, apart),
        results(by_triton, shapes, [value, locations, weights]),
    ):
        assert torch.equal(ours, theirs)


# ---------------------------------------------------------------- gradients


def test_gradcheck():
    shapes = [(2, 3), (1, 2)]
    value, locations, weights = inputs(shapes, queries=2, dims=3, far=1)
    leaves = [t.requires_grad_() for t in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, x, w: by_triton(v, shapes, x, w), leaves, fast_mode=True
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_deterministic_gradients_are_the_same(dtype, deterministic):
    shapes = [(2, 3), (1, 2)]
    tensors = [t.to(dtype) for t in inputs(shapes, dims=16, queries=9)]
    tolerance = 1e-11 if dtype == torch.float64 else 1e-5
    compare(shapes, tensors, rtol=tolerance, atol=tolerance)


def test_deterministic_gradients_do_not_depend_on_the_order(deterministic):
    """Queries the other way round: the sums are made in another order."""
    shapes = [(1, 2)]
    value, locations, weights = (
        t.float() for t in inputs(shapes, queries=40, dims=16, far=0)
    )
    grad = torch.randn(1, 40, 16, device=DEVICE)

    def gradient(order):
        leaf = value.clone().requires_grad_()
        output = by_triton(
            leaf, shapes, locations[:, order], weights[:, order]
        )
        return torch.autograd.grad(output, leaf, grad[:, order])[0]

    order = torch.arange(40, device=DEVICE)
    first, second = gradient(order), gradient(order.flip(0))
    assert torch.equal(first, second)
    torch.use_deterministic_algorithms(False)
    plain = gradient(order)
    assert not torch.equal(plain, first)
    torch.testing.assert_close(plain, first)


@pytest.mark.parametrize('size', [1e-30, 1e30])
def test_deterministic_gradients_of_any_size(size, deterministic):
    shapes = [(2, 2)]
    tensors = [t.float() for t in inputs(shapes)]
    tensors[2] *= size
    leaves = [t.requires_grad_() for t in tensors]
    by_triton(leaves[0], shapes, *leaves[1:]).sum().backward()
    value, locations, weights = (t.detach().double() for t in tensors)
    value.requires_grad_()
    reference(value, shapes, locations, weights).sum().backward()
    torch.testing.assert_close(
        leaves[0].grad.double() / size, value.grad / size
    )


def test_deterministic_gradients_of_zeros(deterministic):
    shapes = [(2, 2)]
    value, locations, weights = inputs(shapes)
    value.requires_grad_()
    (by_triton(value, shapes, locations, 0 * weights)).sum().backward()
    assert not value.grad.any()


# -------------------------------------------------------- types and numbers


@pytest.mark.parametrize(
    'dtype, rounding',
    [
        (torch.float32, 1e-5),
        (torch.float16, 2**-10),
        (torch.bfloat16, 2**-7),
    ],
)
def test_types_of_values(dtype, rounding):
    """Inputs exact in the type: only the results are rounded to it."""
    shapes = [(3, 2), (2, 2)]
    value, locations, weights = inputs(shapes, heads=2, dims=8)
    value = value.to(dtype)
    ours = [value, locations.float(), weights.float()]
    leaves = [t.clone().requires_grad_() for t in ours]
    output = by_triton(leaves[0], shapes, *leaves[1:])
    assert output.dtype == dtype
    grad = torch.randn_like(output)
    grads = torch.autograd.grad(output, leaves, grad)
    assert [g.dtype for g in grads] == [dtype, *2 * [torch.float32]]
    leaves = [t.double().requires_grad_() for t in ours]
    right = reference(leaves[0], shapes, *leaves[1:])
    wanted = torch.autograd.grad(right, leaves, grad.double())
    for mine, theirs in zip((output, *grads), (right, *wanted), strict=True):
        limit = rounding if mine.dtype == dtype else 1e-5
        scale = theirs.abs().max().item()
        torch.testing.assert_close(
            mine.double(), theirs, rtol=limit, atol=limit * scale
        )


@pytest.mark.filterwarnings('ignore:invalid value encountered')
@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_what_is_not_finite_shows(bad, request):
    """A diverged step must be seen, whatever the kernel skips."""
    shapes = [(2, 3)]
    value, locations, weights = inputs(shapes)
    for index, tensor in enumerate((value, locations, weights)):
        given = [value, locations, weights]
        given[index] = tensor.clone()
        given[index].view(-1)[0] = bad
        if not index:
            given[1] = torch.full_like(locations, 0.2)
        output = by_triton(given[0], shapes, *given[1:])
        assert not output.isfinite().all()
    request.getfixturevalue('deterministic')
    value.requires_grad_()
    output = by_triton(value, shapes, locations, weights)
    grad = torch.ones_like(output)
    grad.view(-1)[0] = bad
    assert not torch.autograd.grad(output, value, grad)[0].isfinite().any()


def test_points_far_away_are_zero():
    shapes = [(2, 3)]
    value, locations, weights = inputs(shapes)
    for place in (-1e30, 1e30, -3e9, 3e9):
        far = torch.full_like(locations, place)
        assert not by_triton(value, shapes, far, weights).any()


@pytest.mark.parametrize('wrong', ['shapes', 'locations', 'weights', 'types'])
def test_what_would_read_beyond_a_tensor_is_refused(wrong):
    shapes = [(2, 3)]
    value, locations, weights = inputs(shapes, heads=2)
    if wrong == 'shapes':
        shapes = [(3, 3)]
    elif wrong == 'locations':
        locations = locations[:, :, :1]
    elif wrong == 'weights':
        weights = weights[..., :1]
    else:
        weights = weights.float()
    flat = [size for shape in shapes for size in shape]
    with pytest.raises(ValueError, match='do not fit each other'):
        torch.ops.fx_mm.sample_levels(value, flat, locations, weights)


# ------------------------------------------------------- PyTorch's compiler


def test_opcheck():
    value, locations, weights = (
        t.float().requires_grad_() for t in inputs([(1, 2)], queries=2)
    )
    arguments = (value, [1, 2], locations, weights)
    # not the last and slow one, which the next test does in its way
    torch.library.opcheck(
        torch.ops.fx_mm.sample_levels,
        arguments,
        test_utils=(
            'test_schema',
            'test_autograd_registration',
            'test_faketensor',
        ),
    )


def test_compile_takes_it_into_its_graph():
    shapes = [(2, 3)]
    tensors = [t.float() for t in inputs(shapes)]
    torch.compiler.reset()

    def twice(*args):
        return 2 * by_triton(*args)

    compiled = torch.compile(twice, fullgraph=True, backend='aot_eager')
    for ours, theirs in zip(
        results(compiled, shapes, tensors), results(twice, shapes, tensors)
    ):
        assert torch.equal(ours, theirs)


COMPILE = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver


class Hopper:
    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget('cuda', 90, 32)


driver.set_active(Hopper())
spec = spec_from_file_location('kernels', sys.argv[1])
sys.modules['kernels'] = kernels = module_from_spec(spec)
spec.loader.exec_module(kernels)
value, sum, size = torch.bfloat16, torch.float32, torch.int32
inputs = (value, size, sum, sum)
sizes = dict(HEADS=8, DIMS=32, LEVELS=4, POINTS=4, BLOCK_P=4, BLOCK_D=32)
for kernel, tensors, rows in (
    (kernels.forward_kernel, (*inputs, value), 16),
    (kernels.backward_kernel, (value, *inputs, None, sum, sum, sum), 8),
    (kernels.backward_kernel, (value, *inputs, sum, torch.int64, sum, sum), 8),
):
    made = [
        kernel.warmup(
            *tensors, *counts, BLOCK_Q=rows, num_warps=4, grid=(1,), **sizes
        )
        for counts in ((1045, 1100), (1024, 900), (1, 1))
    ]
    assert made[0] is made[1] is made[2]
    print(made[0].asm['ptx'])
"""


@pytest.mark.slow
def test_compiled_for_hopper(tmp_path):
    """Once for all sizes; 16 bytes are read and added at a time."""
    from fx_mm.ops import triton_kernels

    env = dict(os.environ, TRITON_CACHE_DIR=str(tmp_path))
    env.pop('TRITON_INTERPRET', None)
    done = subprocess.run(
        [sys.executable, '-c', COMPILE, triton_kernels.__file__],
        env=env,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    # 4 corners of 2 points per thread, and of 1 in each backward kernel
    assert done.stdout.count('ld.global.v4.b32') >= 8 + 4 + 4
    assert done.stdout.count('.add.v4.f32') >= 8


def test_level_sizes_are_copied_once():
    one, two = (torch.device('cpu') for _ in range(2))
    table = triton_sampling.level_table((2, 3, 1, 2), one)
    assert table.tolist() == [[2, 3, 0], [1, 2, 6]]
    assert triton_sampling.level_table((2, 3, 1, 2), two) is table
