"""How many images a second the loader makes, against what a step takes."""

import os
import shutil
import time

from mmengine.config import Config

from fx_mm.analysis.gpu_check.configs import (
    DEMO,
    TINY_SIZE,
    set_phantoms,
    set_sizes,
    shipped,
)
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.steps import CASES, RATE
from fx_mm.engine.runner import build_runner

WORKERS = 16
SECONDS = 4
"""Of each measurement."""
GOAL = '>= 1.2'
KINDS = ('cls', 'loc', 'seg')
IMAGES, SIZE = 96, 1024
"""Number and width of the phantoms."""


def config(job: Job, kind: str, workers: int) -> Config:
    """The demo with the pipelines of 224 px, on large phantoms.

    Args:
        job (Job): Knows the folders.
        kind (str): Of the only task.
        workers (int): Of the loader.
    """
    cfg = shipped(job, DEMO)
    defaults = job.home / 'configs/_base_/task_defaults.py'
    cfg.task_defaults = Config.fromfile(defaults).task_defaults
    images, size = (8, TINY_SIZE) if job.tiny else (IMAGES, SIZE)
    counts = dict(train=images, val=1, test=1)
    set_phantoms(cfg, job.work / 'large_phantoms', size, counts)
    cfg.tasks = [f'phantom_c/{kind}']
    cfg.cache = dict(dir=str(job.work / 'cache'), factor=1.15)
    if job.tiny:
        set_sizes(cfg, TINY_SIZE, 4)
    cfg.cycle = dict(order='cyclic', lock='none')
    cfg.loader.num_workers = workers
    cfg.val_cfg = cfg.test_cfg = None
    cfg.work_dir = str(job.work / 'loader')
    cfg.experiment_name = f'gpu_check_loader_{kind}_{workers}'
    cfg.log_level = 'ERROR'
    return cfg


def images_per_second(cfg: Config, seconds: float) -> tuple[float, float]:
    """Return the rates of a first walk over the images, and of later ones.

    Args:
        cfg (Config): The experiment's config.
        seconds (float): How long the later ones are measured.
    """
    loader = build_runner(cfg).train_dataloader
    batches = iter(loader)

    def rate(images: int, seconds: float) -> float:
        begin, count = time.perf_counter(), 0
        while count < images or time.perf_counter() - begin < seconds:
            count += len(next(batches)['inputs'])
        return count / (time.perf_counter() - begin)

    return rate(len(loader.dataset), 0), rate(1, seconds)


def fastest(job: Job, kind: str) -> float:
    """Return the images a second that the fastest step of a kind takes."""
    names = [f'{kind} {case}' for case in CASES]
    return max(
        (
            result['value']
            for result in job.earlier.get('steps', ())
            if result['unit'] == RATE and result['name'] in names
        ),
        default=0.0,
    )


def run(job: Job) -> None:
    """Measure a first epoch, which fills the cache, and later ones."""
    cores = len(os.sched_getaffinity(0))
    workers = 1 if job.tiny else min(WORKERS, cores)
    job.note('workers', str(workers))
    shutil.rmtree(job.work / 'cache', ignore_errors=True)
    for kind in KINDS:
        with job.part(kind):
            cfg = config(job, kind, workers)
            seconds = 0.1 if job.tiny else SECONDS
            first, later = images_per_second(cfg, seconds)
            job.figure(f'{kind}, originals', first, RATE)
            job.figure(f'{kind}, cache', later, RATE)
            eaten = fastest(job, kind)
            if eaten:
                job.figure(
                    f'{kind}, loader to the fastest step',
                    later / eaten,
                    goal=GOAL,
                )
