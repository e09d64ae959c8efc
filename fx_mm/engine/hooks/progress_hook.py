"""A progress bar on a terminal."""

import atexit
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from fx_mm.registry import HOOKS

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


class AboveBar:
    """Where a log handler writes while the bar is there.

    A line that went to the terminal past rich would stand in the bar. Lines
    are not wrapped: what is copied from the terminal is what was logged.

    Args:
        console (Console): The bar's.
        stream (TextIO): The handler's own stream.
    """

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console = console
        self._stream = stream

    def write(self, text: str) -> int:
        """Print above the bar."""
        self._console.print(Text.from_ansi(text.rstrip('\n')), soft_wrap=True)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show where the run and its current pass are, on a terminal.

    Only the main process draws, and only on a terminal; elsewhere the hook
    does nothing and the log has its plain lines alone. The bar is drawn from
    the training's own thread, so no lock of a drawing thread can be held
    while the loader's workers are forked.

    Args:
        seconds (float): The bar is drawn at most this often. Defaults to
            0.25.
    """

    priority = 'LOWEST'

    def __init__(self, seconds: float = 0.25) -> None:
        self.seconds = seconds
        self._console: Console | None = None
        self._progress: Progress | None = None
        self._handlers: list[tuple[logging.StreamHandler, TextIO]] = []
        self._drawn = 0.0

    def before_run(self, runner: 'MultiTaskRunner') -> None:
        """Check whether there is a terminal to draw on."""
        console = Console()
        looked_at = console.is_terminal and not console.is_dumb_terminal
        if looked_at and is_main_process():
            self._console = console

    def after_run(self, runner: 'MultiTaskRunner') -> None:
        """Take the bar away."""
        self._stop()
        self._console = None

    def after_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Any = None,
    ) -> None:
        """Draw the position in the run and in the pass."""
        if self._skip():
            return
        loop = runner.train_loop
        entry = loop.current_pass
        self._draw(
            runner.logger,
            f'cycle {loop.cycle + 1}/{loop.max_cycles}  {entry.task} '
            f'{entry.mode} {batch_idx + 1}/{len(runner.train_dataloader)}',
            runner.iter + 1,
            runner.max_iters,
        )

    def after_val_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Any = None,
    ) -> None:
        """Draw the position in the validation."""
        if not self._skip():
            total = len(runner.val_dataloader)
            self._draw(runner.logger, 'validation', batch_idx + 1, total)

    def after_test_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Any = None,
    ) -> None:
        """Draw the position in the test."""
        if not self._skip():
            total = len(runner.test_dataloader)
            self._draw(runner.logger, 'test', batch_idx + 1, total)

    def _skip(self) -> bool:
        if self._console is None:
            return True
        return time.monotonic() - self._drawn < self.seconds

    def _draw(
        self, logger: logging.Logger, text: str, done: int, total: int
    ) -> None:
        progress = self._progress or self._start(logger)
        self._drawn = time.monotonic()
        progress.update(
            self._bar,
            description=text,
            completed=done,
            total=total,
            visible=True,
        )
        progress.refresh()

    def _start(self, logger: logging.Logger) -> Progress:
        """Put the bar at the bottom, and the log above it."""
        console = self._console or Console()
        progress = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._bar = progress.add_task('', visible=False)
        for handler in logger.handlers:
            if type(handler) is not logging.StreamHandler:
                continue
            stream = handler.stream
            if stream.isatty():
                handler.setStream(AboveBar(console, stream))
                self._handlers.append((handler, stream))
        progress.start()
        self._progress = progress
        # An error ends the run without any hook being called.
        atexit.register(self._stop)
        return progress

    def _stop(self) -> None:
        if self._progress is None:
            return
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._progress.stop()
        self._progress, self._handlers = None, []
        atexit.unregister(self._stop)
