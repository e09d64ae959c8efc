"""Many trainings: configs by seeds, some at a time, what is done skipped."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import set_random_seed

from fx_mm.config import expand_config, load_config
from fx_mm.engine.pace import format_seconds
from fx_mm.evaluation.report.variant_comparison import read_headlines
from fx_mm.models import build_model
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


@dataclass
class Run:
    """One training.

    Args:
        config (Path): Its config file.
        seed (int): Of order and, unless it loads some, weights.
        folder (Path): Work directory.
        variant (str): Name that its results are compared under.
        options (Sequence[str]): ``key=value`` for ``--cfg-options``.
        data_root (str, optional): Folder that takes the place of ``data/``.
            Defaults to None.
        tool (Path, optional): What runs it. Defaults to None: what runs all.

    Attributes:
        seconds (float): What its last process took.
    """

    COST = 'cost.json'
    RESULTS = 'results.json'

    config: Path
    seed: int
    folder: Path
    variant: str
    options: Sequence[str] = ()
    data_root: str | None = None
    tool: Path | None = None
    seconds: float = field(default=0.0, init=False)

    @property
    def results(self) -> Path:
        """Path: A file that exists once the run is finished."""
        return self.folder / self.RESULTS

    @property
    def finished(self) -> bool:
        """bool: Whether there are results."""
        return self.results.is_file()

    @property
    def log(self) -> Path:
        """Path: Output of its processes."""
        return self.folder / 'run.log'

    @property
    def cost(self) -> dict[str, float]:
        """What its processes took; empty if that was not kept.

        Returns:
            dict[str, float]: ``seconds``, ``processor_seconds`` and
            ``peak_memory_gib`` of the largest process, loaders' workers not
            counted. The system never counts less than the process had that
            started it.
        """
        file = self.folder / self.COST
        if not file.is_file():
            return {}
        return json.loads(file.read_text(encoding='utf-8'))

    def add_cost(self, seconds: float, usage: resource.struct_rusage) -> None:
        """Keep what a process of it took.

        Args:
            seconds (float): By the clock.
            usage (struct_rusage): As of ``os.wait4``.
        """
        before = self.cost
        # in bytes on macOS
        unit = 2**30 if sys.platform == 'darwin' else 2**20
        memory = usage.ru_maxrss / unit
        cost = dict(
            seconds=before.get('seconds', 0) + seconds,
            processor_seconds=before.get('processor_seconds', 0)
            + usage.ru_utime
            + usage.ru_stime,
            peak_memory_gib=max(before.get('peak_memory_gib', 0), memory),
        )
        write_whole(self.folder / self.COST, json.dumps(cost) + '\n')

    def headlines(self) -> dict[str, float]:
        """Return the headline metrics of a finished run."""
        return read_headlines(self.results)

    def command(self, train: str | Path) -> list[str]:
        """Return the command line that runs or resumes it.

        Args:
            train (str | Path): Path of ``tools/train.py``.
        """
        tool = str(self.tool or train)
        words = [sys.executable, tool, str(self.config), '--resume']
        words += ['--work-dir', str(self.folder)]
        if self.data_root is not None:
            words += ['--data-root', self.data_root]
        if self.options:
            words += ['--cfg-options', *self.options]
        return words

    def check_unchanged(self, cfg: Config) -> None:
        """Refuse a folder with results of another config.

        Args:
            cfg (Config): The config that the run has now.

        Raises:
            UserError: Names the folder.
        """
        mark = self.folder / 'expanded_config.txt'
        text = expand_config(cfg).pretty_text
        known = mark.is_file() and has_started(self.folder)
        if known and mark.read_text(encoding='utf-8') != text:
            raise UserError(
                f'{self.folder} was run with another config than '
                f'{self.config} is now; remove it, or choose another '
                '--work-dir.'
            )
        write_whole(mark, text)


def load_compared_config(
    path: Path,
    options: Mapping[str, Any] | None = None,
    data_root: str | None = None,
    chosen: Iterable[str] = (),
    split: str = 'test',
) -> Config:
    """Read a config whose runs are compared by the results they report.

    Args:
        path (Path): The config file.
        options (Mapping, optional): Nested key to value. Defaults to None.
        data_root (str, optional): See :func:`load_config`. Defaults to None.
        chosen (Iterable[str]): Keys, or words of them, that a sweep sets for
            each run. Defaults to none.
        split (str): What the config must report. Defaults to ``test``.

    Raises:
        UserError: If the options have one of these keys, or the runs would
            report another split.
    """
    for key in options or {}:
        if any(own == key or own in key.split('.') for own in chosen):
            raise UserError(
                f'--cfg-options sets {key}, which this tool chooses for each '
                'run; remove it.'
            )
    cfg = load_config(str(path), dict(options or {}), data_root)
    if cfg.get('report', 'val') != split:
        raise UserError(
            f'{path} has no report="{split}": its results would be of another '
            'split.'
        )
    return cfg


def has_started(folder: Path) -> bool:
    """Say whether any run in a folder, or below it, was ever started."""
    names = ('run.log', Run.RESULTS)
    return any(True for name in names for _ in folder.rglob(name))


def write_run_config(
    cfg: Config, file: Path, folder: Path, source: Path
) -> None:
    """Write the config of runs, once they have started.

    Args:
        cfg (Config): The config.
        file (Path): Where it goes. A run writes the config that it had into
            its own folder under the same name, so it must not be there.
        folder (Path): Of the runs.
        source (Path): The file that it was made of, for the message.

    Raises:
        UserError: If runs of another one were started in the folder.
    """
    # ``pretty_text`` of mmengine takes a second for each
    text = ''.join(
        f'{key} = {pformat(value, sort_dicts=False)}\n'
        for key, value in cfg.to_dict().items()
    )
    known = file.is_file() and has_started(folder)
    if known and file.read_text(encoding='utf-8') != text:
        raise UserError(
            f'{file} is another config than {source} is now with the study; '
            f'remove {folder}, or choose another --work-dir.'
        )
    write_whole(file, text)


def write_initial_weights(
    cfg: Config, seed: int, file: Path, runs: Path
) -> None:
    """Initialise the student of a config and write its weights.

    They are loaded by name, so every variant starts with them as far as it
    has the modules. Once a run has started they stay.

    Args:
        cfg (Config): The experiment's config.
        seed (int): Of the weights.
        file (Path): Where they go.
        runs (Path): Folder of the runs that start with them.
    """
    if file.is_file() and has_started(runs):
        return
    # mmengine reports every weight otherwise
    MMLogger.get_current_instance().setLevel('ERROR')
    set_random_seed(seed)
    model = build_model(cfg)
    model.init_weights()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix('.tmp')
    torch.save(dict(state_dict=model.student.state_dict()), temporary)
    temporary.replace(file)


def sweep(
    runs: Sequence[Run], train: str | Path, jobs: int = 1, threads: int = 1
) -> list[Run]:
    """Run what is not finished, in order; what broke off is resumed.

    Prints one line per run. An interruption, also by SIGTERM, stops the
    processes, which then write a checkpoint.

    Args:
        runs (Sequence[Run]): All runs.
        train (str | Path): Path of ``tools/train.py``.
        jobs (int): Processes at a time. Defaults to 1.
        threads (int): Threads of each. Defaults to 1.

    Returns:
        list[Run]: Those without results: they failed.

    Raises:
        KeyboardInterrupt: If it was interrupted.
    """
    todo = [run for run in runs if not run.finished]
    print(
        f'{len(runs)} runs, {len(runs) - len(todo)} of them finished; '
        f'{jobs} at a time',
        flush=True,
    )
    pool = _Pool(jobs, threads, _ProgressLines(todo, jobs))
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        pool.work([(run, run.command(train)) for run in todo])
    except KeyboardInterrupt:
        print('Stopped; the same command continues.', flush=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
    return [run for run in runs if not run.finished]


class _Pool:
    """Processes of training, some at a time.

    Args:
        jobs (int): How many at a time.
        threads (int): Threads of each.
        report (Callable): Takes each run when its process has ended.
    """

    def __init__(
        self, jobs: int, threads: int, report: Callable[[Run], None]
    ) -> None:
        self.jobs = jobs
        self.env = dict(os.environ, **dict.fromkeys(THREADS, str(threads)))
        self.report = report
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def work(self, todo: Sequence[tuple[Run, list[str]]]) -> None:
        """Run command lines; an interruption stops those that are running."""
        executor = ThreadPoolExecutor(self.jobs)
        try:
            futures = [executor.submit(self._do, *each) for each in todo]
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
            usage = _wait(process)
            with self._lock:
                self._running.discard(process)
        run.seconds = time.perf_counter() - begin
        if usage is not None:
            run.add_cost(run.seconds, usage)
        if not self._stopped:
            self.report(run)


def _wait(
    process: subprocess.Popen[bytes],
) -> resource.struct_rusage | None:
    """Wait for a process; return what it took, None if that is not known."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:
        # while it was stopped, another thread has asked for its end
        process.wait()
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


