"""The demo to its table, and the ablations."""

import json
import os
import shutil
from pathlib import Path

from fx_mm.analysis.gpu_check.job import Job
from fx_mm.evaluation.report.variant_comparison import read_headlines

DEMO = Path('configs', 'phantom', 'foundation-x_tiny_phantom.py')
ABLATION = Path('configs', 'ablation')
VARIANTS = ('foundation-x', 'no-lock', 'no-teacher', 'single-task_*')
SEEDS = range(5)
GOAL = '<= 180'
"""Seconds of the demo."""
CORES = 2
"""Of a run of the ablations."""


def tiny_options(job: Job) -> list[str]:
    """Options that cut a training on phantoms to seconds."""
    root = job.work.resolve() / 'tiny'
    options = [
        f'phantom.root={root}',
        'phantom.size=64',
        *(f'phantom.counts.{split}=8' for split in ('train', 'val', 'test')),
        'train_cfg.max_cycles=1',
        'loader.num_workers=0',
    ]
    for kind in ('cls', 'loc', 'seg'):
        options.append(f'cycle.max_batches.{kind}=1')
        options.append(f'task_defaults.{kind}.img_size=64')
        options.append(f'task_defaults.{kind}.batch_size=4')
    for hospital in 'abc':
        folder = f'{root}/easy/hospital_{hospital}/'
        options.append(f'datasets.phantom_{hospital}.data_root={folder}')
    return ['--cfg-options', *options]


def run(job: Job) -> None:
    """Train the demo, the drawing of its phantoms included."""
    folder = job.work / 'demo'
    shutil.rmtree(folder, ignore_errors=True)
    words = ['tools/train.py', job.home / DEMO, '--work-dir', folder]
    seconds = job.call(words + (tiny_options(job) if job.tiny else []))
    job.figure('from start to table', seconds, 's', goal=GOAL)
    for name, value in read_headlines(folder / 'results.json').items():
        job.figure(name, value)


def run_ablation(job: Job) -> None:
    """Run the ablations over their seeds, as many as there is time for.

    What is finished counts at the next call.
    """
    folder = job.work / 'ablation'
    variants = VARIANTS[: 1 if job.tiny else None]
    seeds = SEEDS[: 1 if job.tiny else None]
    configs = [
        file
        for variant in variants
        for file in sorted((job.home / ABLATION).glob(f'{variant}.py'))
    ]
    jobs = max(1, (os.cpu_count() or 1) // CORES)
    words = ['tools/analysis_tools/ablation.py', '--configs', *configs]
    words += ['--seeds', *seeds, '--work-dir', folder, '--jobs', jobs]
    try:
        if job.tiny:
            job.run_tool(words + tiny_options(job))
        else:
            # stopped before its time is up, it writes what it can
            job.call(words)
    finally:
        done = len(list(folder.glob('*/seed_*/results.json')))
        job.figure('finished', done, f'of {len(configs) * len(seeds)} runs')
    table = json.loads((folder / 'ablation.json').read_text(encoding='utf-8'))
    for variant, metrics in table['variants'].items():
        for name, entry in metrics.items():
            if entry['mean'] is not None:
                job.figure(f'{variant}, {name}', entry['mean'])
