"""Single training steps in the real trainer, and what they cost."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from fx_mm.engine.loops.train_loop import CyclicTrainLoop
from fx_mm.engine.runner import build_runner
from fx_mm.models.mean_teacher import bare_model
from fx_mm.tasks import split_name
from fx_mm.utils.device import synchronize

LEAST_STEPS = 3
"""Measured of each case, also where there is no time left."""

Case = tuple[Callable[[], Any], Callable[[], Any]]
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
        self.loop = cast(CyclicTrainLoop, runner.train_loop)
        # as on a GPU
        self.loop.settle_interval = self.loop.max_nonfinite_steps
        runner.param_schedulers = runner.build_param_scheduler(
            runner.param_schedulers
        )
        runner.init_model_weights()
        runner.call_hook('before_run')
        runner.call_hook('before_train')
        self.model = bare_model(runner.model)
        # Ark's hook raises it from 0
        self.weight = self.model.consistency_weight or 0.5
        self._batches: dict[str, dict[str, Any]] = {}

    def tasks(self, kinds: Iterable[str]) -> dict[str, str]:
        """The first task of each kind that the config has."""
        names = [entry.task for entry in self.loop.schedule.passes]
        found: dict[str, str] = {}
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
                self.loop.settle()
                self.loop.begin_pass(index)
                self.model.consistency_weight = self.weight if teacher else 0.0
                return True
        return False

    def batch(self, task: str) -> dict[str, Any]:
        """A batch of a task as of the loader, the same at each call."""
        if task not in self._batches:
            names = [entry.task for entry in self.loop.schedule.passes]
            keys = self.loop.sampler.pass_batches(names.index(task))[0]
            self._batches[task] = self.collate(keys)
        return self._batches[task]

    def collate(self, keys: Iterable[Any]) -> dict[str, Any]:
        """Make a batch as the loader would, of what the sampler drew."""
        loader = self.loop.dataloader
        batch = loader.collate_fn([loader.dataset[key] for key in keys])
        if loader.pin_memory:
            batch = {key: part.pin_memory() for key, part in batch.items()}
        return batch

    def case(self, task: str, mode: str, teacher: bool) -> Case | None:
        """A step of a task in a state; None if the config has no such pass."""
        if not self.begin(task, mode, teacher):
            return None
        batch = self.batch(task)
        return (
            lambda: self.begin(task, mode, teacher),
            lambda: self.loop.run_iter(0, batch),
        )


def measure(
    cases: Mapping[str, Case],
    steps: int,
    warmup: int,
    seconds: float = float('inf'),
) -> dict[str, dict[str, float]]:
    """Alternate the cases and give each one's medians.

    Args:
        cases (Mapping[str, Case]): What is compared.
        steps (int): Of each case.
        warmup (int): Steps before them.
        seconds (float): After which it ends, with fewer steps. Defaults to no
            limit.

    Returns:
        dict: Case to ``wall`` and ``processor`` milliseconds of a step, and
        ``wall_p90``.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in cases}
    end = time.perf_counter() + seconds
    for index in range(warmup + steps):
        late = time.perf_counter() > end
        if late and index >= warmup + LEAST_STEPS:
            break
        for name, (begin, step) in cases.items():
            begin()
            synchronize()
            before = time.perf_counter(), time.process_time()
            step()
            synchronize()
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


def ratio(
    results: Mapping[str, Mapping[str, float]], ours: str, theirs: str
) -> dict[str, float]:
    """Ratios of the medians of two cases."""
    return {
        clock: round(results[ours][clock] / results[theirs][clock], 3)
        for clock in ('wall', 'processor')
    }


def peak_memory(case: Case) -> float:
    """Return the peak of a GPU's memory in a step, in GiB."""
    begin, step = case
    begin()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() / 2**30


def step_flops(case: Case) -> int:
    """Count the floating point operations of a step's products."""
    begin, step = case
    begin()
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()
