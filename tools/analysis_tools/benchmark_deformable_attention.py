"""Time of the kernels of deformable attention, side by side.

The kernels alternate, so that whatever else the machine does meets all of
them. Beside the milliseconds stands how near a kernel comes to the bandwidth
of a plain copy on the same device: the bytes that any kernel must move at
least, each input read and each result written once, over what a copy would
have moved in that time.

With ``--sweep``, Triton alone, in other forms of its programs.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from fx_mm.ops import triton_sampling
from fx_mm.ops.deformable_attention import grid_centers
from fx_mm.ops.sampling import available_kernels, sample_levels
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError

import torch
from torch import Tensor

SIZES: dict[str, dict[str, Any]] = {
    'demo': dict(
        side=128, strides=(8, 16, 32), heads=4, dims=16, points=2, batch=8
    ),
    'encoder-224': dict(side=224, batch=24),
    'decoder-224': dict(side=224, batch=24, queries=1100),
    'encoder-768': dict(side=768, batch=2),
    'decoder-768': dict(side=768, batch=2, queries=1100),
}
"""Of the demo's encoder, of Swin-B at 224 px and Swin-L at 768 px. Without a
number of queries there is one for each token, at its place."""
DEFAULT = dict(strides=(8, 16, 32, 64), heads=8, dims=32, points=4)
FORMS = [(warps, values) for warps in (1, 2, 4, 8) for values in (8, 16)]
"""Warps of a program and values of a thread that ``--sweep`` tries."""
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
WARMUP = 3
CALLS = 10
"""Calls in a row that are timed together on a GPU."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--sizes', nargs='+', default=['encoder-224'], choices=SIZES
    )
    parser.add_argument(
        '--dtypes', nargs='+', default=['fp32', 'bf16'], choices=DTYPES
    )
    parser.add_argument(
        '--kernels',
        nargs='+',
        help="default: all of the device; a CPU's without Triton's "
        'interpreter',
    )
    parser.add_argument(
        '--sweep', action='store_true', help="forms of Triton's programs"
    )
    parser.add_argument('--batch', type=int, help='images of a batch')
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', help='JSON file to write')
    return parser.parse_args()


