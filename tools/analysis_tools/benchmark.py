"""Time training steps in the real trainer: ``benchmark.py CONFIG SUITE...``.

Every figure is a median over steps that alternate with those it is compared
with, in one process, so a busy machine slows all sides alike. Suites:

steps    each kind's lock step, release step, and release step without the
         teacher, without data loading
stock    the localization step without teacher against mmdet's DINO of the same
         size, and how often each makes the host wait for a GPU
tasks    the step of a model with many tasks against one with three
memory   peak memory of a step with and without the teacher
teacher  the update of the teacher against a loop over the parameters
data     the training with its loader, and its share of waiting for data

All but the last make their samples up and read no data.
"""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time

from fx_mm.analysis.host_waits import count_waits
from fx_mm.analysis.step_timing import Trainer, measure, ratio
from fx_mm.analysis.stock_models import stock_dino
from fx_mm.apis import load_config
from fx_mm.tasks import all_kinds, split_name
from fx_mm.utils.cli import run_tool
from fx_mm.utils.config_options import ConfigOptions
from fx_mm.utils.errors import UserError

import torch
from mmengine.config import Config

# (mode, teacher) of a step
CASES = dict(
    lock=('lock', True),
    release=('release', True),
    alone=('release', False),
)


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
    stock = stock_dino(trainer, task)
    cases = dict(ours=trainer.case(task, 'release', False), mmdet=stock.case())
    result = measure(cases, args.steps, args.warmup)
    return dict(
        cases=result,
        ratios=dict(ours_to_mmdet=ratio(result, 'ours', 'mmdet')),
        waits=dict(
            ours=count_waits(cases['ours']),
            mmdet=count_waits(cases['mmdet']),
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
        first.setdefault(split_name(name)[1], name)
    datasets, tasks = {}, []
    for index in range(count):
        kind, name = list(first.items())[index % len(first)]
        dataset = cfg.datasets[split_name(name)[0]]
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


def suite_teacher(cfg: Config, args) -> dict:
    """The teacher's update against a multiplication and addition a tensor."""
    model = Trainer(cfg).runner.model
    if model.teacher is None:
        raise UserError(
            'The config has no MeanTeacherHook in custom_hooks, so there is '
            'no teacher to measure.'
        )
    student = list(model.student.parameters())
    teacher = list(model.teacher.parameters())

    @torch.no_grad()
    def loop() -> None:
        for ours, theirs in zip(student, teacher):
            theirs.mul_(0.8).add_(ours, alpha=0.2)

    def nothing() -> None:
        pass

    cases = dict(
        ours=(nothing, lambda: model.update_teacher(0.8)),
        loop=(nothing, loop),
    )
    result = measure(cases, args.steps, args.warmup)
    return dict(
        cases=result,
        ratios=dict(loop_to_ours=ratio(result, 'loop', 'ours')),
        tensors=len(student),
    )


def suite_data(cfg: Config, args) -> dict:
    """The release passes with their loader: step and wait for data."""
    trainer = Trainer(cfg, synthetic=False)
    results = {}
    for kind, task in trainer.tasks(args.kinds).items():
        trainer.begin(task, 'release', True)
        trainer.loop.sampler.start = trainer.loop.iter
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
    teacher=suite_teacher,
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
    kinds = [kind.name for kind in all_kinds()]
    parser.add_argument('--kinds', nargs='+', choices=kinds, default=kinds)
    parser.add_argument(
        '--tasks', type=int, default=20, help='many, of the suite "tasks"'
    )
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
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
