"""Times of training steps of Foundation X, their memory and their waits."""

import time

import torch
from mmengine.config import Config

from fx_mm.analysis.device_time import device_time
from fx_mm.analysis.gpu_check.configs import KINDS, swin
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.host_waits import count_waits, find_waits
from fx_mm.analysis.step_timing import (
    Case,
    Trainer,
    measure,
    peak_memory,
    step_flops,
)
from fx_mm.utils.device import synchronize

STEPS, WARMUP = 12, 4
"""Of each case."""
CASES = dict(
    lock=('lock', True),
    release=('release', True),
    alone=('release', False),
)
"""Name to mode and teacher."""
LOCK_GOALS = dict(loc='<= 0.45', seg='<= 0.3')
TEACHER_GOAL = '<= 1.3'
WAITS_GOAL = '<= 2'
GAPS_GOAL = '<= 0.1'
"""Above it, CUDA graphs would be worth their while."""
UTILISATION_GOAL = '>= 0.35'
RATE = 'images/s'
LARGE = 'foundation_x/foundation-x_swin-l-768_150c.py'
PRODUCTS = 20


def how_often(job: Job) -> tuple[int, int]:
    """Return steps to measure and steps before them."""
    return (1, 1) if job.tiny else (STEPS, WARMUP)


def all_cases(trainer: Trainer, task: str) -> dict[str, Case]:
    """The cases that a task has."""
    cases = {name: trainer.case(task, *state) for name, state in CASES.items()}
    return {name: case for name, case in cases.items() if case}


def measure_kind(
    job: Job, trainer: Trainer, kind: str, seconds: float
) -> None:
    """Measure the steps of one kind."""
    task = trainer.tasks([kind])[kind]
    cases = all_cases(trainer, task)
    found = measure(cases, *how_often(job), seconds)
    count = len(trainer.batch(task)['inputs'])
    for name, case in cases.items():
        wall = found[name]['wall']
        job.figure(f'{kind} {name}', wall, 'ms')
        job.figure(f'{kind} {name}', 1e3 * count / wall, RATE)
        if job.device == 'cuda':
            memory = peak_memory(case)
            job.figure(f'{kind} {name}, peak memory', memory, 'GiB')
        busy, launches = device_time(case)
        job.figure(f'{kind} {name}, launches', launches)
        job.figure(
            f'{kind} {name}, launch gaps', 1 - busy / wall, goal=GAPS_GOAL
        )
    alone = found['alone']['wall']
    job.figure(
        f'{kind}, release to alone',
        found['release']['wall'] / alone,
        goal=TEACHER_GOAL,
    )
    if 'lock' in cases:
        job.figure(
            f'{kind}, lock to release',
            found['lock']['wall'] / found['release']['wall'],
            goal=LOCK_GOALS.get(kind, ''),
        )


def report_waits(job: Job, trainer: Trainer, kind: str) -> None:
    """Count how often a release step waits for the device, and where."""
    case = trainer.case(trainer.tasks([kind])[kind], *CASES['release'])
    if case is None:
        return
    waits = count_waits(case)
    job.figure(f'{kind}, waits a step', waits['total'], goal=WAITS_GOAL)
    places = find_waits(case)
    if places:
        text = ', '.join(f'{place} x {n}' for place, n in places.items())
        job.note(f'{kind}, waits at', text)


def product_rate(device: str, size: int) -> float:
    """Return the rate of a square product in bfloat16, in FLOP/s."""
    a, b = (
        torch.randn(size, size, device=device, dtype=torch.bfloat16)
        for _ in range(2)
    )
    torch.mm(a, b)
    synchronize()
    begin = time.perf_counter()
    for _ in range(PRODUCTS):
        torch.mm(a, b)
    synchronize()
    return PRODUCTS * 2 * size**3 / (time.perf_counter() - begin)


def report_utilisation(job: Job, trainer: Trainer) -> None:
    """Compare the FLOPs of a cls step without teacher with a product's."""
    case = trainer.case(trainer.tasks(['cls'])['cls'], *CASES['alone'])
    if case is None:
        return
    wall = measure(dict(step=case), *how_often(job), job.left)['step']['wall']
    flops = step_flops(case)
    rate = product_rate(job.device, 256 if job.tiny else 8192)
    job.figure('cls alone, of its products', flops / 1e12, 'TFLOP')
    job.figure('a product in bfloat16', rate / 1e12, 'TFLOP/s')
    job.figure(
        'cls alone, utilisation',
        1e3 * flops / wall / rate,
        goal=UTILISATION_GOAL,
    )


def _measure(job: Job, cfg: Config, kinds: tuple[str, ...]) -> None:
    trainer = Trainer(cfg)
    for index, kind in enumerate(kinds):
        with job.part(kind):
            # some is left for what follows
            share = 0.7 * job.left / (len(kinds) - index)
            measure_kind(job, trainer, kind, share)
            report_waits(job, trainer, kind)
    if 'cls' in kinds:
        with job.part('utilisation'):
            report_utilisation(job, trainer)


def run(job: Job) -> None:
    """Measure Swin-B at 224 px, batch 24, in bfloat16."""
    _measure(job, swin(job), KINDS)


def run_large(job: Job) -> None:
    """Measure Swin-L at 768 px, batch 2, with checkpointing."""
    kinds = tuple(kind for kind in KINDS if kind != 'reg')
    cfg = swin(job, LARGE, img_size=768, batch_size=2, kinds=kinds)
    _measure(job, cfg, kinds)