def make_inputs(
    size: str, dtype: torch.dtype, device: torch.device, batch: int | None
) -> tuple[list[tuple[int, int]], list[Tensor]]:
    """Level sizes; value, locations and weights as in training.

    Points lie within a few cells of their query.
    """
    options = {**DEFAULT, **SIZES[size]}
    batch, heads = batch or options['batch'], options['heads']
    cells = [-(-options['side'] // stride) for stride in options['strides']]
    shapes = [(cell, cell) for cell in cells]
    generator = torch.Generator(device).manual_seed(0)
    kwargs = dict(device=device, generator=generator)
    centers = torch.cat([grid_centers(s, device) for s in shapes], dim=1)
    tokens = centers.shape[1]
    value = torch.randn(batch, tokens, heads, options['dims'], **kwargs)
    if 'queries' in options:
        centers = torch.rand(batch, options['queries'], 2, **kwargs)
    lead = (batch, centers.shape[1], heads, len(shapes), options['points'])
    spread = 2 * torch.randn(*lead, 2, **kwargs)
    scale = torch.tensor(cells, device=device)[:, None, None]
    locations = centers[:, :, None, None, None] + spread / scale
    weights = torch.randn(*lead, **kwargs).flatten(3).softmax(-1).view(lead)
    tensors = [value.to(dtype), locations, weights]
    return shapes, [t.requires_grad_() for t in tensors]


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """How long a call takes, on a GPU without what the host does for it."""
    if device.type != 'cuda':
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    # while it is busy with this, the host queues all calls
    busy = torch.ones(4096, 4096, device=device)
    for _ in range(8):
        busy @ busy
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    events[0].record()
    for _ in range(CALLS):
        call()
    events[1].record()
    torch.cuda.synchronize(device)
    return events[0].elapsed_time(events[1]) / 1e3 / CALLS


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.zeros(2**28 if device.type == 'cuda' else 2**24)
    source = source.to(device)
    target = torch.empty_like(source)
    times = [seconds(partial(target.copy_, source), device) for _ in range(7)]
    return 2 * source.nbytes / median(times[2:])


def measure(
    size: str,
    dtype: torch.dtype,
    device: torch.device,
    kernels: Sequence[str],
    runs: int,
    batch: int | None = None,
) -> list[dict[str, Any]]:
    """Medians of forward and backward of each kernel.

    Returns:
        list[dict]: ``pass`` (forward, backward, or deterministic: backward
        with ``torch.use_deterministic_algorithms(True)``, Triton alone),
        ``batch``, ``bytes`` that must be moved, and kernel to ``ms``.
    """
    shapes, inputs = make_inputs(size, dtype, device, batch)
    value, *others = inputs

    def forward(kernel: str) -> Tensor:
        return sample_levels(value, shapes, *others, kernel=kernel)

    outputs = {kernel: forward(kernel) for kernel in kernels}
    grad = torch.randn_like(outputs[kernels[0]])

    def backward(kernel: str) -> None:
        torch.autograd.grad(outputs[kernel], inputs, grad, retain_graph=True)

    read = sum(tensor.nbytes for tensor in inputs)
    passes = [('forward', forward, kernels), ('backward', backward, kernels)]
    if 'triton' in kernels:
        passes.append(('deterministic', backward, ['triton']))
    rows = []
    for name, call, which in passes:
        times: dict[str, list[float]] = {kernel: [] for kernel in which}
        torch.use_deterministic_algorithms(name == 'deterministic')
        with torch.set_grad_enabled(name != 'forward'):
            for index in range(WARMUP + runs):
                for kernel in which:
                    spent = seconds(partial(call, kernel), device)
                    if index >= WARMUP:
                        times[kernel].append(1e3 * spent)
        torch.use_deterministic_algorithms(False)
        row = dict(batch=len(value), bytes=read + grad.nbytes)
        row['pass'] = name
        row['bytes'] += read if name != 'forward' else 0
        row['ms'] = {k: round(median(v), 4) for k, v in times.items()}
        rows.append(row)
    return rows


def sweep(
    size: str,
    dtype: torch.dtype,
    device: torch.device,
    runs: int,
    batch: int | None = None,
) -> list[dict[str, Any]]:
    """Medians of Triton's kernels in all :data:`FORMS`.

    Returns:
        list[dict]: As of :func:`measure`, with ``form``.
    """
    rows = []
    ours = triton_sampling.FORWARD, triton_sampling.BACKWARD
    for form in FORMS:
        triton_sampling.FORWARD = triton_sampling.BACKWARD = form
        for row in measure(size, dtype, device, ['triton'], runs, batch):
            rows.append(dict(row, form=form))
    triton_sampling.FORWARD, triton_sampling.BACKWARD = ours
    return rows


def main() -> None:
    args = parse_args()
    if args.runs < 1:
        raise UserError(f'--runs is {args.runs}; it must be at least 1.')
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    kernels = args.kernels or [
        kernel
        for kernel in available_kernels(device)
        if device.type == 'cuda' or kernel != 'triton'
    ]
    bandwidth = copy_bandwidth(device)
    print(f'a copy moves {bandwidth / 1e9:.1f} GB/s')
    print(f'{"size":<12} {"dtype":<5} {"pass":<13} ms (share of bandwidth)')
    results = []
    for size in args.sizes:
        for dtype in args.dtypes:
            case = (size, DTYPES[dtype], device)
            for row in (
                sweep(*case, args.runs, args.batch)
                if args.sweep
                else measure(*case, kernels, args.runs, args.batch)
            ):
                row['share'] = {
                    kernel: round(1e3 * row['bytes'] / ms / bandwidth, 3)
                    for kernel, ms in row['ms'].items()
                }
                results.append(dict(size=size, dtype=dtype, **row))
                cells = '  '.join(
                    f'{kernel} {ms:.3f} ({row["share"][kernel]:.2f})'
                    for kernel, ms in row['ms'].items()
                )
                print(
                    f'{size:<12} {dtype:<5} {row["pass"]:<13} {cells}',
                    row.get('form', ''),
                    flush=True,
                )
    if args.out:
        cuda = device.type == 'cuda'
        report = dict(
            machine=dict(
                platform=platform.platform(),
                gpu=torch.cuda.get_device_name(device) if cuda else None,
            ),
            torch=torch.__version__,
            threads=args.threads,
            runs=args.runs,
            copy_bandwidth=round(bandwidth),
            results=results,
        )
        Path(args.out).write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    run_tool(main)
