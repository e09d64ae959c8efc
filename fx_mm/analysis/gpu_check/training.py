"""Training as users run it: cycles, resume, torchrun, export."""

import importlib.util
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fx_mm.analysis.gpu_check.choices import Choices
from fx_mm.analysis.gpu_check.configs import (
    TINY_SIZE,
    demo,
    set_phantoms,
    set_sizes,
)
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.numerics import (
    BATCH,
    loss_and_gradients,
    without_chance,
)
from fx_mm.config import PlainConfig
from fx_mm.datasets.synthetic import SyntheticTask
from fx_mm.deployment import export_onnx
from fx_mm.engine.runner import MultiTaskRunner, build_runner
from fx_mm.tasks import TaskTable
from fx_mm.utils.checkpoint import find_checkpoint, load_file

CYCLES = 2
EXPORTED = ('phantom_b/cls', 'phantom_c/seg')
ONE_PROCESS = (
    *('-m', 'torch.distributed.run', '--standalone'),
    *('--nproc-per-node=1', '--local-addr=127.0.0.1'),
)


class Watch(Hook):
    """Call a function after each step.

    Args:
        function (Callable): Takes the runner.
    """

    def __init__(self, function: Callable[[Any], None]) -> None:
        self.function = function

    def after_train_iter(self, runner: Runner, *args: Any, **_: Any) -> None:
        """Call it."""
        self.function(runner)


def small_config(job: Job, name: str, evaluate: bool = False) -> Config:
    """The demo with one task of each kind, a few steps of it.

    Args:
        job (Job): Knows the folders.
        name (str): Of the run, and of its folder.
        evaluate (bool): Whether it ends with a table. Defaults to False.
    """
    cfg = demo(job)
    counts = dict(train=12, val=4, test=4)
    set_phantoms(cfg, job.work / 'phantoms', TINY_SIZE, counts)
    set_sizes(cfg, TINY_SIZE, 4)
    cfg.work_dir = str((job.work / name).resolve())
    cfg.experiment_name = f'gpu_check_{name}'
    cfg.log_level = 'WARNING'
    cfg.cycle.max_batches = None
    cfg.loader.num_workers = 0 if job.tiny else 2
    if job.tiny:
        cfg.cycle.max_batches = dict.fromkeys(('cls', 'loc', 'seg', 'reg'), 1)
        cfg.loader.pop('persistent_workers')
    cfg.train_cfg.update(max_cycles=CYCLES, val_interval=CYCLES)
    if not evaluate:
        cfg.val_cfg = cfg.test_cfg = None
    shutil.rmtree(cfg.work_dir, ignore_errors=True)
    return cfg


def train_cycles(job: Job) -> Mapping[str, Any]:
    """Train, locked passes included; return the last checkpoint."""
    modes: list[tuple[str, str]] = []
    skipped: list[str] = []

    def look(runner: MultiTaskRunner) -> None:
        entry: Any = runner.train_loop.current_pass
        if (entry.task, entry.mode) not in modes:
            modes.append((entry.task, entry.mode))
        if runner.optim_wrapper.last_skipped:
            skipped.append(entry.task)

    cfg = small_config(job, 'whole', evaluate=True)
    runner = build_runner(cfg)
    runner.register_hook(Watch(look))
    runner.train()
    job.note('passes', ', '.join(' '.join(entry) for entry in modes))
    locked = {task for task, mode in modes if mode != 'release'}
    job.require(
        'labels, boxes, masks and numbers, with lock passes', bool(locked)
    )
    job.require('all steps finite', not skipped, ', '.join(skipped))
    table = Path(cfg.work_dir, 'results.json')
    job.require('training ends with a table', table.is_file())
    return load_file(find_checkpoint(cfg.work_dir) or '')


def check_repeat(job: Job) -> None:
    """Compute the gradients of one batch of each kind twice, and compare.

    Where they differ, no resume can be equal to the bit.
    """
    cfg = demo(job)
    model = without_chance(cfg).to(job.device)

    def gradients(
        batch: dict[str, Any], dtype: torch.dtype | None
    ) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return loss_and_gradients(model, batch, Choices(), dtype)[1]

    for task in TaskTable.from_cfg(cfg):
        images = SyntheticTask(task)
        batch = pseudo_collate([images[i] for i in range(BATCH)])
        for dtype in (None, torch.bfloat16):
            name = str(dtype or torch.float32).removeprefix('torch.')
            wrong = differences(*(gradients(batch, dtype) for _ in range(2)))
            job.require(
                f'{task.kind.name}, {name}, equal gradients twice',
                not wrong,
                summary(wrong),
            )


