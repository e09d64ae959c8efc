"""Steps with compiled parts against those without."""

import time

import torch
from torch._dynamo.utils import counters

from fx_mm.analysis.gpu_check.configs import swin
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.steps import CASES, how_often
from fx_mm.analysis.step_timing import Trainer, measure, ratio
from fx_mm.utils.device import synchronize

KINDS = ('cls', 'loc', 'seg')


def graphs() -> int:
    """Return how many graphs were compiled so far."""
    return counters['stats']['unique_graphs']


def run(job: Job) -> None:
    """Compare Swin-B at 224 px, batch 24; count what is compiled again."""
    if job.tiny:
        # a compiler takes minutes for the smallest backbone
        torch.compiler.set_stance('force_eager')
    plain = Trainer(swin(job, kinds=KINDS))
    cfg = swin(job, kinds=KINDS)
    cfg.model.compile_backbone = cfg.model.compile_branches = True
    trainer = Trainer(cfg)
    for kind, task in trainer.tasks(KINDS).items():
        with job.part(kind):
            for name, state in CASES.items():
                case = trainer.case(task, *state)
                if case is None:
                    continue
                begin = time.perf_counter()
                case[1]()
                synchronize()
                seconds = time.perf_counter() - begin
                job.figure(f'{kind} {name}, first step', seconds, 's')
            before = graphs()
            for name, state in CASES.items():
                case, other = (
                    each.case(task, *state) for each in (trainer, plain)
                )
                if case is None or other is None:
                    continue
                cases = dict(compiled=case, plain=other)
                found = measure(cases, *how_often(job), job.left / 4)
                job.figure(
                    f'{kind} {name}, compiled', found['compiled']['wall'], 'ms'
                )
                job.figure(
                    f'{kind} {name}, compiled to plain',
                    ratio(found, 'compiled', 'plain')['wall'],
                )
            again = graphs() - before
            job.figure(f'{kind}, compiled again', again, goal='<= 0')
