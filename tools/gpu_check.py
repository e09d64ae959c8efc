"""Check and time fx_mm on a GPU: ``tools/gpu_check.py --out DIR``.

Stages in order of worth, each in a process of its own: operators and every
kind of task against the CPU, training, resuming, launching and exporting, step
times against the stock packages, the loader, the demo, the ablations. What one
finds is in DIR/gpu_check.json at once; the same command skips the stages that
have passed and tries the others again. A table closes the run, and is
DIR/gpu_check.md; what the stages print is in DIR/log.txt.

Exit status 0 says that all checks passed. The goals beside the times are for
an H100, and are shown only.
"""

import argparse
import os
from pathlib import Path

from fx_mm.analysis.gpu_check.runner import Checks
from fx_mm.analysis.gpu_check.stages import STAGES
from fx_mm.utils.check_env import check_environment
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError

NAMES = [stage.name for stage in STAGES]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='folder of the report'
    )
    parser.add_argument(
        '--minutes', type=float, default=8, help='default: %(default)s'
    )
    parser.add_argument(
        '--device',
        choices=('cuda', 'cpu'),
        default='cuda',
        help='"cpu" tries this script itself, in sizes that mean nothing',
    )
    parser.add_argument(
        '--stages',
        nargs='+',
        choices=NAMES,
        default=NAMES,
        metavar='STAGE',
        help=f'of {", ".join(NAMES)}; default: all',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs', 'gpu_check'),
        help='what runs leave behind; default: %(default)s',
    )
    return parser.parse_args()


def check_device(name: str) -> None:
    """Refuse a GPU that is not there.

    Raises:
        UserError: Says why, and what to do.
    """
    import torch

    if name == 'cpu' or torch.cuda.is_available():
        return
    built = torch.version.cuda
    why = (
        f'torch {torch.__version__} is built for CUDA {built}, but it '
        'finds no GPU or no driver; look at `nvidia-smi`'
        if built
        else f'torch {torch.__version__} is built without CUDA; install '
        'a CUDA build and run `make setup`'
    )
    raise UserError(f'There is no CUDA here: {why}.')


def main() -> int:
    args = parse_args()
    # before torch is imported: a fork could not use a GPU that was asked for
    os.environ['PYTORCH_NVML_BASED_CUDA_CHECK'] = '1'
    if args.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    check_environment()
    check_device(args.device)
    checks = Checks(
        [stage for stage in STAGES if stage.name in args.stages],
        args.out,
        Path(__file__).resolve().parents[1],
        args.work_dir,
        args.device,
        tiny=args.device == 'cpu',
    )
    passed = checks.run(60 * args.minutes)
    print(f'\n{checks.table()}')
    return 0 if passed else 1


if __name__ == '__main__':
    run_tool(main)
