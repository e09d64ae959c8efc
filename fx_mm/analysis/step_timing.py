"""Single training steps in the real trainer, and what they cost."""

import contextlib
import os
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from mmcv.ops import multi_scale_deform_attn as deform_attn
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from fx_mm.engine.loops.train_loop import CyclicTrainLoop
from fx_mm.engine.runner import build_runner
from fx_mm.models.mean_teacher import bare_model
from fx_mm.tasks import split_name

WAITING_OPS = ('aten::_local_scalar_dense', 'aten::nonzero')
"""Operators that wait for a GPU."""
COPYING_METHODS = ('cpu', 'tolist')
"""Methods that copy to the host."""
WAITING_CALLS = ('cudaStreamSynchronize', 'cudaEventSynchronize')
"""Calls of CUDA that wait; the profiler itself calls another one."""
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
                self.loop.begin_pass(index)
                self.model.consistency_weight = self.weight if teacher else 0.0
                return True
        return False

    def batch(self, task: str) -> dict[str, Any]:
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


def synchronize() -> None:
    """Wait for a GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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


def _sampled(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """Something of the shape and type that deformable attention gives."""
    mean = value.mean(1).flatten(1)[:, None]
    return mean.expand(-1, locations.shape[1], -1)


@contextlib.contextmanager
def counted_copies(counts: Counter[str]) -> Iterator[None]:
    """Count calls of the tensor methods that copy to the host."""
    before = {name: getattr(torch.Tensor, name) for name in COPYING_METHODS}

    def counting(name: str) -> Callable[..., Any]:
        def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
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


def count_waits(case: Case, optim_wrapper: OptimWrapper) -> dict[str, int]:
    """How often a step makes the host wait for a GPU, by cause.

    On a GPU, CUDA's own calls are counted. On a CPU, what would make them: the
    optimizer's own step counters live on the host and do not count, nor does
    what mmcv's substitute for its CUDA operator reads.
    """
    if torch.cuda.is_available():
        return _count_calls(case)
    begin, step = case
    substitute = deform_attn.multi_scale_deformable_attn_pytorch
    deform_attn.multi_scale_deformable_attn_pytorch = _sampled
    begin()
    optimizer: Any = optim_wrapper.optimizer
    true_step, optimizer.step = optimizer.step, lambda *args: None
    counts: Counter[str] = Counter()
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


def _count_calls(case: Case) -> dict[str, int]:
    begin, step = case
    begin()
    synchronize()
    with profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]
    ) as profiler:
        step()
    events = {event.key: event.count for event in profiler.key_averages()}
    if not any(key.startswith('cu') for key in events):
        raise RuntimeError('the profiler saw no call of CUDA')
    counts = {key: events[key] for key in WAITING_CALLS if key in events}
    return dict(counts, total=sum(counts.values()))


def find_waits(case: Case) -> dict[str, int]:
    """Where a step makes the host wait for a GPU, as torch warns of it.

    Returns:
        dict[str, int]: ``file:line`` to how often; empty without a GPU.
    """
    if not torch.cuda.is_available():
        return {}
    begin, step = case
    begin()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return dict(
        Counter(
            f'{os.path.basename(each.filename)}:{each.lineno}'
            for each in caught
            if 'called a synchronizing' in str(each.message)
        )
    )
