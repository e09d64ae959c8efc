"""The demo to its table, and the ablations."""

import json
import os
import shutil
from pathlib import Path

from fx_mm.analysis.gpu_check.configs import DEMO, shrink
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.config import PlainConfig, load_config
from fx_mm.evaluation.report.variant_comparison import read_headlines

ABLATION = Path('configs', 'ablation')
VARIANTS = ('foundation-x', 'no-lock', 'no-teacher', 'single-task_*')
SEEDS = range(5)
GOAL = '<= 180'
"""Seconds of the demo."""
CORES = 2
"""Of a run of the ablations."""


def rehearsed(job: Job, file: Path) -> Path:
    """The file of a config; in a rehearsal of one that is cut to seconds."""
    if not job.tiny:
        return file
    cfg = load_config(str(file))
    shrink(cfg, job.work / 'tiny')
    tiny = job.work / 'tiny' / file.name
    tiny.parent.mkdir(parents=True, exist_ok=True)
    PlainConfig(cfg.to_dict()).dump(str(tiny))
    return tiny


def run(job: Job) -> None:
    """Train the demo, the drawing of its phantoms included."""
    folder = job.work / 'demo'
    shutil.rmtree(folder, ignore_errors=True)
    config = rehearsed(job, job.home / 'configs' / DEMO)
    words = ['tools/train.py', config, '--work-dir', folder]
    seconds = job.call(words)
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
        rehearsed(job, file)
        for variant in variants
        for file in sorted((job.home / ABLATION).glob(f'{variant}.py'))
    ]
    jobs = max(1, (os.cpu_count() or 1) // CORES)
    words = ['tools/analysis_tools/ablation.py', '--configs', *configs]
    words += ['--seeds', *seeds, '--work-dir', folder, '--jobs', jobs]
    try:
        if job.tiny:
            job.run_tool(words)
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
