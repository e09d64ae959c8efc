"""Single steps in the real trainer, and what they cost."""

import contextlib
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable

import torch
from mmcv.ops import multi_scale_deform_attn as deform_attn
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from stock_dino import build_stock_dino
from torch.profiler import ProfilerActivity, profile

from fx_mm.apis import build_runner
from fx_mm.tasks import split_name

# Operators that wait for a GPU; methods that copy to the host.
WAITING_OPS = ('aten::_local_scalar_dense', 'aten::nonzero')
COPYING_METHODS = ('cpu', 'tolist')

Case = tuple[Callable[[], None], Callable[[], None]]
"""Brings everything into a state; takes one step."""


class Trainer:
    """A runner that takes single steps at chosen passes.

    Args:
        cfg (Config): The experiment's config.
        synthetic (bool): Make the samples up. Defaults to True.
    """

    count = 0

    def __init__(self, cfg: Config, synthetic: bool = True) -> None:
        Trainer.count += 1
        cfg = Config(cfg.to_dict())
        cfg.experiment_name = f'benchmark_{Trainer.count}'
        cfg.work_dir = os.path.join('work_dirs', 'benchmark')
        cfg.log_level = 'ERROR'
        # one task per pass; a step costs the same in any order
        cfg.merge_from_dict({'cycle.order': 'cyclic'})
        cfg.visualizer = dict(type='Visualizer', vis_backends=[])
        # the values of the weights do not matter
        cfg.model.get('student', cfg.model).backbone.pop('init_cfg', None)
        self.runner = runner = build_runner(cfg, synthetic=synthetic)
        self.loop = runner.train_loop
        runner.param_schedulers = runner.build_param_scheduler(
            runner.param_schedulers
        )
        runner.init_model_weights()
        runner.call_hook('before_run')
        runner.call_hook('before_train')
        # Ark's hook raises it from 0
        self.weight = runner.model.consistency_weight or 0.5
        self._batches = {}

    def tasks(self, kinds) -> dict[str, str]:
        """The first task of each kind that the config has."""
        names = [entry.task for entry in self.loop.schedule.passes]
        found = {}
        for name in names:
            kind = split_name(name)[1]
            if kind in kinds:
                found.setdefault(kind, name)
        return found

    def begin(self, task: str, mode: str, teacher: bool) -> bool:
        """Bring everything into the state of a pass; False if there is none.

        Without ``teacher``, the consistency weight is 0.
        """
        for index, entry in enumerate(self.loop.schedule.passes):
            locked = 'release' if entry.mode == 'release' else 'lock'
            if entry.task == task and locked == mode:
                self.loop.begin_pass(index)
                self.runner.model.consistency_weight = (
                    self.weight if teacher else 0.0
                )
                return True
        return False

    def batch(self, task: str) -> dict:
        """A batch of a task, the same at each call."""
        if task not in self._batches:
            loop = self.loop
            dataset = loop.dataloader.dataset
            names = [entry.task for entry in loop.schedule.passes]
            keys = loop.sampler.pass_batches(names.index(task))[0]
            self._batches[task] = pseudo_collate([dataset[k] for k in keys])
        return self._batches[task]

    def case(self, task: str, mode: str, teacher: bool) -> Case | None:
        """A step of a task in a state; None if the config has no such pass."""
        if not self.begin(task, mode, teacher):
            return None
        batch = self.batch(task)
        return (
            lambda: self.begin(task, mode, teacher),
            lambda: self.loop.run_iter(0, batch),
        )


