"""Move the teacher towards the student."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from mmengine.hooks import EMAHook, Hook

from fx_mm.models.mean_teacher import bare_model
from fx_mm.models.power_average import AVERAGES, PowerAverages
from fx_mm.registry import HOOKS
from fx_mm.tasks import MIXED, ByKind, check_by_kind, for_kind, split_name
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

UNITS = ('pass', 'iter')
SCHEDULES = ('constant', 'cosine')
CONSISTENCY_WEIGHTS = (None, 'cosine')


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """Update the exponential moving average after each pass.

    teacher = decay * teacher + (1 - decay) * student, over the whole model
    whatever the pass trained (Foundation X: 0.80, once per pass). Both
    schedules are functions of the position alone, so a resumed run needs no
    state but that of ``averages``.

    Args:
        decay (float | dict): Weight of the OLD teacher, or task kind to the
            weight after a pass (or step) of that kind; the whole model moves
            in any case. Defaults to 0.8.
        unit (str): Update after each ``pass`` or each step of the optimizer
            (``iter``). Defaults to ``pass``.
        schedule (str): ``constant``, or ``cosine``, with which the decay
            goes from ``decay`` to 1 over all updates of the run (Ark: from
            0.9, per pass). Defaults to ``constant``.
        consistency_weight (str, optional): ``cosine``: the weight of the
            consistency loss goes from 0 to 0.5 over the passes of the run
            (Ark), constant within a pass. Defaults to None, the model's own
            constant.
        averages (Sequence[float]): Widths of further averages of the student
            to keep in the checkpoints that training resumes from, updated
            with the teacher, such as ``(0.05, 0.1)``: from them
            ``synthesize_average.py`` makes, after the training, the average
            of any width (Karras et al. 2024). Each takes the memory of the
            weights. Defaults to none.

    Attributes:
        frozen (bool): Whether the teacher stays as it is.

    Raises:
        UserError: If ``decay`` is not in 0..1, lacks a kind or is by kind in
            a pass of several, a width not in 0.01..0.28, an option is
            unknown, or mmengine's EMAHook stands beside it.

    Examples:
        >>> foundation_x = dict(type='MeanTeacherHook', decay=0.8)
        >>> ark = dict(
        ...     type='MeanTeacherHook',
        ...     decay=0.9,
        ...     schedule='cosine',
        ...     consistency_weight='cosine')
        >>> post_hoc = dict(type='MeanTeacherHook', averages=(0.05, 0.1))
    """

    # Before the checkpoint (VERY_LOW), which must hold the new teacher.
    priority = 'NORMAL'

    def __init__(
        self,
        decay: ByKind = 0.8,
        unit: str = 'pass',
        schedule: str = 'constant',
        consistency_weight: str | None = None,
        averages: Sequence[float] = (),
    ) -> None:
        check_by_kind('MeanTeacherHook.decay', decay)
        for key, value, known in (
            ('unit', unit, UNITS),
            ('schedule', schedule, SCHEDULES),
            ('consistency_weight', consistency_weight, CONSISTENCY_WEIGHTS),
        ):
            if value not in known:
                raise UserError(
                    f'MeanTeacherHook has {key}={value!r}; it must be one of '
                    f'{", ".join(map(str, known))}.'
                )
        self.decay = decay
        self.unit = unit
        self.schedule = schedule
        self.consistency_weight = consistency_weight
        self.averages = PowerAverages(averages)
        self.frozen = False

    def decay_at(self, update: int, updates: int, kind: str = '') -> float:
        """Return the decay of an update (Ark, section 3).

        Args:
            update (int): Number of the update, from 0.
            updates (int): Updates of the whole run.
            kind (str): Task kind that was trained; needed if ``decay`` is by
                kind.

        Returns:
            float: Weight of the old teacher.
        """
        decay = for_kind(self.decay, kind)
        if self.schedule == 'constant':
            return decay
        share = 0.5 * (1 + math.cos(math.pi * update / updates))
        return 1 - (1 - decay) * share

    @staticmethod
    def consistency_at(index: int, passes: int) -> float:
        """Return the consistency weight in pass ``index`` of ``passes``."""
        return 0.25 * (1 - math.cos(math.pi * index / passes))

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Refuse a second average, and a decay that is not of these tasks."""
        check_by_kind('MeanTeacherHook.decay', self.decay, runner.tasks.names)
        passes = runner.train_loop.schedule.passes
        mixed = any(entry.task == MIXED for entry in passes)
        if mixed and isinstance(self.decay, Mapping) and self.unit == 'pass':
            raise UserError(
                'MeanTeacherHook.decay is by kind, but a pass of this '
                "cycle.order has several; set unit='iter'."
            )
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise UserError(
                "mmengine's EMAHook stands beside MeanTeacherHook, which "
                'keeps the average itself; remove it from custom_hooks.'
            )

    def before_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Set the consistency weight of the pass."""
        if self.consistency_weight is not None:
            bare_model(runner.model).consistency_weight = self.consistency_at(
                runner.epoch, runner.max_epochs
            )

    def after_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Update after an iteration."""
        if self.unit == 'iter' and runner.train_loop.at_update:
            task = cast(Any, data_batch)['data_samples'][0].task
            self._update(runner, runner.iter, runner.max_iters, task)

    def after_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Update after a pass."""
        if self.unit == 'pass':
            task = runner.train_loop.current_pass.task
            self._update(runner, runner.epoch, runner.max_epochs, task)

    def _update(
        self, runner: 'MultiTaskRunner', update: int, updates: int, task: str
    ) -> None:
        model = bare_model(runner.model)
        if not self.frozen:
            kind = '' if task == MIXED else split_name(task)[1]
            model.update_teacher(self.decay_at(update, updates, kind))
        if self.averages.widths:
            self.averages.update(model.student)

    def before_save_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Add the averages to what training resumes from."""
        if self.averages.widths and 'optimizer' in checkpoint:
            checkpoint[AVERAGES] = self.averages.state_dict()

    def after_load_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the averages of the checkpoint."""
        if not self.averages.widths or not runner.resumed:
            return
        state = checkpoint.get(AVERAGES)
        widths = {each['width'] for each in (state or {}).get('averages', ())}
        if state is None or not widths.issuperset(self.averages.widths):
            runner.logger.warning(
                'The checkpoint has no averages of the widths '
                f'{", ".join(map(str, self.averages.widths))} '
                '(MeanTeacherHook.averages): they begin here.'
            )
            return
        student = bare_model(runner.model).student
        lacking = self.averages.load_state_dict(state, student)
        if lacking:
            runner.logger.warning(
                f'The averages of the checkpoint lack {len(lacking)} '
                f'parameters, such as {lacking[0]}: those begin here.'
            )
