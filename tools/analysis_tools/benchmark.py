"""Time training steps in the real trainer: ``benchmark.py CONFIG SUITE...``.

Every figure is a median over steps that alternate with those it is compared
with, in one process, so a busy machine slows all sides alike. Suites:

steps    each kind's lock step, release step, and release step without the
         teacher, without data loading
stock    the localization step without teacher against mmdet's DINO of the same
         size, and how often each makes the host wait for a GPU
tasks    the step of a model with many tasks against one with three
memory   peak memory of a step with and without the teacher
data     the training with its loader, and its share of waiting for data

All but the last make their samples up and read no data.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import torch
from mmcv.ops import multi_scale_deform_attn as deform_attn
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from stock_dino import build_stock_dino
from torch.profiler import ProfilerActivity, profile

from fx_mm.apis import build_runner, load_config
from fx_mm.tasks import KINDS
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError

# (mode, teacher) of a step
CASES = dict(
    lock=('lock', True),
    release=('release', True),
    alone=('release', False),
)
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
        cfg.visualizer = dict(type='Visualizer', vis_backends=[])
        # the values of the weights do not matter
        cfg.model.get('student', cfg.model).backbone.pop('init_cfg', None)
        self.runner = runner = build_runner(cfg, synthetic=synthetic)
        self.loop = runner.train_loop
        runner.param_schedulers = runner.build_param_scheduler(
            runner.param_schedulers
        )
        runner._init_model_weights()
        runner.call_hook('before_run')
        runner.call_hook('before_train')
        self.weight = runner.model.consistency_weight
        self._batches = {}

    def tasks(self, kinds) -> dict[str, str]:
        """The first task of each kind that the config has."""
        names = [entry.task for entry in self.loop.schedule.passes]
        found = {}
        for name in names:
            kind = name.rsplit('/', 1)[1]
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
                self.loop._iter = self.loop.schedule.start(index)
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
        widths = [norm.normalized_shape[0] for norm in branch.encoder.norms]
        classes = branch.tasks[task.rsplit('/', 1)[0]].head.num_classes
        self.model = build_stock_dino(cfg.model.student, classes, widths)
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


def suite_steps(cfg: Config, args) -> dict:
    """Each kind's steps: locked, released, released without teacher."""
    trainer = Trainer(cfg)
    results = {}
    for kind, task in trainer.tasks(args.kinds).items():
        cases = {
            name: trainer.case(task, *state) for name, state in CASES.items()
        }
        cases = {name: case for name, case in cases.items() if case}
        result = measure(cases, args.steps, args.warmup)
        ratios = dict(teacher=ratio(result, 'release', 'alone'))
        if 'lock' in cases:
            ratios['lock'] = ratio(result, 'lock', 'release')
        results[kind] = dict(cases=result, ratios=ratios)
    return results


def suite_stock(cfg: Config, args) -> dict:
    """The localization step against mmdet's DINO."""
    trainer = Trainer(cfg)
    task = trainer.tasks(('loc',)).get('loc')
    if task is None:
        raise UserError('The config has no loc task to compare with DINO.')
    stock = StockTrainer(trainer, task)
    cases = dict(ours=trainer.case(task, 'release', False), mmdet=stock.case())
    result = measure(cases, args.steps, args.warmup)
    return dict(
        cases=result,
        ratios=dict(ours_to_mmdet=ratio(result, 'ours', 'mmdet')),
        waits=dict(
            ours=count_waits(cases['ours'], trainer.runner.optim_wrapper),
            mmdet=count_waits(cases['mmdet'], stock.optim_wrapper),
        ),
    )


def suite_tasks(cfg: Config, args) -> dict:
    """The step of a model with many tasks against one with three."""
    few, many = with_tasks(cfg, 3), with_tasks(cfg, args.tasks)
    sides = dict(few=Trainer(few), many=Trainer(many))
    results = {}
    for kind, task in sides['few'].tasks(args.kinds).items():
        cases = {
            name: side.case(task, 'release', True)
            for name, side in sides.items()
        }
        result = measure(cases, args.steps, args.warmup)
        results[kind] = dict(
            cases=result,
            ratios=dict(many_to_few=ratio(result, 'many', 'few')),
        )
    return dict(results, tasks=dict(few=3, many=args.tasks))