class StockTrainer:
    """mmdet's DINO and mmengine's optimizer wrapper, as mmdet's configs do.

    Args:
        ours (Trainer): Gives sizes, classes and the batch.
        task (str): The localization task.
    """

    def __init__(self, ours: Trainer, task: str) -> None:
        cfg = ours.runner.cfg
        branch = ours.runner.model.student.localization
        classes = branch.tasks[split_name(task)[0]].head.num_classes
        self.model = build_stock_dino(
            cfg.model.student, classes, branch.dino_cfg['neck']['in_channels']
        )
        self.model.init_weights()
        self.model.train()
        self.optim_wrapper = build_optim_wrapper(
            self.model,
            dict(
                optimizer=dict(cfg.optim_wrapper.optimizer),
                clip_grad=dict(max_norm=0.1),
                paramwise_cfg=dict(
                    custom_keys=dict(backbone=dict(lr_mult=0.1))
                ),
            ),
        )
        dtype = cfg.optim_wrapper.get('amp_dtype')
        self.dtype = getattr(torch, dtype) if dtype else None
        self.batch = ours.batch(task)

    def case(self) -> Case:
        """A training step."""

        def step() -> None:
            device = next(self.model.parameters()).device.type
            with torch.autocast(
                device, self.dtype, enabled=self.dtype is not None
            ):
                self.model.train_step(self.batch, self.optim_wrapper)

        return lambda: None, step


def measure(cases: dict[str, Case], steps: int, warmup: int) -> dict:
    """Alternate the cases and give each one's medians.

    Returns:
        dict: Case to ``wall`` and ``processor`` milliseconds of a step, and
        ``wall_p90``.
    """
    times = {name: [] for name in cases}
    for index in range(warmup + steps):
        for name, (begin, step) in cases.items():
            begin()
            before = time.perf_counter(), time.process_time()
            step()
            after = time.perf_counter(), time.process_time()
            if index >= warmup:
                times[name].append([b - a for a, b in zip(before, after)])
    results = {}
    for name, pairs in times.items():
        walls, processors = zip(*pairs)
        results[name] = dict(
            wall=1e3 * statistics.median(walls),
            wall_p90=1e3 * sorted(walls)[int(0.9 * (len(walls) - 1))],
            processor=1e3 * statistics.median(processors),
        )
    return results


def ratio(results: dict, ours: str, theirs: str) -> dict:
    """Ratios of the medians of two cases."""
    return {
        clock: round(results[ours][clock] / results[theirs][clock], 3)
        for clock in ('wall', 'processor')
    }


def _sampled(value, shapes, locations, weights) -> torch.Tensor:
    """Something of the shape and type that deformable attention gives."""
    mean = value.mean(1).flatten(1)[:, None]
    return mean.expand(-1, locations.shape[1], -1)


@contextlib.contextmanager
def counted_copies(counts: Counter):
    """Count calls of the tensor methods that copy to the host."""
    before = {name: getattr(torch.Tensor, name) for name in COPYING_METHODS}

    def counting(name):
        def method(self, *args, **kwargs):
            counts[f'Tensor.{name}'] += self.numel() > 0
            return before[name](self, *args, **kwargs)

        return method

    for name in COPYING_METHODS:
        setattr(torch.Tensor, name, counting(name))
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(torch.Tensor, name, method)


def count_waits(case: Case, optim_wrapper) -> dict[str, int]:
    """How often a step makes the host wait for a GPU, by cause.

    The optimizer's own step counters live on the host and do not count, nor
    does what mmcv's substitute for its CUDA operator reads on a CPU.
    """
    begin, step = case
    substitute = deform_attn.multi_scale_deformable_attn_pytorch
    deform_attn.multi_scale_deformable_attn_pytorch = _sampled
    begin()
    optimizer = optim_wrapper.optimizer
    true_step, optimizer.step = optimizer.step, lambda *args: None
    counts = Counter()
    try:
        with (
            profile(activities=[ProfilerActivity.CPU]) as profiler,
            counted_copies(counts),
        ):
            step()
    finally:
        optimizer.step = true_step
        deform_attn.multi_scale_deformable_attn_pytorch = substitute
    for event in profiler.key_averages():
        if event.key in WAITING_OPS:
            counts[event.key] += event.count
    return dict(counts, total=sum(counts.values()))
