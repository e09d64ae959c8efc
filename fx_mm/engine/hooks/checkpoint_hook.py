"""Checkpoints that a kill cannot spoil and a changed config cannot fool."""

import contextlib
import math
import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from fx_mm.engine.hooks.best import read_save_best
from fx_mm.engine.resume import (
    check_weights,
    describe_draws,
    describe_schedule,
    match_weights,
    move_checkpoint,
)
from fx_mm.registry import HOOKS
from fx_mm.utils.checkpoint import (
    ATOMIC_BACKEND,
    LAST_CHECKPOINT,
    check_meta,
    config_diff,
    find_checkpoint,
    list_checkpoints,
)
from fx_mm.utils.dist import unwrap
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

UNITS = ('cycle', 'pass', 'iter')


@contextlib.contextmanager
def write_errors(folder: str | Path, name: str):
    """Say in one sentence that a file could not be written.

    Raises:
        UserError: With the reason, such as a full disk, and what is left.
    """
    try:
        yield
    except OSError as error:
        before = find_checkpoint(folder)
        left = (
            f'the previous checkpoint {os.path.basename(before)} is intact: '
            'make room and go on with --resume'
            if before
            else 'there is no checkpoint before it'
        )
        raise UserError(
            f'{Path(folder) / name} cannot be written ({error.strerror}); '
            f'{left}.'
        ) from error


@HOOKS.register_module()
class CyclicCheckpointHook(Hook):
    """Save every N cycles, passes or iterations, and on a stop signal.

    A file is written beside its place, synced and renamed, then pointed to,
    and only then are older ones pruned: a kill at any moment leaves at least
    one whole checkpoint. Its meta holds the task table, by which heads are
    matched later.

    Args:
        interval (int): Defaults to 1.
        unit (str): ``cycle``, ``pass`` or ``iter``. Defaults to ``cycle``.
        max_keep_ckpts (int): How many to keep. Defaults to 2.
        save_best (str, dict or list, optional): A validation result, such
            as ``phantom_b/loc/mAP_40``; its best weights are kept without
            the optimizer in ``best.pth``. Higher is better. A list keeps one
            file each, ``best_phantom_b_loc_mAP_40.pth``; a
            ``dict(name='mean', of=[...])`` means the average of several
            results, in ``best_mean.pth``. Defaults to None.

    Raises:
        UserError: If ``unit`` is unknown, ``save_best`` is malformed or no
            result of the validation, a loaded checkpoint does not fit the
            config, or a file cannot be written.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        unit: str = 'cycle',
        max_keep_ckpts: int = 2,
        save_best: str | dict | list | None = None,
    ) -> None:
        if unit not in UNITS or interval < 1 or max_keep_ckpts < 1:
            raise UserError(
                f'The checkpoint hook has interval={interval}, '
                f'unit="{unit}" and max_keep_ckpts={max_keep_ckpts}; the '
                'unit is cycle, pass or iter and the numbers are at least 1.'
            )
        self.interval = interval
        self.unit = unit
        self.max_keep_ckpts = max_keep_ckpts
        self.best = read_save_best(save_best)
        self._due = False

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Save every N iterations."""
        if self.unit == 'iter' and (runner.iter + 1) % self.interval == 0:
            self._due = True
        # gradients that wait for more are in no checkpoint
        if self._due and runner.train_loop.at_update:
            self._due = False
            self._save(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        """Save every N passes or cycles, and at the end."""
        every = self.interval
        if self.unit == 'cycle':
            every *= runner.train_loop.schedule.passes_per_cycle
        last = runner.epoch + 1 == runner.max_epochs
        due = self.unit != 'iter' and (runner.epoch + 1) % every == 0
        if due or last:
            self._save(runner, runner.epoch + 1, runner.iter)

    def after_stop_signal(self, runner) -> None:
        """Save where a signal stopped the training."""
        self._save(runner, runner.epoch, runner.iter)

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Remember what is validated, and keep the best."""
        hub = runner.message_hub
        hub.update_info('validated_pass', runner.epoch)
        for best in self.best:
            value = best.value(metrics)
            if math.isnan(value):
                runner.logger.warning(
                    f'checkpoint.save_best: {best.name} is undefined in this '
                    'validation and cannot be the best.'
                )
            elif value > hub.runtime_info.get(best.key, -math.inf):
                hub.update_info(best.key, value)
                runner.logger.info(f'best {best.name}: {value:.4f}')
                self._write(
                    runner,
                    best.file,
                    dict(epoch=runner.epoch, iter=runner.iter),
                    save_optimizer=False,
                    save_param_scheduler=False,
                )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the task table to the meta."""
        checkpoint['meta']['tasks'] = [task.meta for task in runner.tasks]
        schedule = runner.train_loop.schedule
        checkpoint['meta']['schedule'] = describe_schedule(schedule)
        checkpoint['meta']['draws'] = describe_draws(runner)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse other classes, show a changed config, restore marks."""
        check_meta(checkpoint, runner.tasks)
        weights = checkpoint.get('state_dict', checkpoint)
        model = unwrap(runner.model)
        if not runner.resumed:
            check_weights(weights, model)
            return
        seed = checkpoint['meta'].get('seed')
        if seed is not None:
            # the Runner takes it over too
            runner.train_loop.sampler.reseed(seed)
        moved = move_checkpoint(checkpoint, runner)
        if moved:
            runner.logger.warning(moved)
        tasks = [meta['task'] for meta in checkpoint['meta']['tasks']]
        matched = match_weights(weights, model, tasks)
        if matched:
            runner.logger.warning(f'Weights of the checkpoint {matched}.')
        before = checkpoint['meta'].get('cfg', '')
        diff = config_diff(before, runner.cfg.pretty_text)
        if diff:
            runner.logger.warning(
                'The config differs from the one of the checkpoint '
                f'(- checkpoint, + now):\n{diff}'
            )

    def before_train(self, runner) -> None:
        """Tell the validation loop what was validated before a resume.

        Raises:
            UserError: If ``save_best`` is of a task that is not validated.
        """
        for best in self.best:
            best.check(runner.val_loop)
        done = runner.message_hub.runtime_info.get('validated_pass', 0)
        if runner.val_loop is not None and runner.iter:
            # in another cycle, the position may have moved back
            runner.val_loop.validated_pass = min(done, runner.epoch)

    def _save(self, runner, epoch: int, iteration: int) -> None:
        name = f'iter_{iteration}.pth'
        self._write(runner, name, dict(epoch=epoch, iter=iteration))
        if not is_main_process():
            return
        folder = Path(runner.work_dir)
        with write_errors(folder, LAST_CHECKPOINT):
            write_whole(folder / LAST_CHECKPOINT, name)
        # By age: a run that begins anew in an old folder has lower numbers.
        files = sorted(
            list_checkpoints(folder), key=lambda f: f.stat().st_mtime_ns
        )
        for old in files[: -self.max_keep_ckpts]:
            if old.name != name:
                os.remove(old)

    @staticmethod
    def _write(runner, name: str, meta: dict, **kwargs) -> None:
        optimizer = runner.optim_wrapper.optimizer
        if hasattr(optimizer, 'gather_state'):
            optimizer.gather_state()
        with write_errors(runner.work_dir, name):
            runner.save_checkpoint(
                runner.work_dir,
                name,
                meta=meta,
                backend_args=dict(backend=ATOMIC_BACKEND),
                **kwargs,
            )