def with_tasks(cfg: Config, count: int) -> Config:
    """The config with copies of its first task of each kind."""
    cfg = Config(cfg.to_dict())
    first = {}
    for name in cfg.tasks:
        first.setdefault(name.rsplit('/', 1)[1], name)
    datasets, tasks = {}, []
    for index in range(count):
        kind, name = list(first.items())[index % len(first)]
        dataset = cfg.datasets[name.rsplit('/', 1)[0]]
        datasets[f'copy{index}'] = dict(
            dataset, tasks={kind: dataset.tasks[kind]}
        )
        tasks.append(f'copy{index}/{kind}')
    cfg.datasets, cfg.tasks = datasets, tasks
    return cfg


def suite_memory(cfg: Config, args) -> dict:
    """Peak memory of two steps, each case in a process of its own."""
    results = {}
    for kind in args.kinds:
        for name in ('release', 'alone', 'lock'):
            command = [sys.executable, *sys.argv, '--one', f'{kind} {name}']
            done = subprocess.run(command, capture_output=True, text=True)
            found = re.search(r'^PEAK (\S+)$', done.stdout, re.M)
            if done.returncode == 0 and found:
                results.setdefault(kind, {})[name] = float(found[1])
    return results


def one_peak(cfg: Config, kind: str, name: str) -> int:
    """Print the peak memory of two steps in GiB; 1 if there is no such."""
    trainer = Trainer(cfg)
    task = trainer.tasks((kind,)).get(kind)
    case = trainer.case(task, *CASES[name]) if task else None
    if case is None:
        return 1
    for _ in range(2):
        case[1]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**30
    print(f'PEAK {peak:.3f}')
    return 0


def suite_data(cfg: Config, args) -> dict:
    """The release passes with their loader: step and wait for data."""
    trainer = Trainer(cfg, synthetic=False)
    results = {}
    for kind, task in trainer.tasks(args.kinds).items():
        trainer.begin(task, 'release', True)
        trainer.loop.sampler.start = trainer.loop._iter
        batches = iter(trainer.loop.dataloader)
        steps, waits = [], []
        for index in range(args.warmup + args.steps):
            begin = time.perf_counter()
            batch = next(batches)
            loaded = time.perf_counter()
            if batch['data_samples'][0].task != task:
                break
            trainer.loop.run_iter(index, batch)
            if index >= args.warmup:
                waits.append(loaded - begin)
                steps.append(time.perf_counter() - begin)
        results[kind] = dict(
            step=1e3 * statistics.median(steps),
            wait=1e3 * statistics.median(waits),
            wait_share=round(sum(waits) / sum(steps), 3),
        )
    return results


SUITES = dict(
    steps=suite_steps,
    stock=suite_stock,
    tasks=suite_tasks,
    memory=suite_memory,
    data=suite_data,
)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('suites', nargs='+', choices=SUITES)
    parser.add_argument('--steps', type=int, default=30, help='of each case')
    parser.add_argument('--warmup', type=int, default=3)
    parser.add_argument('--batch-size', type=int, help='of all tasks')
    parser.add_argument('--threads', type=int, help='threads of torch')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS)
    parser.add_argument(
        '--tasks', type=int, default=20, help='many, of the suite "tasks"'
    )
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='change the config: key=value, nested.key=value',
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    cfg.tasks = cfg.get('tasks') or [
        f'{name}/{kind}'
        for name, d in cfg.datasets.items()
        for kind in d.tasks
    ]
    if args.batch_size:
        for dataset in cfg.datasets.values():
            for entry in dataset.tasks.values():
                entry.batch_size = args.batch_size
    if args.one:
        return one_peak(cfg, *args.one.split())
    cuda = torch.cuda.is_available()
    report = dict(
        config=args.config,
        options=args.cfg_options or {},
        machine=dict(
            processor=platform.processor() or platform.machine(),
            cores=os.cpu_count(),
            gpu=torch.cuda.get_device_name() if cuda else None,
            torch=torch.__version__,
            threads=torch.get_num_threads(),
        ),
        steps=args.steps,
        batch_size=args.batch_size,
        unit='milliseconds a step, ratios of medians, GiB',
    )
    for name in args.suites:
        report[name] = SUITES[name](cfg, args)
        print(json.dumps({name: report[name]}, indent=2))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(report, file, indent=2)
    return 0


if __name__ == '__main__':
    run_tool(main)
