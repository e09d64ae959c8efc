"""Run the stages, each in a process of its own, as long as there is time."""

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fx_mm.analysis.gpu_check.job import Result
from fx_mm.analysis.gpu_check.process import best_method, run_apart
from fx_mm.analysis.gpu_check.report import render
from fx_mm.analysis.gpu_check.stages import Stage
from fx_mm.analysis.reports import write_json
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.version import __version__

LEAST_SECONDS = 10
"""With less than that, no stage is begun."""
REPORT, TABLE, LOG = 'gpu_check.json', 'gpu_check.md', 'log.txt'
DONE, RUNNING, FAILED = 'done', 'running', 'failed'


@dataclass
class Checks:
    """Runs stages and keeps the report, a table and a log in a folder.

    Args:
        stages (Sequence[Stage]): In order of worth.
        out (Path): The folder; what it holds is gone on with.
        home (Path): Folder of ``configs`` and ``tools``.
        work (Path): Folder of what runs leave behind.
        device (str): ``'cuda'`` or ``'cpu'``.
        tiny (bool): Whether sizes are cut to seconds.

    Raises:
        UserError: If the folder's report is of another device, or cannot be
            read.
    """

    stages: Sequence[Stage]
    out: Path
    home: Path
    work: Path
    device: str = 'cuda'
    tiny: bool = False

    def __post_init__(self) -> None:
        self.report = self._read()

    @property
    def passed(self) -> bool:
        """bool: Whether all stages ran to their ends, all checks met."""
        return all(
            _passed(self._entry(stage)) or stage.optional
            for stage in self.stages
        )

    def run(self, seconds: float) -> bool:
        """Run what has not passed yet, and write the table.

        Args:
            seconds (float): What all stages may take together.

        Returns:
            bool: :attr:`passed`.
        """
        end = time.monotonic() + seconds
        self._method = best_method(self.device)
        handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for stage in self.stages:
                if _passed(self._entry(stage)):
                    continue
                left = end - time.monotonic()
                # a rehearsal may meet a busy machine
                limit = left if self.tiny else min(left, stage.seconds)
                if left >= LEAST_SECONDS:
                    self._run(stage, limit)
        finally:
            signal.signal(signal.SIGTERM, handler)
            write_whole(self.out / TABLE, self.table(markdown=True) + '\n')
        return self.passed

    def table(self, markdown: bool = False) -> str:
        """Return a table of all results, aligned or in Markdown."""
        return render(self.report, [s.name for s in self.stages], markdown)

    def _run(self, stage: Stage, seconds: float) -> None:
        entry: dict[str, Any] = dict(state=RUNNING, results=[])
        self.report['stages'][stage.name] = entry
        begin = time.monotonic()

        def add(result: Result) -> None:
            entry['results'].append(result)
            self._write()

        self._write()
        print(f'{stage.name} ...', flush=True)
        try:
            error = run_apart(
                stage,
                seconds,
                self.out / LOG,
                add,
                self._method,
                device=self.device,
                tiny=self.tiny,
                home=self.home,
                work=self.work,
                earlier={
                    name: other['results']
                    for name, other in self.report['stages'].items()
                },
            )
            entry.update(state=FAILED if error else DONE)
            if error:
                entry['error'] = error
        finally:
            entry['seconds'] = round(time.monotonic() - begin, 1)
            self._write()
        state = 'passed' if _passed(entry) else f'FAILED, see {self.out / LOG}'
        print(f'{stage.name}: {state}, {entry["seconds"]:.0f} s', flush=True)

    def _entry(self, stage: Stage) -> dict[str, Any]:
        return self.report['stages'].get(stage.name, {})

    def _read(self) -> dict[str, Any]:
        ours = dict(device=self.device, tiny=self.tiny)
        file = self.out / REPORT
        if not file.exists():
            self.out.mkdir(parents=True, exist_ok=True)
            return dict(ours, fx_mm=__version__, stages={})
        try:
            report = json.loads(file.read_text(encoding='utf-8'))
            theirs = {key: report[key] for key in ours}
            report['stages'] = dict(report['stages'])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f'{file} is no report of this tool ({error}); remove it, or '
                'choose another --out.'
            ) from error
        if theirs != ours:
            raise UserError(
                f'{file} is of {theirs}, and this run of {ours}; choose '
                'another --out.'
            )
        return report

    def _write(self) -> None:
        write_json(self.out / REPORT, self.report)


def _passed(entry: dict[str, Any]) -> bool:
    return entry.get('state') == DONE and all(
        result['passed']
        for result in entry['results']
        if result['kind'] == 'check'
    )
