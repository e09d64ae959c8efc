"""Time of Swin with explicit and fused attention, against mmdet's.

The runs of the variants alternate, so that whatever else the machine does
meets all of them; what counts are the ratios of the medians.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import median

from fx_mm.models.backbones import FusedSwinTransformer
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError

import torch
from mmdet.models.backbones import SwinTransformer

SIZES = {
    'demo': ((32, (2, 2, 2, 2), (1, 2, 4, 8), 4), 128, 8),
    'swin-t': ((96, (2, 2, 6, 2), (3, 6, 12, 24), 7), 224, 2),
    'swin-b': ((128, (2, 2, 18, 2), (4, 8, 16, 32), 7), 224, 2),
    'swin-b-384': ((128, (2, 2, 18, 2), (4, 8, 16, 32), 12), 384, 1),
    'swin-l-768': ((192, (2, 2, 18, 2), (6, 12, 24, 48), 12), 768, 1),
}
DTYPES = dict(fp32=None, bf16=torch.bfloat16)
WARMUP = 2
KEYS = ('embed_dims', 'depths', 'num_heads', 'window_size')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--sizes', nargs='+', default=['demo', 'swin-b'], choices=SIZES
    )
    parser.add_argument(
        '--dtypes', nargs='+', default=list(DTYPES), choices=DTYPES
    )
    parser.add_argument('--batch', type=int, help='images a batch')
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', help='JSON file to write')
    return parser.parse_args()


def build(size, device):
    """Models of equal weights: mmdet's, and ours in each form."""
    cfg = dict(zip(KEYS, SIZES[size][0]), drop_path_rate=0.0)
    models = dict(
        mmdet=SwinTransformer(**cfg),
        stock=FusedSwinTransformer(attention='stock', **cfg),
        sdpa=FusedSwinTransformer(attention='sdpa', **cfg),
        auto=FusedSwinTransformer(attention='auto', **cfg),
    )
    for model in models.values():
        model.load_state_dict(models['mmdet'].state_dict())
        model.to(device).train()
    return models


def step(model, images, dtype, backward):
    """Seconds of one forward, or forward and backward."""
    cuda = images.is_cuda
    model.zero_grad(set_to_none=True)
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    with (
        torch.set_grad_enabled(backward),
        torch.autocast(images.device.type, dtype, enabled=dtype is not None),
    ):
        maps = model(images)
    if backward:
        torch.autograd.backward(maps, [torch.ones_like(m) for m in maps])
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    args = parse_args()
    if args.runs < 1:
        raise UserError(f'--runs is {args.runs}; it must be at least 1.')
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    results = []
    print(f'{"size":<11} {"dtype":<5} {"pass":<8} ms of mmdet, then ratios')
    for size in args.sizes:
        _, side, batch = SIZES[size]
        torch.manual_seed(0)
        images = torch.randn(args.batch or batch, 3, side, side).to(device)
        models = build(size, device)
        for dtype in args.dtypes:
            for backward in (False, True):
                times = {name: [] for name in models}
                for index in range(WARMUP + args.runs):
                    for name, model in models.items():
                        spent = step(model, images, DTYPES[dtype], backward)
                        if index >= WARMUP:
                            times[name].append(1e3 * spent)
                ms = {name: median(values) for name, values in times.items()}
                row = dict(size=size, batch=len(images), dtype=dtype)
                row['pass'] = 'fwd+bwd' if backward else 'fwd'
                row['ms'] = {name: round(v, 2) for name, v in ms.items()}
                row['ratio'] = {
                    name: round(v / ms['mmdet'], 3) for name, v in ms.items()
                }
                results.append(row)
                ratios = ' '.join(f'{k} {v}' for k, v in row['ratio'].items())
                print(
                    f'{size:<11} {dtype:<5} {row["pass"]:<8} '
                    f'{ms["mmdet"]:9.1f}  {ratios}',
                    flush=True,
                )
    if args.out:
        gpu = torch.cuda.get_device_name(device) if images.is_cuda else None
        report = dict(
            machine=dict(platform=platform.platform(), gpu=gpu),
            torch=torch.__version__,
            threads=args.threads,
            runs=args.runs,
            results=results,
        )
        Path(args.out).write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    run_tool(main)
