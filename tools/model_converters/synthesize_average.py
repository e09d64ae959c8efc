"""Make the average of weights of a width that is chosen after the training.

    python tools/model_converters/synthesize_average.py WORK_DIR OUT --width W

The training must have kept averages: ``averages=(0.05, 0.1)`` in
MeanTeacherHook, and the more checkpoints are kept
(``default_hooks.checkpoint.max_keep_ckpts``), the closer is the result.
"""

import argparse

from fx_mm.converters.averaging import find_sources, synthesize
from fx_mm.converters.files import check_free, write_checkpoint
from fx_mm.models.power_average import NARROWEST, WIDEST
from fx_mm.utils.cli import add_trust_option, run_tool
from fx_mm.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'checkpoints', nargs='+', help='a work directory, or checkpoints of it'
    )
    parser.add_argument('out', help='file to write: .pth, or .safetensors')
    parser.add_argument(
        '--width',
        type=float,
        required=True,
        help='standard deviation of the average over the number of updates, '
        f'{NARROWEST} to {WIDEST} (sigma_rel of Karras et al. 2024)',
    )
    add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not NARROWEST <= args.width <= WIDEST:
        raise UserError(f'--width must be in {NARROWEST}..{WIDEST}.')
    check_free(args.out)
    made = synthesize(find_sources(args.checkpoints), args.width, args.trust)
    write_checkpoint(made.checkpoint, args.out)
    print(
        f'written to {args.out}: from {made.sources} checkpoints, the profile '
        f'is met to {made.error:.1%}'
    )


if __name__ == '__main__':
    run_tool(main)
