"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``.

Predictions that were saved once (``--save-predictions``) are evaluated again
without the model: ``python tools/test.py CONFIG --from-predictions FOLDER``.
See docs/evaluation.md.
"""

import argparse
import os

from fx_mm.apis import (
    ReportOptions,
    build_runner,
    load_config,
    report_predictions,
)
from fx_mm.evaluation.statistics.bootstrap import RESAMPLES
from fx_mm.tasks import TaskTable
from fx_mm.utils.checks import as_list
from fx_mm.utils.cli import (
    add_config_options,
    add_interval_options,
    add_launcher_options,
    add_trust_option,
    change_config,
    run_tool,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

from mmengine.config import Config


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file; none with --from-predictions',
    )
    parser.add_argument('--work-dir', help='where the results go')
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--predict-on',
        choices=[*PREDICTORS, 'both'],
        help='which model predicts (default: test_cfg.predict_on; without it '
        'all that the checkpoint holds)',
    )
    parser.add_argument(
        '--save-predictions',
        action='store_true',
        help='write predictions and truth of each task to predictions/',
    )
    parser.add_argument(
        '--from-predictions',
        metavar='PATH',
        help='evaluate these (a folder or a file) instead of a checkpoint',
    )
    parser.add_argument(
        '--thresholds-from',
        metavar='val|PATH',
        help='choose the thresholds of decisions on the validation split, or '
        'on its saved predictions',
    )
    parser.add_argument(
        '--intervals',
        nargs='?',
        type=int,
        const=RESAMPLES,
        default=0,
        metavar='N',
        help=f'95 %% bootstrap intervals of N resamples ({RESAMPLES})',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the bootstrap')
    parser.add_argument(
        '--compare',
        metavar='PATH',
        help='saved predictions of another model: give the differences with '
        'intervals and p-values',
    )
    add_interval_options(parser)
    add_trust_option(parser)
    add_config_options(parser)
    add_launcher_options(parser)
    # options may stand between the config and the checkpoint
    args = parser.parse_intermixed_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def skip_absent(cfg: Config) -> dict[str, str]:
    """Leave out the tasks of a config whose data are not there.

    Returns:
        dict[str, str]: Task to why it is left out.

    Raises:
        UserError: If no task is left.
    """
    table = TaskTable.from_cfg(cfg)
    absent = {}
    for task in table:
        file = task.ann_file('test')
        if not os.path.exists(file):
            absent[task.name] = f'there is no {file}'
    if len(absent) == len(table):
        raise UserError(
            'No task has data: '
            + '; '.join(f'{task}, {why}' for task, why in absent.items())
            + '; prepare them or give --data-root.'
        )
    if absent:
        cfg.tasks = [name for name in table.names if name not in absent]
    return absent


def main():
    args = parse_args()
    if bool(args.checkpoint) == bool(args.from_predictions):
        raise UserError(
            'Give either a checkpoint or --from-predictions, and not both.'
        )
    if args.intervals < 0:
        raise UserError('--intervals takes a number of resamples above 0.')
    if args.bca and not (args.intervals or args.compare):
        raise UserError('--bca is of --intervals or --compare; add one.')
    if args.correction != 'holm' and not args.compare:
        raise UserError('--correction is of --compare; add it.')
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    change_config(cfg, args)
    if args.tasks:
        cfg.tasks = args.tasks
    if cfg.get('test_cfg') is None:
        raise UserError(f'Config "{args.config}" has no test_cfg.')
    predict_on = as_list(args.predict_on)
    if args.predict_on == 'both':
        predict_on = list(PREDICTORS)
    options = dict(
        resamples=args.intervals or (RESAMPLES if args.compare else 0),
        seed=args.seed,
        bca=args.bca,
        correction=args.correction,
        save_predictions=args.save_predictions,
        thresholds_from=args.thresholds_from,
        compare=args.compare,
    )
    if args.from_predictions:
        print(
            report_predictions(
                cfg,
                args.from_predictions,
                predict_on or PREDICTORS,
                ReportOptions(**options),
            )
        )
        print(f'The report is in {cfg.work_dir}')
        return
    if predict_on:
        cfg.test_cfg.predict_on = predict_on
    # Tasks that were asked for by name must have data; phantoms are drawn.
    if not args.tasks and not cfg.get('phantom'):
        options['skipped'] = skip_absent(cfg)
    runner = build_runner(cfg, train=False, checkpoint=args.checkpoint)
    runner.trust = args.trust
    runner.report_options = ReportOptions(**options)
    runner.test()


if __name__ == '__main__':
    run_tool(main)
