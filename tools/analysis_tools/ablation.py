"""Run configs over seeds and compare them with the first of them.

``ablation.py --configs BASE.py OTHER.py ... --seeds 0 1 2 --work-dir DIR``

A run is ``tools/train.py`` as a process of its own, in ``DIR/CONFIG/seed_N``.
Runs of a seed begin with the same weights, those of the base, wherever they
have the same module. What is finished is skipped and what broke off is
resumed, so the command may be given again. A variant is a config's name up to
its first underscore: several configs of a name, such as one a task, are its
parts.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from fx_mm.apis import expand_config, load_config
from fx_mm.engine.pace import format_seconds
from fx_mm.evaluation.report.variant_comparison import (
    VariantComparison,
    read_headlines,
)
from fx_mm.registry import MODELS
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.variant_plot import plot_variants

TRAIN = Path(__file__).parents[1] / 'train.py'
THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
NOTE = (
    'Runs of a seed share data, order and initial weights; the seeds differ '
    'in order and initial weights.'
)


class KeptOptions(DictAction):
    """Parse options, and keep them as typed to hand them on."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.typed_options = values
        super().__call__(parser, namespace, values, option_string)


@dataclass
class Run:
    """A config with a seed.

    Args:
        config (Path): Its file.
        seed (int): Of weights and order.
        folder (Path): Work directory.
        predict_on (str): Whose results count.
    """

    config: Path
    seed: int
    folder: Path
    predict_on: str
    seconds: float = field(default=0.0, init=False)

    @property
    def variant(self) -> str:
        """str: The config's name up to the first underscore."""
        return self.config.stem.split('_')[0]

    @property
    def results(self) -> Path:
        """Path: There when the run is finished."""
        return self.folder / 'results.json'

    @property
    def log(self) -> Path:
        """Path: What the process printed."""
        return self.folder / 'run.log'


class Pool:
    """Processes of training, some at a time.

    Args:
        jobs (int): How many at a time.
        threads (int): Threads of each.
        report (Callable): Gets each run when its process has ended.
    """

    def __init__(self, jobs: int, threads: int, report: Callable) -> None:
        self.jobs = jobs
        self.env = dict(os.environ, **dict.fromkeys(THREADS, str(threads)))
        self.report = report
        self._running: set = set()
        self._lock = threading.Lock()
        self._stopped = False

    def work(self, runs: list[Run], command: Callable) -> None:
        """Run them all; an interruption stops those that are running.

        Args:
            runs (list[Run]): What to do, in order.
            command (Callable): Gives a run's command line.
        """
        executor = ThreadPoolExecutor(self.jobs)
        try:
            futures = [
                executor.submit(self._do, run, command(run)) for run in runs
            ]
            for future in futures:
                future.result()
        finally:
            with self._lock:
                self._stopped = True
                for process in self._running:
                    # train.py writes a checkpoint then
                    process.terminate()
            executor.shutdown()

    def _do(self, run: Run, command: list[str]) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        with run.log.open('a') as log:
            with self._lock:
                if self._stopped:
                    return
                process = subprocess.Popen(
                    command, env=self.env, stdout=log, stderr=log
                )
                self._running.add(process)
            process.wait()
            with self._lock:
                self._running.discard(process)
        run.seconds = time.perf_counter() - begin
        if not self._stopped:
            self.report(run)


class Progress:
    """One line a run, with the time that is left.

    Args:
        runs (list[Run]): All that are to be done.
        jobs (int): How many at a time.
    """

    def __init__(self, runs: list[Run], jobs: int) -> None:
        self.runs = runs
        self.jobs = jobs
        self._done: list[Run] = []

    def __call__(self, run: Run) -> None:
        """Print the line of a run whose process has ended."""
        self._done.append(run)
        if run.results.is_file():
            headlines = read_headlines(run.results, run.predict_on)
            state = 'done  ' + '  '.join(
                f'{name} {value:.3f}' for name, value in headlines.items()
            )
        else:
            state = f'FAILED, see {run.log}'
        print(
            f'[{len(self._done)}/{len(self.runs)}] {run.config.stem} '
            f'seed {run.seed}  {format_seconds(run.seconds)}  '
            f'ETA {format_seconds(self._eta())}  {state}',
            flush=True,
        )

    def _eta(self) -> float:
        """Add up what the same config took, or else the mean run."""
        times: dict = {}
        for run in self._done:
            times.setdefault(run.config, []).append(run.seconds)
        means = {config: sum(t) / len(t) for config, t in times.items()}
        default = sum(means.values()) / len(means)
        left = (run for run in self.runs if run not in self._done)
        return sum(means.get(run.config, default) for run in left) / self.jobs


