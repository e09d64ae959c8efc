"""What the command-line tools share."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from fx_mm.utils.config_options import ConfigOptions, KeptOptions
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

FAULT = (
    'error: this is a fault of fx_mm and not of your config or data; please '
    'report it with the lines above and the output of "make env".'
)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that change a config: ``load_config`` takes them."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        help='change the config: key=value, nested.key=value',
    )
    parser.add_argument(
        '--data-root', help='folder that takes the place of data/'
    )


def add_launcher_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which launchers start several processes."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def change_config(cfg: Config, args: argparse.Namespace) -> None:
    """Take over the options of a tool that have keys in a config.

    Args:
        cfg (Config): Changed in place.
        args (Namespace): With ``launcher`` and ``work_dir``, perhaps ``amp``
            and ``auto_scale_lr``.

    Raises:
        UserError: If the config lacks what an option needs.
    """
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    if getattr(args, 'amp', False):
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
    if getattr(args, 'auto_scale_lr', False):
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError(
                '--auto-scale-lr needs the batch size that the rate is for; '
                'add auto_scale_lr = dict(base_batch_size=24) to the config.'
            )
        cfg.auto_scale_lr.enable = True


def add_predict_on(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses which model predicts."""
    parser.add_argument(
        '--predict-on',
        choices=PREDICTORS,
        help='which model predicts (default: as the checkpoint says)',
    )


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of everything that reads a checkpoint."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='unpickle anything in the checkpoint: it could run code',
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of what runs a trained model on images."""
    add_predict_on(parser)
    parser.add_argument('--device', help='default: a GPU if there is one')
    add_trust_option(parser)


def add_bootstrap_options(
    parser: argparse.ArgumentParser, resamples: int
) -> None:
    """Add the options of intervals; ``resamples`` is the default."""
    parser.add_argument('--resamples', type=at_least(1), default=resamples)
    parser.add_argument('--seed', type=at_least(0), default=0)


def add_interval_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of what gives intervals of differences."""
    parser.add_argument(
        '--bca',
        action='store_true',
        help='bias-corrected and accelerated intervals in place of '
        'percentiles; takes about twice the time',
    )
    parser.add_argument(
        '--correction',
        choices=('holm', 'bh'),
        default='holm',
        help='how p-values that are read together are adjusted: for any '
        'false claim (Holm, the default) or for the share of false ones '
        '(Benjamini and Hochberg)',
    )


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of what runs many trainings."""
    parser.add_argument('--seeds', nargs='+', type=int, required=True)
    parser.add_argument('--work-dir', type=Path, required=True)
    _add_jobs(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeptOptions,
        help='change the configs that are compared: key=value',
    )
    parser.set_defaults(typed_options=[])


def add_study_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of what runs the trainings of a study's file."""
    parser.add_argument('study', type=Path, help='the study, a Python file')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='folder of all runs and the report (default: work_dirs/STUDY)',
    )
    parser.add_argument(
        '--data-root', help='folder that takes the place of data/'
    )
    parser.add_argument(
        '--report-only',
        action='store_true',
        help='report what is finished, run nothing',
    )
    _add_jobs(parser)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--jobs',
        type=at_least(1),
        default=1,
        help='runs at a time (default: 1)',
    )
    parser.add_argument(
        '--threads',
        type=at_least(1),
        default=1,
        help='threads per run (default: 1)',
    )


def at_least(low: int) -> Callable[[str], int]:
    """Return the type of an option: whole numbers from ``low`` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(
                f'"{text}" is not a whole number of at least {low}'
            )
        return int(text)

    return parse


def sentence(error: UserError) -> str:
    """Return the message alone, also of an error from a loader's worker.

    There torch puts the worker's traceback in front of it.
    """
    text = str(error).rstrip()
    if text.startswith('Caught ') and 'Original Traceback' in text:
        text = text.rsplit('\n', 1)[-1].split(': ', 1)[-1]
    return text


def _leave_group() -> None:
    """Leave the group of processes, where a tool has joined one."""
    import torch.distributed as torch_dist
    from mmengine.dist import is_distributed

    if is_distributed():
        torch_dist.destroy_process_group()


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool's ``main``; a user's mistake is one sentence and exit 1.

    Any other error is ours: it shows its traceback, says so, and exits with
    2.

    Set ``FX_MM_DEBUG=1`` to see the traceback as well.
    """
    # names of files may have bytes that are no text
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    try:
        code = main()
        if 'torch' in sys.modules:
            _leave_group()
    except UserError as error:
        if os.environ.get('FX_MM_DEBUG'):
            raise
        print(f'error: {sentence(error)}', file=sys.stderr)
        code = 1
    except Exception:
        traceback.print_exc()
        print(FAULT, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        if os.environ.get('FX_MM_DEBUG'):
            raise
        print('interrupted', file=sys.stderr)
        code = 130  # as a shell gives for Ctrl-C
    sys.exit(code or 0)
