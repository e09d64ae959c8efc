"""One line and one set of scalars per pass."""

import math
import re
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import LoggerHook
from mmengine.optim import OptimWrapper
from torch import Tensor

from fx_mm.datasets.samplers.pass_schedule import Pass
from fx_mm.engine.optimizers import MultiTaskOptimWrapper
from fx_mm.engine.pace import Pace, format_seconds
from fx_mm.engine.trackers.base import trackers_of
from fx_mm.registry import HOOKS
from fx_mm.tasks import MIXED, split_name
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

MINOR_LOSS = re.compile(r'd\d+\.|dn_|enc_')
"""Losses of DINO's inner layers, its denoising and its encoder: in the
scalars, but not in the line."""


@HOOKS.register_module()
class PassLogHook(LoggerHook):
    """Log each pass in one line: task, lock state, losses, pace, ETA.

    The line of a mixed pass gives the mean loss of each of its tasks. Scalars
    go to the visualizer's backends under the task's name
    (``phantom_b/loc/loss_bbox``), the step being the iteration; beside them
    the learning rates that were applied, ``lr`` and, where ``paramwise_cfg``
    multiplies it, ``lr/backbone`` and the like, and the mean norm of the
    gradients of each kind before they were clipped, ``grad_norm/loc`` and,
    in a lock pass, ``grad_norm/lock/loc``. The ETA adds
    the planned passes at each one's own pace: a localization step costs many
    times a classification step.

    Args:
        interval (int): Iterations between lines inside a pass, for long
            ones. Defaults to 500.
        check_interval (int): Iterations between checks that the loss is
            finite; a check waits for the device. Defaults to 50.

    Raises:
        UserError: If a loss is not finite.
    """

    def __init__(
        self, interval: int = 500, check_interval: int = 50, **kwargs: Any
    ) -> None:
        super().__init__(interval=interval, **kwargs)
        self.check_interval = check_interval
        self._pace = Pace()
        self._validation = Pace()
        self._start()

    def _start(self) -> None:
        """Start sums and clocks of a pass."""
        # of a task and the names of its losses: their sums
        self._sums: dict[str, dict[tuple[str, ...], Tensor]]
        self._sums = defaultdict(dict)
        self._counts: dict[str, Tensor | int] = defaultdict(int)
        # of kinds: the sum of their steps' gradient norms, and the steps
        self._norms: dict[str, tuple[Tensor | float, Tensor | int]] = {}
        self._count = 0
        self._window: list[tuple[str, dict[str, Any]]] = []
        self._data_seconds = 0.0
        self._begin = self._last = time.perf_counter()

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Open the trackers: a mistake shows before the first pass."""
        for tracker in trackers_of(runner):
            tracker.prepare(runner.iter)

    def before_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Start the pass's sums."""
        self._start()

    def before_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
    ) -> None:
        """Measure the wait for data."""
        self._data_seconds += time.perf_counter() - self._last

    def after_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any],
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Add the losses up on their device, but of skipped steps."""
        task = data_batch['data_samples'][0].task
        self._window.append((task, outputs or {}))
        if runner.train_loop.at_update:
            self._add_window(runner, batch_idx)
            self._window = []
        self._last = time.perf_counter()

    def _add_window(self, runner: 'MultiTaskRunner', batch_idx: int) -> None:
        """Add up what made one step, nothing if it was left out."""
        before = self._count
        left_out = getattr(runner.optim_wrapper, 'last_skipped', None)
        self._add_norm(runner.optim_wrapper, left_out)
        for task, outputs in self._window:
            values = torch.stack(
                [torch.as_tensor(x).detach().float() for x in outputs.values()]
            )
            taken: Tensor | int = 1
            if left_out is not None:
                # perhaps on the device, where reading it waits
                mask = left_out.to(values.device, non_blocking=True)
                values = values.masked_fill(mask, 0)
                taken = (~left_out).int()
            sums, names = self._sums[task], tuple(outputs)
            sums[names] = sums[names] + values if names in sums else values
            self._counts[task] = self._counts[task] + taken
            self._count += 1
        if self._count // self.check_interval > before // self.check_interval:
            self._check_finite(runner)
        if self._count // self.interval > before // self.interval:
            self._log(runner, f'{batch_idx + 1} of ')

    def _add_norm(
        self, wrapper: OptimWrapper, left_out: Tensor | None
    ) -> None:
        """Add the gradients' norm of a step up, on its device."""
        norm = getattr(wrapper, 'last_norm', None)
        if norm is None or left_out is None:
            return
        kinds = '+'.join(sorted({split_name(t)[1] for t, _ in self._window}))
        mask = left_out.to(norm.device, non_blocking=True) | ~norm.isfinite()
        total, count = self._norms.get(kinds, (0.0, 0))
        taken = norm.float().masked_fill(mask, 0)
        self._norms[kinds] = total + taken, count + (~mask).int()

    def after_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Write the pass's line and scalars."""
        if not any(self._counts.values()):
            return
        self._check_finite(runner)
        seconds = time.perf_counter() - self._begin
        self._pace.add(self._pass(runner), seconds, self._count)
        self._log(runner)
        entry = self._pass(runner)
        lock = '' if entry.mode == 'release' else f'{entry.mode}/'
        scalars = {
            f'{task}/{lock}{key}': value
            for task in self._sums
            for key, value in self._means(task).items()
        }
        scalars |= {
            f'grad_norm/{lock}{kind}': float(total) / int(count)
            for kind, (total, count) in self._norms.items()
            if int(count)
        }
        scalars |= _rates(runner.optim_wrapper)
        scalars['seconds_per_iter'] = seconds / self._count
        scalars['data_wait_share'] = self._data_seconds / seconds
        self._write(runner, scalars)

    def before_val(self, runner: 'MultiTaskRunner') -> None:
        """Start the clock of the validation."""
        self._val_begin = time.perf_counter()

    def after_val_epoch(
        self, runner: 'MultiTaskRunner', metrics: dict[str, float]
    ) -> None:
        """Write the validation's main figures and all its scalars."""
        seconds = time.perf_counter() - self._val_begin
        self._validation.add('val', seconds)
        main: dict[str, float] = {}
        for task in runner.tasks:
            for prefix in ('', *(f'{name}/' for name in PREDICTORS)):
                keys = [
                    key
                    for metric in task.kind.curves
                    if (key := f'{prefix}{task.name}/{metric}') in metrics
                ]
                has = [key for key in keys if math.isfinite(metrics[key])]
                main |= {key: metrics[key] for key in (*has, *keys)[:1]}
        figures = '  '.join(f'{k} {v:.3f}' for k, v in main.items())
        runner.logger.info(f'validation in {seconds:.0f} s: {figures}')
        self._write(runner, metrics)

    def after_test_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Leave the test's table to the report."""

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing per validation batch."""

    def after_test_iter(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing per test batch."""

    @staticmethod
    def _pass(runner: 'MultiTaskRunner') -> Pass:
        return runner.train_loop.current_pass

    @master_only
    def _write(
        self, runner: 'MultiTaskRunner', scalars: dict[str, float]
    ) -> None:
        runner.visualizer.add_scalars(
            scalars, step=runner.iter, file_path=self.json_log_path
        )

    def _means(self, task: str) -> dict[str, float]:
        """Mean losses of a task's steps, NaN if all were left out."""
        count = int(self._counts[task])
        sums: dict[str, float] = defaultdict(float)
        for names, values in self._sums[task].items():
            for name, value in zip(names, values.tolist()):
                sums[name] += value
        return {
            name: value / count if count else math.nan
            for name, value in sums.items()
        }

    def _check_finite(self, runner: 'MultiTaskRunner') -> None:
        for task in self._sums:
            loss = self._means(task).get('loss', 0.0)
            if int(self._counts[task]) and not math.isfinite(loss):
                raise UserError(
                    f'The loss of {task} is not finite near iteration '
                    f'{runner.iter}; lower optim_wrapper.optimizer.lr, '
                    'clip its gradients, or resume from the last checkpoint.'
                )

    def _log(self, runner: 'MultiTaskRunner', progress: str = '') -> None:
        loop, entry = runner.train_loop, self._pass(runner)
        seconds = (time.perf_counter() - self._begin) / self._count
        if entry.task == MIXED:
            losses = '  '.join(
                f'{task} loss {self._means(task)["loss"]:.3f}'
                for task in sorted(self._sums)
            )
        else:
            losses = ' '.join(
                f'{key} {value:.3f}'
                for key, value in self._means(entry.task).items()
                if not MINOR_LOSS.match(key)
            )
        runner.logger.info(
            f'cycle {loop.cycle + 1}/{loop.max_cycles}  '
            f'{entry.task:<16} {entry.mode:<8} '
            f'{progress}{len(runner.train_dataloader)} it  '
            f'{seconds:.3f} s/it  {losses}  ETA {self._eta(runner)}'
        )

    def _eta(self, runner: 'MultiTaskRunner') -> str:
        loop = runner.train_loop
        schedule = loop.schedule
        per_cycle = sum(
            self._pace.mean(entry) * length
            for entry, length in zip(schedule.passes, schedule.lengths)
        )
        cycle_end = (loop.cycle + 1) * schedule.passes_per_cycle
        rest = sum(
            self._pace.mean(schedule[i]) * schedule.length(i)
            for i in range(loop.epoch + 1, cycle_end)
        )
        left = loop.max_cycles - loop.cycle - 1
        seconds = rest + left * per_cycle
        seconds += loop.validations_left * self._validation.mean('val')
        return format_seconds(seconds)


def _rates(wrapper: OptimWrapper) -> dict[str, float]:
    """Return the learning rates by name; of another wrapper as mmengine."""
    if isinstance(wrapper, MultiTaskOptimWrapper):
        return wrapper.applied_rates()
    return {name: rates[0] for name, rates in wrapper.get_lr().items()}