def write_initial_weights(cfg, seed: int, file: Path) -> None:
    """Initialise the base's student and keep its weights.

    They are loaded by name, so every variant begins with them as far as it
    has the modules.
    """
    if file.is_file():
        return
    init_default_scope('fx_mm')
    # It tells of every weight otherwise.
    MMLogger.get_current_instance().setLevel('ERROR')
    set_random_seed(seed)
    model = MODELS.build(expand_config(cfg).model)
    model.init_weights()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix('.tmp')
    torch.save(dict(state_dict=model.student.state_dict()), temporary)
    temporary.replace(file)


def check_unchanged(run: Run, text: str) -> None:
    """Refuse results of another config than the one there is now.

    Raises:
        UserError: Names the folder.
    """
    mark = run.folder / 'expanded_config.txt'
    if mark.is_file() and mark.read_text(encoding='utf-8') != text:
        raise UserError(
            f'{run.folder} was run with another config than {run.config} is '
            'now; remove it, or choose another --work-dir.'
        )
    write_whole(mark, text)


def plan(args) -> tuple[list[Run], dict]:
    """List the runs, a seed after the other, so that pairs come early.

    Returns:
        tuple: The runs, and the read configs by file.
    """
    for key in ('randomness.seed', 'load_from', 'resume'):
        if key in (args.cfg_options or {}):
            raise UserError(
                f"--cfg-options sets {key}, which is this tool's to choose "
                'for each run; give --seeds.'
            )
    cfgs = {}
    for path in args.configs:
        cfgs[path] = load_config(str(path), args.cfg_options)
        if cfgs[path].get('report') != 'test':
            raise UserError(
                f'{path} has no report="test": its results would be of '
                'another split.'
            )
    runs = []
    for seed in args.seeds:
        for path, cfg in cfgs.items():
            folder = args.work_dir / path.stem / f'seed_{seed}'
            run = Run(path, seed, folder, cfg.test_cfg.predict_on[0])
            check_unchanged(run, expand_config(cfg).pretty_text)
            runs.append(run)
    return runs, cfgs


def train(runs: list[Run], cfgs: dict, args) -> None:
    """Run what is not finished."""
    initial = args.work_dir / 'initial_weights'
    for seed in args.seeds:
        base = cfgs[args.configs[0]]
        write_initial_weights(base, seed, initial / f'seed_{seed}.pth')

    def command(run: Run) -> list[str]:
        return [
            *(sys.executable, str(TRAIN), str(run.config)),
            *('--work-dir', str(run.folder), '--resume', '--cfg-options'),
            f'randomness.seed={run.seed}',
            f'load_from={initial / f"seed_{run.seed}.pth"}',
            *args.typed_options,
        ]

    todo = [run for run in runs if not run.results.is_file()]
    print(
        f'{len(runs)} runs, {len(runs) - len(todo)} of them finished; '
        f'{args.jobs} at a time',
        flush=True,
    )
    Pool(args.jobs, args.threads, Progress(todo, args.jobs)).work(
        todo, command
    )


def compare(runs: list[Run], args) -> None:
    """Write the tables and the picture of what is finished."""
    comparison = VariantComparison(runs[0].variant, NOTE)
    for run in runs:
        if run.results.is_file():
            headlines = read_headlines(run.results, run.predict_on)
            comparison.add(run.variant, run.seed, headlines)
    if not comparison.metrics:
        return
    comparison.save(args.work_dir)
    picture = plot_variants(comparison, args.work_dir / 'ablation.png')
    print(comparison.markdown())
    print(f'{args.work_dir}: ablation.md, ablation.json, {picture.name}')


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--configs',
        nargs='+',
        type=Path,
        required=True,
        help='config files; the first is the base',
    )
    parser.add_argument('--seeds', nargs='+', type=int, required=True)
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs at a time (default: 1)'
    )
    parser.add_argument(
        '--threads', type=int, default=1, help='threads a run (default: 1)'
    )
    parser.add_argument(
        '--compare-only',
        action='store_true',
        help='write tables and picture of what is finished, run nothing',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeptOptions,
        help='change all configs: key=value, nested.key=value',
    )
    parser.set_defaults(typed_options=[])
    return parser.parse_args()


def interrupt(number, frame):
    raise KeyboardInterrupt


def main():
    args = parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    runs, cfgs = plan(args)
    try:
        if not args.compare_only:
            train(runs, cfgs, args)
    except KeyboardInterrupt:
        print('Stopped; the same command goes on.')
        return 130
    compare(runs, args)
    missing = [run for run in runs if not run.results.is_file()]
    for run in missing:
        print(f'{run.config} seed {run.seed} has no results: see {run.log}')
    return 1 if missing else 0


if __name__ == '__main__':
    run_tool(main)
