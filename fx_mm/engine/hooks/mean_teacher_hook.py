"""Move the teacher towards the student."""

from mmengine.hooks import EMAHook, Hook

from ...registry import HOOKS
from ...utils.errors import UserError
from ..loops import unwrap

UNITS = ('pass', 'iter')


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """Update the exponential moving average after each pass.

    teacher = decay * teacher + (1 - decay) * student, over the whole model
    whatever the pass trained (Foundation X: 0.80, once per pass).

    Args:
        decay (float): Weight of the OLD teacher. Defaults to 0.8.
        unit (str): Update after each ``pass`` or each ``iter``. Defaults to
            ``pass``.

    Raises:
        UserError: If ``decay`` is not in 0..1, the unit is unknown, or
            mmengine's EMAHook stands beside it.
    """

    # Before the checkpoint (VERY_LOW), which must hold the new teacher.
    priority = 'NORMAL'

    def __init__(self, decay: float = 0.8, unit: str = 'pass') -> None:
        if not 0 <= decay <= 1:
            raise UserError(
                f'MeanTeacherHook has decay={decay}; it is the weight of the '
                'old teacher and must be in 0..1.'
            )
        if unit not in UNITS:
            raise UserError(
                f'MeanTeacherHook has unit="{unit}"; it must be one of '
                f'{", ".join(UNITS)}.'
            )
        self.decay = decay
        self.unit = unit

    def before_train(self, runner) -> None:
        """Refuse a second average beside the teacher."""
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise UserError(
                "mmengine's EMAHook stands beside MeanTeacherHook, which "
                'keeps the average itself; remove it from custom_hooks.'
            )

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Update after an iteration."""
        if self.unit == 'iter':
            unwrap(runner.model).update_teacher(self.decay)

    def after_train_epoch(self, runner) -> None:
        """Update after a pass."""
        if self.unit == 'pass':
            unwrap(runner.model).update_teacher(self.decay)
