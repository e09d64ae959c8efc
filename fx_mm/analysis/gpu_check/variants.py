"""Steps with a setting that is not the default against those with it."""

import contextlib
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fx_mm.analysis.gpu_check.configs import swin
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.steps import CASES, how_often
from fx_mm.analysis.step_timing import Case, Trainer, measure
from fx_mm.utils.device import synchronize

KINDS = ('cls', 'loc', 'seg')
OPTIONS = {
    'AdamW in foreach': {'optim_wrapper.optimizer.fused': False},
    'attention sdpa': {'model.student.backbone.attention': 'sdpa'},
    'attention stock': {'model.student.backbone.attention': 'stock'},
    'channels_last': {},
}
"""Name to what it changes in the config; ``channels_last`` is a layout."""
REPEATS = 20


def trainer_of(job: Job, name: str) -> Trainer:
    """Build Swin-B at 224 px, batch 24, with a setting."""
    cfg = swin(job, kinds=KINDS)
    cfg.merge_from_dict(OPTIONS[name])
    trainer = Trainer(cfg)
    if name == 'channels_last':
        for model in trainer.model.models:
            model.to(memory_format=torch.channels_last)
    return trainer


def compare(job: Job, usual: Trainer, name: str, seconds: float) -> None:
    """Alternate release steps with a setting and without."""
    other = trainer_of(job, name)
    for kind, task in usual.tasks(KINDS).items():
        cases: dict[str, Case] = {}
        for label, trainer in (('usual', usual), (name, other)):
            case = trainer.case(task, *CASES['release'])
            if case is not None:
                cases[label] = case
        found = measure(cases, *how_often(job), seconds / len(KINDS))
        value = found[name]['wall'] / found['usual']['wall']
        job.figure(f'{kind} release, {name} to the default', value)


def side_stream(
    job: Job,
) -> contextlib.AbstractContextManager[object]:
    """Run what is inside of a ``with`` beside what follows it."""
    if job.device == 'cpu':
        return contextlib.nullcontext()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    return torch.cuda.stream(stream)


def forwards(trainer: Trainer, task: str) -> list[Callable[[], object]]:
    """The forwards of student and teacher up to what is compared."""
    batch = trainer.model.data_preprocessor(trainer.batch(task), True)
    return [
        partial(model.features, batch['inputs'], batch['data_samples'])
        for model in trainer.model.models
    ]


def report_streams(job: Job, trainer: Trainer, kind: str) -> None:
    """Compare both forwards on two streams with those on one.

    The most that a stream of its own for the teacher could bring.
    """
    student, teacher = forwards(trainer, trainer.tasks([kind])[kind])
    dtype = torch.bfloat16

    def step(apart: bool) -> None:
        with torch.no_grad(), torch.autocast(job.device, dtype):
            with side_stream(job) if apart else contextlib.nullcontext():
                teacher()
            student()

    cases: dict[str, Case] = {
        name: (synchronize, partial(step, apart))
        for name, apart in (('one', False), ('two', True))
    }
    found = measure(cases, *how_often(job))
    job.figure(
        f'{kind}, both forwards, two streams to one',
        found['two']['wall'] / found['one']['wall'],
    )


def copy_seconds(images: Tensor, device: str) -> float:
    """Seconds until a copy to the device is done."""
    images.to(device)
    synchronize()
    begin = time.perf_counter()
    for _ in range(REPEATS):
        images.to(device, non_blocking=True)
    synchronize()
    return (time.perf_counter() - begin) / REPEATS


def report_copies(job: Job, trainer: Trainer, kind: str) -> None:
    """Time the copy of a batch's images, pinned and not."""
    images = trainer.batch(trainer.tasks([kind])[kind])['inputs']
    for name, memory in (('pageable', images.clone()), ('as loaded', images)):
        seconds = copy_seconds(memory, job.device)
        job.figure(f'images of a batch, {name}', 1e3 * seconds, 'ms')


def run(job: Job) -> None:
    """Compare one setting after the other."""
    usual = Trainer(swin(job, kinds=KINDS))
    with job.part('copies'):
        report_copies(job, usual, KINDS[0])
    for kind in KINDS:
        with job.part(f'streams, {kind}'):
            report_streams(job, usual, kind)
    for index, name in enumerate(OPTIONS):
        with job.part(name):
            share = 0.7 * job.left / (len(OPTIONS) - index)
            compare(job, usual, name, share)
