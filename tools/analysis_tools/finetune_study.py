r"""Compare fine-tuning with training from scratch, on few images, over seeds.

    python tools/analysis_tools/finetune_study.py PRETRAINING TARGET \
        --images 12 --seeds 0 1 2 3 4 --work-dir DIR [--data-root ROOT]

PRETRAINING is trained once. Then TARGET is trained for each number of images
and each seed, twice: from those weights and from scratch, with the same
images, order and settings. A seed draws the images too. The metrics are those
of the test split, with the last weights. The command may be given again:
finished runs are skipped. Writes ``finetune_study.json``,
``finetune_study.md`` and one picture for each number.
"""

import argparse
from pathlib import Path

from fx_mm.analysis.reports import write_json
from fx_mm.analysis.sweep import Run, load_compared_config, sweep
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.report.variant_comparison import VariantComparison
from fx_mm.tasks import TaskTable, find_kind, split_name
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.cli import add_sweep_options, run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.variant_plot import plot_variants

from mmengine.config import Config

TRAIN = Path(__file__).parents[1] / 'train.py'
CHOSEN = ('randomness.seed', 'load_from', 'few_shot')
SCRATCH, FINETUNED = 'scratch', 'fine-tuned'
NOTE = (
    'Runs of a seed share images, order and settings; the seeds differ in '
    'all but the test images and the pretrained weights, which are one run.'
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('pretraining', type=Path, help='config file')
    parser.add_argument('target', type=Path, help='config file')
    parser.add_argument('--images', nargs='+', type=int, default=[12])
    parser.add_argument(
        '--data-root', help='folder that takes the place of data/'
    )
    add_sweep_options(parser)
    return parser.parse_args()


def work(runs: list[Run], args: argparse.Namespace) -> None:
    """Run what is not finished.

    Raises:
        UserError: Names a run that failed.
    """
    for run in sweep(runs, TRAIN, args.jobs, args.threads):
        raise UserError(f'{run.folder} has no results: see {run.log}.')


def pretrain(args: argparse.Namespace) -> str | None:
    """Train once and return the checkpoint."""
    cfg = load_compared_config(args.pretraining, data_root=args.data_root)
    run = Run(
        args.pretraining,
        0,
        args.work_dir / 'pretraining',
        variant='pretraining',
        data_root=args.data_root,
    )
    run.check_unchanged(cfg)
    work([run], args)
    return find_checkpoint(run.folder)


def plan(args: argparse.Namespace, start: str | None) -> dict[int, list[Run]]:
    """List the runs of the target by number of images, pair by pair."""
    cfg = load_target(args)
    entries = [
        f'datasets.{dataset}.tasks.{kind}.few_shot'
        for dataset, kind in map(split_name, TaskTable.from_cfg(cfg).names)
    ]
    runs: dict[int, list[Run]] = {}
    for images in args.images:
        for seed in args.seeds:
            few = [f'{entry}.n={images}' for entry in entries]
            few += [f'{entry}.seed={seed}' for entry in entries]
            for name, weights in ((SCRATCH, None), (FINETUNED, start)):
                folder = args.work_dir / f'{images}_images' / name
                run = Run(
                    args.target,
                    seed,
                    folder / f'seed_{seed}',
                    variant=name,
                    options=[
                        f'randomness.seed={seed}',
                        f'load_from={weights}',
                        *few,
                        *args.typed_options,
                    ],
                    data_root=args.data_root,
                )
                run.check_unchanged(cfg)
                runs.setdefault(images, []).append(run)
    return runs


def load_target(args: argparse.Namespace) -> Config:
    return load_compared_config(
        args.target, args.cfg_options, args.data_root, CHOSEN
    )


def all_metrics(run: Run) -> dict[str, float]:
    """Return the headline metric of each task, and of each of its classes."""
    found = run.headlines()
    content = read_results(run.results)
    for task, values in content['metrics'][content['predict_on']].items():
        start = find_kind(split_name(task)[1]).headline() + '/'
        for name, value in values.items():
            if name.startswith(start) and value is not None:
                found[f'{task}/{name}'] = float(value)
    return found


def compare(runs: dict[int, list[Run]], work_dir: Path) -> None:
    """Write the tables and pictures."""
    texts, content = [], {}
    for images, each in runs.items():
        comparison = VariantComparison(SCRATCH, NOTE)
        for run in each:
            comparison.add(run.variant, run.seed, all_metrics(run))
        content[images] = comparison.to_dict()
        texts.append(f'## {images} images\n\n{comparison.markdown()}')
        plot_variants(comparison, work_dir / f'finetune_study_{images}.png')
    text = '\n'.join(texts)
    write_json(work_dir / 'finetune_study.json', dict(images=content))
    write_whole(work_dir / 'finetune_study.md', text)
    print(text)


def main() -> None:
    args = parse_args()
    # before hours of pretraining
    load_target(args)
    runs = plan(args, pretrain(args))
    work([run for each in runs.values() for run in each], args)
    compare(runs, args.work_dir)


if __name__ == '__main__':
    run_tool(main)