def check_resume(job: Job, whole: Mapping[str, Any]) -> None:
    """Stop a training in the middle of a pass, go on, and compare."""

    def stop(runner: MultiTaskRunner) -> None:
        if runner.iter == runner.max_iters // 2:
            os.kill(os.getpid(), signal.SIGTERM)

    cfg = small_config(job, 'resumed')
    runner = build_runner(cfg)
    runner.register_hook(Watch(stop))
    runner.train()
    job.require('SIGTERM stops it', runner.iter < runner.max_iters)
    cfg.experiment_name += '_2'
    build_runner(cfg, resume=True).train()
    resumed = load_file(find_checkpoint(cfg.work_dir) or '')
    wrong = differences(whole['state_dict'], resumed['state_dict'])
    job.require('weights equal after a resume', not wrong, summary(wrong))
    wrong = differences(*(flat(each) for each in (whole, resumed)))
    job.require('optimizer equal after a resume', not wrong, summary(wrong))


def flat(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer's tensors by number and name."""
    state = checkpoint['optimizer']['state']
    return {
        f'{number}.{name}': value
        for number, values in state.items()
        for name, value in values.items()
        if torch.is_tensor(value)
    }


def differences(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> list[str]:
    """Names of tensors that are not equal to the bit."""
    names = sorted(ours.keys() | theirs.keys())
    return [
        name
        for name in names
        if name not in ours
        or name not in theirs
        or not torch.equal(ours[name], theirs[name])
    ]


def summary(names: list[str]) -> str:
    """Return how many there are, and the first."""
    return f'{len(names)} differ, such as {names[0]}' if names else ''


def check_torchrun(job: Job) -> None:
    """Train in a process that torchrun starts."""
    cfg = small_config(job, 'torchrun')
    cfg.train_cfg.update(max_cycles=1)
    file = job.work / 'torchrun.py'
    PlainConfig(cfg.to_dict()).dump(str(file))
    # with no network there may be no other interface
    os.environ.setdefault('NCCL_SOCKET_IFNAME', 'lo')
    tool = job.home / 'tools/train.py'
    seconds = job.call(
        [sys.executable, *ONE_PROCESS, tool, file, '--launcher', 'pytorch']
    )
    done = find_checkpoint(cfg.work_dir)
    job.require('torchrun, one process', bool(done), f'{seconds:.0f} s')


def check_export(job: Job) -> None:
    """Export what was trained, and compare it in onnxruntime."""
    for package in ('onnxscript', 'onnxruntime'):
        if importlib.util.find_spec(package) is None:
            job.note('ONNX', f'{package} is not installed')
            return
    checkpoint = find_checkpoint(job.work / 'whole')
    out = job.work / 'model.onnx'
    tasks = EXPORTED[:1] if job.tiny else EXPORTED
    # it compares them itself, and raises where they differ
    gaps = export_onnx(None, checkpoint or '', out, tasks)['difference']
    for name, gap in gaps.items():
        job.figure(f'ONNX of {name}, from torch', gap)
    job.require('ONNX, equal in onnxruntime', bool(gaps))


def run(job: Job) -> None:
    """Train, resume to the bit, train under torchrun, export."""
    # what cuBLAS needs for equal bits
    os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with job.part('gradients twice'):
            check_repeat(job)
        with job.part('training'):
            whole = train_cycles(job)
            with job.part('resume'):
                check_resume(job, whole)
    torch.use_deterministic_algorithms(False)
    texts = {str(warning.message) for warning in caught}
    unsure = sorted(
        text.split(' does not')[0] for text in texts if 'deterministic' in text
    )
    if unsure:
        job.note('without a deterministic form', ', '.join(unsure))
    with job.part('torchrun'):
        check_torchrun(job)
    with job.part('ONNX'):
        check_export(job)
