"""Checkpoints that a kill cannot spoil and a changed config cannot fool."""

import math
import os.path as osp
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from fx_mm.engine.adapter_checkpoints import (
    check_base,
    leave_out_base,
    resume_on_base,
    start_on_base,
)
from fx_mm.engine.resume import (
    check_weights,
    describe_draws,
    describe_schedule,
    has_teacher,
    match_weights,
    move_checkpoint,
)
from fx_mm.models.mean_teacher import bare_model
from fx_mm.registry import HOOKS
from fx_mm.tasks import MEAN, split_name, task_of
from fx_mm.utils.checkpoint import (
    ATOMIC_BACKEND,
    LAST_CHECKPOINT,
    AtomicLocalBackend,
    check_meta,
    config_diff,
)
from fx_mm.utils.checks import check_arguments, check_choice
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

if TYPE_CHECKING:
    from fx_mm.engine.loops import MultiTaskValLoop
    from fx_mm.engine.runner import MultiTaskRunner

UNITS = ('cycle', 'pass', 'iter')


@HOOKS.register_module()
class CyclicCheckpointHook(CheckpointHook):
    """Save every N cycles, passes or iterations, and on a stop signal.

    mmengine's hook, whose files are named by the iteration, whatever the
    unit. A file is written beside its place, synced and renamed, then pointed
    to, and only then are older ones pruned: a kill at any moment leaves at
    least one whole checkpoint. Its meta holds the task table, by which heads
    are matched later, and which model predicts.

    Args:
        interval (int): -1 saves at the end alone. Defaults to 1.
        unit (str): ``cycle``, ``pass`` or ``iter``. Defaults to ``cycle``.
        max_keep_ckpts (int): How many to keep, -1 for all. Defaults to 2.
        save_best (str or list[str], optional): Validation results, such as
            ``phantom_b/loc/mAP_40``, ``mean/loc/mAP_40`` or ``mean``; the
            best weights of each are kept without the optimizer, in
            ``best_phantom_b_loc_mAP_40_iter_120.pth``. Defaults to None.
        **kwargs: Other arguments of mmengine's CheckpointHook but
            ``by_epoch``: ``rule``, ``save_begin``, ``published_keys``, ...

    Raises:
        UserError: If an argument makes no sense, ``save_best`` is no result
            of the validation, a loaded checkpoint does not fit the config,
            or a file cannot be written.

    Examples:
        >>> default_hooks = dict(
        ...     checkpoint=dict(
        ...         type='CyclicCheckpointHook',
        ...         interval=5,
        ...         save_best=['phantom_b/loc/mAP_40', 'mean'],
        ...         rule='greater'))
    """

    _default_greater_keys = [
        *CheckpointHook._default_greater_keys,
        *('AP_', 'Dice', 'R2', 'Pearson', 'skill', MEAN),
    ]
    _default_less_keys = [*CheckpointHook._default_less_keys, 'MAE', 'L1']

    def __init__(
        self,
        interval: int = 1,
        unit: str = 'cycle',
        max_keep_ckpts: int = 2,
        save_best: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice('checkpoint.unit', unit, UNITS)
        for key, value, none in (
            ('interval', interval, 'to save at the end alone'),
            ('max_keep_ckpts', max_keep_ckpts, 'to keep all'),
        ):
            if not isinstance(value, int) or (value < 1 and value != -1):
                raise UserError(
                    f'checkpoint.{key} is {value!r}; it must be a whole '
                    f'number, at least 1, or -1 {none}.'
                )
        # mmengine's takes any further key, and fails where it saves
        check_arguments(kwargs, CheckpointHook, 'default_hooks.checkpoint')
        if '://' not in str(kwargs.get('out_dir')):
            kwargs.setdefault('backend_args', dict(backend=ATOMIC_BACKEND))
        if isinstance(save_best, Sequence) and not isinstance(save_best, str):
            save_best = list(save_best)
        try:
            super().__init__(
                interval,
                by_epoch=False,
                max_keep_ckpts=max_keep_ckpts,
                save_best=save_best,
                **kwargs,
            )
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise UserError(f'The checkpoint hook: {error}') from error
        self.unit = unit
        self._due = False
        self._training = False
        self._base: dict[str, Any] | None = None

    def _init_rule(
        self, rules: list[str | None], key_indicators: list[str]
    ) -> None:
        """Infer rules by the metrics alone: a dataset may be called "top"."""
        try:
            super()._init_rule(
                rules, [metric_of(key) for key in key_indicators]
            )
        except (KeyError, ValueError) as error:
            raise UserError(f'checkpoint.rule: {error.args[0]}') from error
        super()._init_rule(self.rules, key_indicators)

    # ---------------------------------------------------------------- when

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Find the folder, and what was validated before a resume.

        Raises:
            UserError: If ``save_best`` is of a task that is not validated,
                or an adapter has no base.
        """
        super().before_train(runner)
        check_base(bare_model(runner.model).student, self._base)
        self._training = True
        for key in self.save_best or ():
            check_validated('checkpoint.save_best', key, runner.val_loop)
        done = runner.message_hub.runtime_info.get('validated_pass', 0)
        if runner.val_loop is not None and runner.iter:
            # in another cycle, the position may have moved back
            runner.val_loop.validated_pass = min(done, runner.epoch)

    def after_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Save every N iterations."""
        if self.unit == 'iter' and self.every_n_train_iters(
            runner, self.interval, self.save_begin
        ):
            self._due = True
        # mmengine saves at once, but gradients that wait for more are in no
        # checkpoint
        if self._due and runner.train_loop.at_update:
            self._due = False
            runner.train_loop.settle()
            self._save_at(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Save every N passes or cycles, and at the end."""
        passes = 1
        if self.unit == 'cycle':
            passes = runner.train_loop.schedule.passes_per_cycle
        due = self.unit != 'iter' and self.every_n_epochs(
            runner, self.interval * passes, self.save_begin * passes
        )
        if due or (self.save_last and self.is_last_train_epoch(runner)):
            self._save_at(runner, runner.epoch + 1, runner.iter)

    def after_stop_signal(self, runner: 'MultiTaskRunner') -> None:
        """Save where a signal stopped the training."""
        self._save_at(runner, runner.epoch, runner.iter)

    def after_val_epoch(
        self, runner: 'MultiTaskRunner', metrics: dict[str, float]
    ) -> None:
        """Remember what is validated, and keep the best."""
        runner.message_hub.update_info('validated_pass', runner.epoch)
        # without a training there is no folder yet
        if self._training:
            super().after_val_epoch(runner, metrics)

    # --------------------------------------------------------------- files

    def _save_at(
        self, runner: 'MultiTaskRunner', epoch: int, iteration: int
    ) -> None:
        meta = dict(epoch=epoch, iter=iteration)
        self._save_checkpoint_with_step(runner, iteration, meta)

    def _save_checkpoint_with_step(
        self, runner: 'MultiTaskRunner', step: int, meta: dict[str, int]
    ) -> None:
        """Write, then point to the file, then prune.

        mmengine prunes first and writes the pointer in place: a kill or a
        full disk in between would leave no checkpoint, or no pointer.
        """
        optimizer = runner.optim_wrapper.optimizer
        if hasattr(optimizer, 'gather_state'):
            # mmengine asks the main process alone for the state
            optimizer.gather_state()
        hub = runner.message_hub
        kept = hub.runtime_info.get('keep_ckpt_ids', [])
        kept = [*(each for each in kept if each != step), step]
        # in the file, so that what a kill before the pruning leaves is pruned
        # after the resume
        hub.update_info('keep_ckpt_ids', kept)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            backend_args=self.backend_args,
            **self.args,
        )
        old = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        hub.update_info('keep_ckpt_ids', kept[len(old) :])
        if not is_main_process():
            return
        pointer = osp.join(runner.work_dir, LAST_CHECKPOINT)
        AtomicLocalBackend().put_text(self.last_ckpt, pointer)
        self._remove(map(self.filename_tmpl.format, old))

    def _save_best_checkpoint(
        self, runner: 'MultiTaskRunner', metrics: Mapping[str, float]
    ) -> None:
        """Write new best weights, then remove the former ones.

        mmengine removes them first, from a path in the checkpoint, which may
        be that of the folder a run was copied from. It also writes the last
        checkpoint again, for its record of the best; here a run that is
        resumed from it validates once more and comes to the same.

        Raises:
            UserError: If there is no such result.
        """
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        hub = runner.message_hub
        for key, rule in zip(self.key_indicators, self.rules):
            if key not in metrics:
                raise UserError(
                    f'checkpoint.save_best is "{key}", which the validation '
                    f'does not give; it gives: {", ".join(metrics)}.'
                )
            score = metrics[key]
            if math.isnan(score):
                runner.logger.warning(
                    f'checkpoint.save_best: {key} is undefined in this '
                    'validation and cannot be the best.'
                )
            best = hub.runtime_info.get(
                f'best_score_{key}', self.init_value_map[rule]
            )
            if not self.is_better_than[key](score, best):
                continue
            hub.update_info(f'best_score_{key}', score)
            name = f'best_{key}_{self.filename_tmpl.format(runner.iter)}'
            name = name.replace('/', '_')
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(epoch=runner.epoch, iter=runner.iter),
                backend_args=self.backend_args,
            )
            runner.logger.info(f'best {key}: {score:.4f}, in {name}')
            if is_main_process():
                self._remove(each for each in self._best(key) if each != name)

    def _best(self, key: str) -> list[str]:
        """Return the files with the best weights by a result."""
        name = f'best_{key}_'.replace('/', '_') + self.filename_tmpl
        pattern = re.escape(name).replace(re.escape('{}'), r'\d+')
        files = self.file_backend.list_dir_or_file(
            self.out_dir, list_dir=False, suffix='.pth'
        )
        return [file for file in files if re.fullmatch(pattern, file)]

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.file_backend.join_path(self.out_dir, name)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def after_train(self, runner: 'MultiTaskRunner') -> None:
        """Publish the last checkpoint and the best ones, if asked to."""
        self.best_ckpt_path_dict = {
            key: self.file_backend.join_path(self.out_dir, file)
            for key in (self.key_indicators if self.save_best else ())
            for file in self._best(key)
        }
        super().after_train(runner)

    # ------------------------------------------------- what they are made of

    def before_save_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Add to the meta the task table, and which model predicts.

        Of an adapter's run, the base is left out and named.
        """
        if self._base is not None:
            leave_out_base(checkpoint, self._base)
        checkpoint['meta']['tasks'] = [task.meta for task in runner.tasks]
        checkpoint['meta']['predict_on'] = runner.predict_on
        schedule = runner.train_loop.schedule
        checkpoint['meta']['schedule'] = describe_schedule(schedule)
        checkpoint['meta']['draws'] = describe_draws(runner)

    def after_load_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Refuse other classes, show a changed config, restore marks."""
        check_meta(checkpoint, runner.tasks)
        model = bare_model(runner.model)
        join = resume_on_base if runner.resumed else start_on_base
        self._base = join(checkpoint, model.student, runner.loaded_from)
        weights = checkpoint['state_dict']
        if not runner.resumed:
            check_weights(weights, model)
            if model.teacher is None and has_teacher(weights):
                runner.logger.warning(
                    'The checkpoint has a teacher, which this config does '
                    'not (custom_hooks has no MeanTeacherHook): training '
                    'starts from its student.'
                )
            return
        if not {'message_hub', 'optimizer'} <= checkpoint.keys():
            raise UserError(
                'The checkpoint to resume from holds weights alone; start '
                'from them with --cfg-options load_from=CHECKPOINT.'
            )
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


def _split_predictor(key: str) -> tuple[str, str]:
    """Return which model a result is of, empty for the first, and its rest."""
    head, rest = split_name(key)
    return (head, rest) if head in PREDICTORS else ('', key)


def metric_of(key: str) -> str:
    """Return the metric of a result, without task, class and predictor."""
    _, key = _split_predictor(key)
    key = key.removeprefix(f'{task_of(key)}/').removeprefix('val/')
    return split_name(key)[0]


def check_validated(
    where: str, key: str, val_loop: 'MultiTaskValLoop | None'
) -> None:
    """Check before the training that the validation gives a result.

    Args:
        where (str): What of the config asks for it.
        key (str): The result, such as ``phantom_b/loc/mAP_40``.
        val_loop (MultiTaskValLoop, optional): None if there is none.

    Raises:
        UserError: If it cannot.
    """
    if val_loop is None:
        raise UserError(
            f'{where} is "{key}", but the config has no validation (val_cfg).'
        )
    predictors = ['', *val_loop.predict_on[1:]]
    tasks = list(val_loop.evaluators)
    predictor, rest = _split_predictor(key)
    known = task_of(rest) in tasks or split_name(rest)[0] == MEAN
    if key != 'auto' and not (known and predictor in predictors):
        starts = [
            f'{predictor}/{task}'.lstrip('/')
            for predictor in predictors
            for task in (*tasks, MEAN)
        ]
        raise UserError(
            f'{where} is "{key}", which the validation does not '
            f'give; its results begin with: {", ".join(starts)}.'
        )
