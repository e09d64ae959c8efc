"""Look at what training sees: a sheet of each task's first samples.

    python tools/analysis_tools/browse_dataset.py CONFIG --output-dir browse

Images have gone through the training's transforms with the run's seed, so
they are the very samples that a training with this config begins with on one
process; boxes, masks, labels, numbers and ignored regions are drawn as the
loss gets them, and beside the student's view the teacher's, where it has one.
"""

import argparse
import os
import sys
from pathlib import Path

from fx_mm.apis import load_config
from fx_mm.engine.start_summary import import_quietly
from fx_mm.phantom import draw_phantoms
from fx_mm.utils.cli import add_config_options, at_least, run_tool
from fx_mm.visualization.training_sheet import draw_training_sheets

import mmcv
from mmengine.visualization import Visualizer


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file of an experiment')
    parser.add_argument(
        '--output-dir',
        help='folder of the pictures (default: browse/ in the work directory)',
    )
    parser.add_argument(
        '--show-number',
        type=at_least(1),
        default=8,
        help='samples of each task (default: %(default)s)',
    )
    parser.add_argument(
        '--not-show',
        action='store_true',
        help='write only; without a display nothing is shown anyway',
    )
    parser.add_argument(
        '--show-interval',
        type=float,
        default=2,
        help='seconds that a sheet is shown (default: %(default)s)',
    )
    add_config_options(parser)
    return parser.parse_args()


def has_display() -> bool:
    """Whether a window can open here."""
    return sys.platform in ('darwin', 'win32') or any(
        os.environ.get(name) for name in ('DISPLAY', 'WAYLAND_DISPLAY')
    )


def main():
    args = parse_args()
    import_quietly()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    draw_phantoms(cfg)
    folder = args.output_dir or Path(cfg.work_dir, 'browse')
    window = None
    if has_display() and not args.not_show:
        window = Visualizer()
    for path in draw_training_sheets(cfg, folder, args.show_number):
        print(path, flush=True)
        if window is not None:
            picture = mmcv.imread(str(path), channel_order='rgb')
            window.show(picture, path.name, args.show_interval)


if __name__ == '__main__':
    run_tool(main)
