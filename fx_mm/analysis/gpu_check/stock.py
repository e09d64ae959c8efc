"""Steps without teacher against those of the stock packages."""

from collections.abc import Callable
from importlib.util import find_spec

from fx_mm.analysis.gpu_check.configs import swin
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.steps import CASES, how_often
from fx_mm.analysis.host_waits import count_waits
from fx_mm.analysis.step_timing import Trainer, measure, ratio
from fx_mm.analysis.stock_models import (
    StockTrainer,
    stock_dino,
    stock_upernet,
    timm_swin,
)

COMPARED: dict[str, tuple[str, Callable[..., StockTrainer], str]] = {
    'loc': ("mmdet's DINO", stock_dino, '<= 0.6'),
    'cls': ("timm's Swin", timm_swin, '<= 1'),
    'seg': ("mmseg's UPerNet", stock_upernet, '<= 0.9'),
}
"""Kind to the stock step, what builds it, and the goal."""


def compare(job: Job, trainer: Trainer, kind: str, seconds: float) -> None:
    """Alternate our step of a kind with the stock one."""
    name, build, goal = COMPARED[kind]
    if build is timm_swin and find_spec('timm') is None:
        job.note(name, 'timm is not installed')
        return
    task = trainer.tasks([kind])[kind]
    stock = build(trainer, task)
    ours = trainer.case(task, *CASES['alone'])
    if ours is None:
        raise RuntimeError(f'no release pass of {task}')
    cases = {'ours': ours, name: stock.case()}
    found = measure(cases, *how_often(job), seconds)
    for case, times in found.items():
        job.figure(f'{kind} alone, {case}', times['wall'], 'ms')
    value = ratio(found, 'ours', name)['wall']
    job.figure(f'{kind} alone, ours to {name}', value, goal=goal)
    waits = count_waits(cases[name])['total']
    job.figure(f'{name}, waits a step', waits)


def run(job: Job) -> None:
    """Compare labels, boxes and masks, Swin-B at 224 px, batch 24."""
    kinds = tuple(COMPARED)
    trainer = Trainer(swin(job, kinds=kinds))
    for index, kind in enumerate(kinds):
        with job.part(kind):
            compare(job, trainer, kind, 0.7 * job.left / (len(kinds) - index))
