"""What the command-line tools share."""

import argparse
import os
import sys
from collections.abc import Callable

import torch
import torch.distributed as torch_dist
from mmengine.config import DictAction
from mmengine.dist import is_distributed

from fx_mm.utils.errors import UserError


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that change a config: ``load_config`` takes them."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='change the config: key=value, nested.key=value',
    )
    parser.add_argument(
        '--data-root', help='folder that takes the place of data/'
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
    parser.add_argument(
        '--weights', choices=['teacher', 'student'], default='teacher'
    )
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    add_trust_option(parser)


def add_bootstrap_options(
    parser: argparse.ArgumentParser, resamples: int
) -> None:
    """Add the options of intervals; ``resamples`` is the default."""
    parser.add_argument('--resamples', type=at_least(1), default=resamples)
    parser.add_argument('--seed', type=at_least(0), default=0)


def at_least(low: int) -> Callable[[str], int]:
    """Give the type of an option: whole numbers from ``low`` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(
                f'"{text}" is no whole number, at least {low}'
            )
        return int(text)

    return parse


def sentence(error: UserError) -> str:
    """Give the message alone, also of an error from a loader's worker.

    There torch puts the worker's traceback in front of it.
    """
    text = str(error).rstrip()
    if text.startswith('Caught ') and 'Original Traceback' in text:
        text = text.rsplit('\n', 1)[-1].split(': ', 1)[-1]
    return text


def run_tool(main) -> None:
    """Run a tool's ``main``; a user's mistake is one sentence and exit 1.

    Set ``FX_MM_DEBUG=1`` to see the traceback as well.
    """
    # names of files may have bytes that are no text
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')
    try:
        code = main()
        if is_distributed():
            torch_dist.destroy_process_group()
    except UserError as error:
        if os.environ.get('FX_MM_DEBUG'):
            raise
        print(f'error: {sentence(error)}', file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        if os.environ.get('FX_MM_DEBUG'):
            raise
        print('interrupted', file=sys.stderr)
        code = 130  # as a shell gives for Ctrl-C
    sys.exit(code or 0)
