"""Training in cycles of passes."""

import contextlib
import random
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from fx_mm.datasets.samplers.pass_schedule import Pass
from fx_mm.engine.process_failures import (
    STOP_SIGNALS,
    is_lost_rank,
    lost_processes,
    tie_workers,
)
from fx_mm.models.mean_teacher import bare_model
from fx_mm.registry import LOOPS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import MIXED, split_name
from fx_mm.utils.checks import check_choice, check_number
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

VAL_UNITS = ('cycle', 'pass')


class _Step(NamedTuple):
    """A step of the optimizer.

    Attributes:
        left_out (Tensor): Whether it was left out, a bool on the device.
        place (str): Task, iteration and pass, for a message.
        images (list[str]): Which made its gradients, of this process.
    """

    left_out: torch.Tensor
    place: str
    images: list[str]


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed every generator from (seed, rank, iteration).

    DropPath, dropout and the denoising queries draw from the global
    generators. Seeded before each iteration they need not be stored, and a
    resumed run draws what the uninterrupted one would have drawn.
    """
    state = np.random.SeedSequence([seed, rank, iteration]).generate_state(2)
    random.seed(int(state[0]))
    np.random.seed(state[0])
    torch.manual_seed(int(state[1]))


@LOOPS.register_module()
class CyclicTrainLoop(BaseLoop):
    """Walk the tasks in cycles of passes (Foundation X, Lock-Release).

    mmengine's *epoch* is a pass: ``before_train_epoch`` and
    ``after_train_epoch`` of every hook fire at its borders. One iterator over
    one endless loader serves the whole run, so workers start once and
    prefetch across the borders.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): With a ``CyclicBatchSampler``.
        max_cycles (int): Length of the training.
        val_interval (int): Cycles, or passes, between validations; the end
            is always validated. Defaults to 1.
        val_unit (str): ``cycle`` or ``pass``. Defaults to ``cycle``.
        max_unreadable_ratio (float): Share of unreadable images, of all,
            above which training stops. Defaults to 0.001.
        max_nonfinite_steps (int): Steps in a row that may be left out because
            their gradients are not finite, before training stops. Defaults to
            10.
        tasks (str | list[str], optional): Tasks to train, which the config's
            expansion makes the loader for; the others are evaluated alone.
            Defaults to None, all.

    Raises:
        UserError: If too many images cannot be read, or too many steps in a
            row are not finite.

    Attributes:
        skipped (int): Steps left out in a row, as far as is known.
        settle_interval (int): Steps after which it is made known, see
            :meth:`settle`. On a GPU ``max_nonfinite_steps``, else 1; at the
            end of a pass and before a checkpoint it is done as well.
    """

    def __init__(
        self,
        runner: 'MultiTaskRunner',
        dataloader: DataLoader | dict[str, Any],
        max_cycles: int,
        val_interval: int = 1,
        val_unit: str = 'cycle',
        max_unreadable_ratio: float = 0.001,
        max_nonfinite_steps: int = 10,
        tasks: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        tie_workers(self.dataloader, self)
        self.sampler = self.dataloader.batch_sampler
        self.schedule = self.sampler.schedule
        for key, value in (
            ('max_cycles', max_cycles),
            ('val_interval', val_interval),
            ('max_nonfinite_steps', max_nonfinite_steps),
        ):
            check_number(f'train_cfg.{key}', value, 1, whole=True)
        check_number(
            'train_cfg.max_unreadable_ratio', max_unreadable_ratio, 0, 1
        )
        check_choice('train_cfg.val_unit', val_unit, VAL_UNITS)
        self.max_cycles = int(max_cycles)
        self.val_interval = val_interval
        if val_unit == 'cycle':
            self.val_interval *= self.schedule.passes_per_cycle
        self.max_unreadable_ratio = max_unreadable_ratio
        self.max_nonfinite_steps = max_nonfinite_steps
        self.stop_training = False
        self.stopped_by: str | None = None
        self._epoch = 0
        self._iter = 0
        self._bad_images: dict[str, str] = {}
        self._waiting: list[FXDataSample] = []
        self._steps: list[_Step] = []
        self._last_place = ''
        self.skipped = 0
        # where the host must wait for what the device knows
        on_cpu = next(runner.model.parameters()).device.type == 'cpu'
        self.settle_interval = 1 if on_cpu else int(max_nonfinite_steps)

    @property
    def max_epochs(self) -> int:
        """int: Passes of the whole run."""
        return self.max_cycles * self.schedule.passes_per_cycle

    @property
    def max_iters(self) -> int:
        """int: Iterations of the whole run."""
        return self.max_cycles * self.schedule.iters_per_cycle

    @property
    def epoch(self) -> int:
        """int: Number of the current pass."""
        return self._epoch

    @property
    def iter(self) -> int:
        """int: Iterations consumed."""
        return self._iter

    @property
    def cycle(self) -> int:
        """int: Number of the current cycle."""
        return self._epoch // self.schedule.passes_per_cycle

    @property
    def ended(self) -> bool:
        """bool: Whether no more is to be trained: the end, or a hook's stop.

        After a signal the run is to go on.
        """
        stopped = self.stop_training and not self.stopped_by
        return stopped or self._iter >= self.max_iters

    @property
    def at_update(self) -> bool:
        """bool: Whether no gradient waits to be accumulated further."""
        return getattr(self.runner.optim_wrapper, 'at_update', True)

    @property
    def validations_left(self) -> int:
        """int: Validations after the current pass and all later ones."""
        ends = -(-self.max_epochs // self.val_interval)
        return ends - self._epoch // self.val_interval

    @property
    def current_pass(self) -> Pass:
        """Pass: Task and mode of the current pass."""
        return self.schedule[self._epoch]

    @lost_processes()
    def run(self) -> torch.nn.Module:
        """Train until ``max_cycles``, a stop signal or a hook's stop."""
        self.runner.call_hook('before_train')
        # A checkpoint is written before the validation that follows it, so a
        # kill in between must not lose that validation.
        if self._iter and self._validation_is_due():
            self.runner.val_loop.run()
        self.sampler.start = self._iter
        with self._stop_signals():
            batches = None
            while self._epoch < self.max_epochs and not self.stop_training:
                if batches is None:
                    batches = iter(self.dataloader)
                try:
                    self.run_epoch(batches)
                except (RuntimeError, ConnectionError) as error:
                    # A signal to the whole process group ends the loader's
                    # workers too, at any point of a step.
                    if not self.stopped_by or is_lost_rank(error):
                        raise
                    self.stop_training = True
                    self.runner.logger.warning(
                        f'Stopped by {self.stopped_by}, which ended the '
                        "loader's workers as well: the last checkpoint "
                        f'stands ({error}).'
                    )
                if not self.stop_training and self._validation_is_due():
                    self.runner.val_loop.run()
        if not self.stopped_by:
            if self.stop_training:
                self.runner.call_hook('after_stop_signal')
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self, batches: Iterator[dict[str, Any]]) -> None:
        """Walk one pass, or what is left of it after a resume."""
        done = self._iter - self.schedule.start(self._epoch)
        self.begin_pass(self._epoch, done)
        for index in range(done, self.schedule.length(self._epoch)):
            self.run_iter(index, next(batches))
            if self._stop_requested() and self.at_update:
                self._save_and_stop()
                return
        self._share_bad_images()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def go_to(self, index: int) -> None:
        """Let :meth:`run` begin with a pass; for hooks, before training.

        Args:
            index (int): Number of the pass, counted from the run's start.
        """
        self._epoch, self._iter = index, self.schedule.start(index)

    def begin_pass(self, index: int, done: int = 0) -> None:
        """Bring model, optimizer and hooks into the state of a pass.

        Args:
            index (int): Number of the pass, counted from the run's start.
            done (int): Iterations of it that are over. Defaults to 0.
        """
        self._epoch = self.sampler.current_pass = index
        self._iter = self.schedule.start(index) + done
        self._waiting = []
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        wrapper = self.runner.optim_wrapper
        if hasattr(wrapper, 'begin_pass'):
            task = self.current_pass.task
            kind = None if task == MIXED else split_name(task)[1]
            wrapper.begin_pass(kind, done, self.schedule.length(index))

    def begin_step(self, data_batch: dict[str, Any]) -> None:
        """Tell the optimizer the task of the batch, in a mixed pass."""
        wrapper = self.runner.optim_wrapper
        if self.current_pass.task == MIXED and hasattr(wrapper, 'begin_step'):
            wrapper.begin_step(data_batch['data_samples'][0].task)

    def run_iter(self, index: int, data_batch: dict[str, Any]) -> None:
        """Run one training step."""
        runner = self.runner
        seed_iteration(self.sampler.seed, self.sampler.rank, self._iter)
        self._count_bad_images(data_batch['data_samples'])
        runner.call_hook(
            'before_train_iter', batch_idx=index, data_batch=data_batch
        )
        self.begin_step(data_batch)
        outputs = runner.model.train_step(
            data_batch, optim_wrapper=runner.optim_wrapper
        )
        self._note_step(data_batch['data_samples'])
        ends = index + 1 == self.schedule.length(self._epoch)
        if ends or len(self._steps) >= self.settle_interval:
            self.settle()
        runner.call_hook(
            'after_train_iter',
            batch_idx=index,
            data_batch=data_batch,
            outputs=outputs,
        )
        self._iter += 1
        if self.skipped == self.max_nonfinite_steps:
            self._give_up()

    def _note_step(self, samples: Sequence[FXDataSample]) -> None:
        """Remember of what a step was made, until it is known to be finite."""
        self._waiting += samples
        if not self.at_update:
            return
        flag = getattr(self.runner.optim_wrapper, 'last_skipped', None)
        if flag is not None:
            place = (
                f'{samples[0].task}, iteration {self._iter + 1} of pass '
                f'{self._epoch + 1}'
            )
            images = [str(sample.img_id) for sample in self._waiting]
            self._steps.append(_Step(flag, place, images))
        self._waiting = []

    def settle(self) -> None:
        """Learn which of the last steps were left out, and report them.

        Reading the flags waits for the device. Until then running statistics
        may hold what is not finite, which the teacher does not take over. All
        processes must call it.
        """
        steps, self._steps = self._steps, []
        flags = [bool(step.left_out) for step in steps]
        for left_out, step in zip(flags, steps):
            if left_out:
                self._report_skipped(step)
            if self.skipped < self.max_nonfinite_steps:
                self.skipped = self.skipped + 1 if left_out else 0
                self._last_place = step.place
        if any(flags):
            # The forward has moved running statistics before anything was
            # known; a hook may copy them.
            bare_model(self.runner.model).restore_buffers()

    def _report_skipped(self, step: '_Step') -> None:
        # One rank's image is enough to spoil the step of all.
        names = all_gather_object(step.images)
        images = ', '.join(name for rank in names for name in rank)
        self.runner.logger.warning(
            f'{step.place}: the loss or its gradients are not finite, the '
            f'step is left out (images: {images})'
        )

    def _give_up(self) -> None:
        """Stop after too many steps that were left out.

        Raises:
            UserError: In any case.
        """
        runner = self.runner
        weights = bare_model(runner.model).student.parameters()
        if all(weight.isfinite().all() for weight in weights):
            runner.call_hook('after_stop_signal')
        raise UserError(
            f'{self._last_place}: {self.skipped} steps in a row had a loss or '
            'gradients that are not finite and were left out; look at these '
            'images, lower optim_wrapper.optimizer.lr or clip its gradients, '
            'and go on from the last checkpoint with --resume.'
        )

    def _validation_is_due(self) -> bool:
        """Return whether a validation is due after the last pass."""
        if self.runner.val_loop is None or self._epoch == 0:
            return False
        if self.runner.val_loop.validated_pass >= self._epoch:
            return False
        at_end = self._epoch == self.max_epochs
        return at_end or self._epoch % self.val_interval == 0

    def _count_bad_images(self, data_samples: Sequence[FXDataSample]) -> None:
        found = [
            (sample.task, sample.metainfo.get('replaced'))
            for sample in data_samples
        ]
        self._note_bad_images([entry for entry in found if entry[1]])

    def _share_bad_images(self) -> None:
        """Note what other ranks could not read in this pass."""
        if self.sampler.world_size > 1:
            ours = [(task, bad) for bad, task in self._bad_images.items()]
            for theirs in all_gather_object(ours):
                self._note_bad_images(theirs)

    def _note_bad_images(self, found: Sequence[tuple[str, str]]) -> None:
        for task, bad in found:
            if bad not in self._bad_images:
                self._bad_images[bad] = task
                self.runner.logger.warning(
                    f'{task}: an unreadable image was replaced by '
                    f'another of the task: {bad}'
                )
        allowed = self.max_unreadable_ratio * len(self.dataloader.dataset)
        if self._bad_images and len(self._bad_images) > allowed:
            raise UserError(
                f'{len(self._bad_images)} images cannot be read, more than '
                'train_cfg.max_unreadable_ratio='
                f'{self.max_unreadable_ratio} allows; fix or remove them, or '
                'raise it. The last: '
                f'{next(reversed(self._bad_images))}'
            )

    @contextlib.contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Catch SIGTERM and SIGUSR1 (SLURM) while training."""

        def remember(number: int, frame: FrameType | None) -> None:
            self.stopped_by = signal.Signals(number).name

        before: dict[signal.Signals, Any] = {}
        try:
            for number in STOP_SIGNALS:
                before[number] = signal.signal(number, remember)
        except ValueError:
            # Only the main thread may set handlers; elsewhere the program
            # around the runner owns the signals.
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_requested(self) -> bool:
        """Return whether any rank was signalled: all must stop together."""
        if self.sampler.world_size == 1:
            return bool(self.stopped_by)
        flag = torch.tensor(float(bool(self.stopped_by)))
        all_reduce(flag, op='max')
        if flag.item() and not self.stopped_by:
            self.stopped_by = 'a signal to another process'
        return bool(flag.item())

    def _save_and_stop(self) -> None:
        self.stop_training = True
        self.settle()
        self.runner.call_hook('after_stop_signal')
        self.runner.logger.info(
            f'Stopped by {self.stopped_by} after iteration {self._iter}; '
            'go on with --resume.'
        )
