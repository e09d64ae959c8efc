"""What a stage is given, and what it reports."""

import contextlib
import math
import runpy
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]
"""``name``, ``kind`` (check, goal, figure or note), ``value`` and, where there
are such, ``unit``, ``bound``, ``passed`` and ``error``."""
STOP_SECONDS = 10
"""What a program has to end by itself after SIGTERM."""


@dataclass
class Job:
    """One run of a stage.

    A *check* must be met; a *goal* is shown beside what was measured; a
    *figure* is measured alone. Each is handed over at once, so that what a
    stage has found outlives it.

    Args:
        device (str): ``'cuda'`` or ``'cpu'``.
        tiny (bool): Whether sizes are cut to seconds: the figures then mean
            nothing, but every line has run.
        end (float): When the stage is stopped, as of ``time.time()``.
        home (Path): Folder of ``configs`` and ``tools``.
        work (Path): Folder of what runs leave behind.
        earlier (Mapping[str, Sequence[Result]]): Results of earlier stages.
        report (Callable): Takes each result.
    """

    device: str
    tiny: bool
    end: float
    home: Path
    work: Path
    earlier: Mapping[str, Sequence[Result]]
    report: Callable[[Result], None]

    @property
    def left(self) -> float:
        """float: Seconds until the stage is stopped."""
        return self.end - time.time()

    def check(
        self, name: str, value: float, limit: float, unit: str = ''
    ) -> None:
        """Report a number that must not be above a limit, nor NaN."""
        bound, passed = f'<= {limit:g}', bool(value <= limit)
        self._report('check', name, value, unit, bound=bound, passed=passed)

    def require(self, name: str, passed: bool, text: str = '') -> None:
        """Report what must be true, and what there is to say about it."""
        self._report('check', name, text, passed=bool(passed))

    def figure(
        self, name: str, value: float, unit: str = '', goal: str = ''
    ) -> None:
        """Report what was measured.

        Args:
            name (str): What it is.
            value (float): The number.
            unit (str): Its unit. Defaults to none.
            goal (str): Such as ``'<= 0.6'``. Defaults to none.
        """
        if not goal:
            self._report('figure', name, value, unit)
            return
        sign, bound = goal.split()
        reached = (
            value <= float(bound) if sign == '<=' else (value >= float(bound))
        )
        self._report(
            'goal', name, value, unit, bound=goal, passed=bool(reached)
        )

    def note(self, name: str, text: str) -> None:
        """Report a text."""
        self._report('note', name, text)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Report an error inside of a ``with`` as a failed check, and go on.

        Args:
            name (str): What was tried.
        """
        try:
            yield
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self._report(
                'check', name, '', passed=False, error=last_line(error)
            )

    def call(self, words: Sequence[Any]) -> float:
        """Run a program whose output goes to the log.

        It is stopped, by SIGTERM at first, before the stage would be.

        Args:
            words (Sequence): Program and arguments; one that
                ends with ``.py`` is a tool below :attr:`home`.

        Returns:
            float: Seconds that it took.

        Raises:
            RuntimeError: If it fails, or is stopped.
        """
        command = [str(word) for word in words]
        name = Path(command[0]).name
        if command[0].endswith('.py'):
            command = [sys.executable, str(self.home / command[0])] + (
                command[1:]
            )
        begin = time.perf_counter()
        process = subprocess.Popen(command)
        try:
            code = process.wait(max(self.left - 2 * STOP_SECONDS, 1))
        except subprocess.TimeoutExpired:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            process.wait()
            raise RuntimeError(f'{name} took too long') from None
        seconds = time.perf_counter() - begin
        if code:
            raise RuntimeError(f'{name} failed with code {code}, see the log')
        return seconds

    def run_tool(self, words: Sequence[Any]) -> None:
        """Run a tool in this process, which need not import all again.

        Args:
            words (Sequence): A file below :attr:`home`, and arguments.

        Raises:
            RuntimeError: If it fails.
        """
        file, *arguments = map(str, words)
        before = sys.argv
        sys.argv = [file, *arguments]
        try:
            runpy.run_path(str(self.home / file), run_name='__main__')
        except SystemExit as end:
            if end.code:
                raise RuntimeError(
                    f'{Path(file).name} failed with code {end.code}, see the '
                    'log'
                ) from end
        finally:
            sys.argv = before

    def _report(
        self, kind: str, name: str, value: Any, unit: str = '', **more: Any
    ) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            value = str(value)  # JSON has no NaN
        self.report(dict(name=name, kind=kind, value=value, unit=unit, **more))


def last_line(error: BaseException) -> str:
    """Return type and last line of an error."""
    lines = str(error).strip().splitlines() or ['without a word']
    return f'{type(error).__name__}: {lines[-1]}'
