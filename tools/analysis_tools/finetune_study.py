"""Compare fine-tuning with training from nothing, on few images, over seeds.

    python tools/analysis_tools/finetune_study.py PRETRAINING TARGET \
        --images 12 --seeds 0 1 2 3 4 --work-dir DIR [--data-root ROOT]

PRETRAINING is trained once. Then TARGET is trained for each number of images
and each seed, twice: from those weights and from nothing, with the same
images, order and settings. A seed draws the images too. Test figures of the
last weights. The command may be given again: finished runs are skipped. Writes
``finetune_study.json``, ``finetune_study.md`` and a picture for each number.
"""

import argparse
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from ablation import (
    TRAIN,
    KeptOptions,
    Pool,
    Progress,
    Run,
    check_unchanged,
    interrupt,
)

from fx_mm.analysis.reports import write_json
from fx_mm.apis import expand_config, load_config
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.report.variant_comparison import (
    VariantComparison,
    read_headlines,
)
from fx_mm.tasks import TaskTable, find_kind, split_name
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.variant_plot import plot_variants

SCRATCH, FINETUNED = 'scratch', 'fine-tuned'
NOTE = (
    'Runs of a seed share images, order and settings; the seeds differ in '
    'all but the test images and the pretrained weights, which are one run.'
)


@dataclass
class StudyRun(Run):
    """A run of the target.

    Args:
        name (str): ``scratch`` or ``fine-tuned``.
        images (int): How many it trains on.
    """

    name: str = ''
    images: int = 0

    @property
    def variant(self) -> str:
        """str: What it is compared by."""
        return self.name


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('pretraining', type=Path, help='config file')
    parser.add_argument('target', type=Path, help='config file')
    parser.add_argument('--images', nargs='+', type=int, default=[12])
    parser.add_argument('--seeds', nargs='+', type=int, required=True)
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument(
        '--data-root', help='folder that takes the place of data/'
    )
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs at a time (default: 1)'
    )
    parser.add_argument(
        '--threads', type=int, default=1, help='threads a run (default: 1)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeptOptions,
        help='change the target: key=value, nested.key=value',
    )
    parser.set_defaults(typed_options=[])
    return parser.parse_args()


def open_config(path: Path, args, options: dict | None = None):
    """Read a config whose results can be compared.

    Raises:
        UserError: If it would report another split.
    """
    cfg = load_config(str(path), options, args.data_root)
    if cfg.get('report') != 'test':
        raise UserError(
            f'{path} has no report="test": its results would be of another '
            'split.'
        )
    return cfg


def common_words(run: Run, args) -> list[str]:
    words = [sys.executable, str(TRAIN), str(run.config), '--resume']
    words += ['--work-dir', str(run.folder)]
    return words + (['--data-root', args.data_root] if args.data_root else [])


def work(runs: list[Run], command, args) -> None:
    """Run what is not finished.

    Raises:
        UserError: Names a run that failed.
    """
    todo = [run for run in runs if not run.results.is_file()]
    Pool(args.jobs, args.threads, Progress(todo, args.jobs)).work(
        todo, command
    )
    for run in runs:
        if not run.results.is_file():
            raise UserError(f'{run.folder} has no results: see {run.log}.')


def pretrain(args) -> str:
    """Train once and give the checkpoint."""
    cfg = open_config(args.pretraining, args)
    run = Run(
        args.pretraining,
        0,
        args.work_dir / 'pretraining',
        cfg.test_cfg.predict_on[0],
    )
    check_unchanged(run, expand_config(cfg).pretty_text)
    work([run], lambda run: common_words(run, args), args)
    return find_checkpoint(run.folder)


def plan(args) -> tuple[list[StudyRun], list[str]]:
    """List the runs of the target, pair by pair, and its tasks.

    Raises:
        UserError: If an option is this tool's to choose.
    """
    for key in args.cfg_options or {}:
        if key in ('randomness.seed', 'load_from') or 'few_shot' in key:
            raise UserError(
                f"--cfg-options sets {key}, which is this tool's to choose "
                'for each run; give --seeds and --images.'
            )
    cfg = open_config(args.target, args, args.cfg_options)
    text = expand_config(cfg).pretty_text
    runs = []
    for images in args.images:
        for seed in args.seeds:
            for name in (SCRATCH, FINETUNED):
                folder = args.work_dir / f'{images}_images' / name
                run = StudyRun(
                    args.target,
                    seed,
                    folder / f'seed_{seed}',
                    cfg.test_cfg.predict_on[0],
                    name=name,
                    images=images,
                )
                check_unchanged(run, text)
                runs.append(run)
    return runs, TaskTable.from_cfg(cfg).names


def train(runs: list[StudyRun], tasks: list[str], start: str, args) -> None:
    def command(run: StudyRun) -> list[str]:
        entries = [
            f'datasets.{task.replace("/", ".tasks.")}.few_shot'
            for task in tasks
        ]
        few = [f'{entry}.n={run.images}' for entry in entries]
        few += [f'{entry}.seed={run.seed}' for entry in entries]
        return [
            *(*common_words(run, args), '--cfg-options'),
            f'randomness.seed={run.seed}',
            f'load_from={start if run.name == FINETUNED else None}',
            *(*few, *args.typed_options),
        ]

    work(runs, command, args)


def figures(run: StudyRun) -> dict[str, float]:
    """Give the headline metric of each task, and of each of its classes."""
    found = read_headlines(run.results, run.predict_on)
    metrics = read_results(run.results)['metrics'][run.predict_on]
    for task, values in metrics.items():
        start = find_kind(split_name(task)[1]).headline() + '/'
        for name, value in values.items():
            if name.startswith(start) and value is not None:
                found[f'{task}/{name}'] = float(value)
    return found


def compare(runs: list[StudyRun], args) -> None:
    """Write the tables and pictures."""
    texts, content = [], {}
    for images in args.images:
        comparison = VariantComparison(SCRATCH, NOTE)
        for run in runs:
            if run.images == images:
                comparison.add(run.variant, run.seed, figures(run))
        content[images] = comparison.to_dict()
        texts.append(f'## {images} images\n\n{comparison.markdown()}')
        plot_variants(
            comparison, args.work_dir / f'finetune_study_{images}.png'
        )
    text = '\n'.join(texts)
    write_json(args.work_dir / 'finetune_study.json', dict(images=content))
    write_whole(args.work_dir / 'finetune_study.md', text)
    print(text)


def main():
    args = parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    runs, tasks = plan(args)
    try:
        train(runs, tasks, pretrain(args), args)
    except KeyboardInterrupt:
        print('Stopped; the same command goes on.')
        return 130
    compare(runs, args)


if __name__ == '__main__':
    run_tool(main)