class _ProgressLines:
    """One line per run, with the time that is left.

    Args:
        runs (Sequence[Run]): All that are to be done.
        jobs (int): How many at a time.
    """

    def __init__(self, runs: Sequence[Run], jobs: int) -> None:
        self.runs = runs
        self.jobs = jobs
        self._done: list[Run] = []

    def __call__(self, run: Run) -> None:
        """Print the line of a run whose process has ended."""
        self._done.append(run)
        state = f'FAILED, see {run.log}'
        if run.finished:
            state = 'done  ' + '  '.join(
                f'{name} {value:.3f}'
                for name, value in run.headlines().items()
            )
        print(
            f'[{len(self._done)}/{len(self.runs)}] {run.config.stem} '
            f'seed {run.seed}  {format_seconds(run.seconds)}  '
            f'ETA {format_seconds(self._eta())}  {state}',
            flush=True,
        )

    def _eta(self) -> float:
        """Add up what the same config took, or else the mean run."""
        times: dict[Path, list[float]] = {}
        for run in self._done:
            times.setdefault(run.config, []).append(run.seconds)
        means = {config: sum(t) / len(t) for config, t in times.items()}
        default = sum(means.values()) / len(means)
        left = (run for run in self.runs if run not in self._done)
        return sum(means.get(run.config, default) for run in left) / self.jobs
