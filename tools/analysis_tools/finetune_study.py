r"""Compare fine-tuning with training from scratch, on few images, over seeds.

    python tools/analysis_tools/finetune_study.py PRETRAINING TARGET \
        --images 12 all --seeds 0 1 2 3 4 --work-dir DIR [--data-root ROOT] \
        [--others TARGET_lora.py TARGET_heads.py]

PRETRAINING is trained once. Then TARGET is trained for each number of images
and each seed, twice: from those weights and from scratch, with the same
images, order and settings. The OTHERS, configs of the same target that train
otherwise, start from those weights too. A seed draws the images too. The
metrics are those
of the test split, with the last weights. The command may be given again:
finished runs are skipped. Writes ``finetune_study.json``,
``finetune_study.md`` and one picture for each number. What a run took is that
of its whole process, with reading, test and report.
"""

import argparse
from pathlib import Path

from fx_mm.analysis.reports import write_json
from fx_mm.analysis.sweep import Run, load_compared_config, sweep
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.report.variant_comparison import VariantComparison
from fx_mm.tasks import TaskTable, find_kind, split_name
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.cli import add_sweep_options, at_least, run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table
from fx_mm.visualization.variant_plot import plot_variants

import numpy as np
from mmengine.config import Config

TRAIN = Path(__file__).parents[1] / 'train.py'
CHOSEN = ('randomness.seed', 'load_from', 'few_shot')
SCRATCH, FINETUNED = 'scratch', 'fine-tuned'
ALL = 'all'
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
    parser.add_argument(
        '--images',
        nargs='+',
        type=lambda text: text if text == ALL else at_least(1)(text),
        default=[12],
        help='numbers of training images, or "all"',
    )
    parser.add_argument(
        '--others',
        nargs='+',
        type=Path,
        default=[],
        help='further configs of the target, from the same weights',
    )
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


Variants = list[tuple[str, Path, Config, str | None]]


def list_variants(args: argparse.Namespace, start: str | None) -> Variants:
    """List names, config files, configs and first weights.

    Raises:
        UserError: If an other config is not of the same tasks.
    """
    cfg = load_target(args, args.target)
    names = TaskTable.from_cfg(cfg).names
    variants: Variants = [
        (SCRATCH, args.target, cfg, None),
        (FINETUNED, args.target, cfg, start),
    ]
    for path in args.others:
        other = load_target(args, path)
        if TaskTable.from_cfg(other).names != names:
            raise UserError(
                f'{path} has other tasks than {args.target}, so their results '
                'cannot be compared.'
            )
        name = path.stem.removeprefix(f'{args.target.stem}_')
        variants.append((name, path, other, start))
    return variants


def plan(
    args: argparse.Namespace, start: str | None
) -> dict[int | str, list[Run]]:
    """List the runs by number of images, seed by seed."""
    variants = list_variants(args, start)
    entries = [
        f'datasets.{dataset}.tasks.{kind}.few_shot'
        for dataset, kind in map(
            split_name, TaskTable.from_cfg(variants[0][2]).names
        )
    ]
    runs: dict[int | str, list[Run]] = {}
    for images in args.images:
        for seed in args.seeds:
            few = []
            if images != ALL:
                few = [f'{entry}.n={images}' for entry in entries]
                few += [f'{entry}.seed={seed}' for entry in entries]
            for name, path, cfg, weights in variants:
                folder = args.work_dir / f'{images}_images' / name
                run = Run(
                    path,
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


def load_target(args: argparse.Namespace, path: Path) -> Config:
    return load_compared_config(path, args.cfg_options, args.data_root, CHOSEN)


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


COSTS = {
    'minutes': lambda run: run.cost['seconds'] / 60,
    'processor minutes': lambda run: run.cost['processor_seconds'] / 60,
    'peak memory (GiB)': lambda run: run.cost['peak_memory_gib'],
    'checkpoint (MiB)': lambda run: (
        Path(find_checkpoint(run.folder) or '').stat().st_size / 2**20
    ),
}


def costs(runs: list[Run]) -> dict[str, dict[str, float]]:
    """Return what the runs of each variant took in the mean."""
    known = [run for run in runs if run.cost]
    return {
        name: {
            cost: float(
                np.mean([of(run) for run in known if run.variant == name])
            )
            for cost, of in COSTS.items()
        }
        for name in dict.fromkeys(run.variant for run in known)
    }


def cost_table(costs: dict[str, dict[str, float]]) -> str:
    return markdown_table(
        ['a run, in the mean', *costs],
        [[key, *(f'{c[key]:.2f}' for c in costs.values())] for key in COSTS],
    )


def compare(runs: dict[int | str, list[Run]], work_dir: Path) -> None:
    """Write the tables and pictures."""
    texts, content = [], {}
    for images, each in runs.items():
        comparison = VariantComparison(SCRATCH, NOTE)
        for run in each:
            comparison.add(run.variant, run.seed, all_metrics(run))
        took = costs(each)
        content[images] = dict(comparison.to_dict(), costs=took)
        texts.append(
            f'## {images} images\n\n{comparison.markdown()}\n'
            f'{cost_table(took)}\n'
        )
        plot_variants(comparison, work_dir / f'finetune_study_{images}.png')
    text = '\n'.join(texts)
    write_json(work_dir / 'finetune_study.json', dict(images=content))
    write_whole(work_dir / 'finetune_study.md', text)
    print(text)


def main() -> None:
    args = parse_args()
    # before hours of pretraining
    list_variants(args, None)
    runs = plan(args, pretrain(args))
    work([run for each in runs.values() for run in each], args)
    compare(runs, args.work_dir)


if __name__ == '__main__':
    run_tool(main)
