"""A teacher that stays what it was at the stage's start."""

from typing import TYPE_CHECKING

from fx_mm.engine.hooks.mean_teacher_hook import MeanTeacherHook
from fx_mm.engine.hooks.stage_hook import StageHook
from fx_mm.models.mean_teacher import bare_model
from fx_mm.registry import HOOKS
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@HOOKS.register_module()
class FrozenTeacher(StageHook):
    """Let the consistency loss hold the features of the stage's start.

    From the second stage on the teacher is the student as the stage before
    left it, and does not move: on new images the student's features stay
    near. The student predicts, in all stages: a frozen teacher's new heads
    have learned nothing. It needs no old image.

    Args:
        before (str, optional): See :class:`StageHook`. Defaults to None.

    Raises:
        UserError: If there is no teacher, no consistency loss, or the
            teacher is to be evaluated.

    Examples:
        >>> continual = dict(
        ...     stages=[['nih14/cls'], ['rsna/loc']],
        ...     method=dict(type='FrozenTeacher'))
    """

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Freeze the teacher; in the first stage it moves as always."""
        model = bare_model(runner.model)
        hooks = [h for h in runner.hooks if isinstance(h, MeanTeacherHook)]
        if not hooks or not model.needs_teacher:
            raise UserError(
                'FrozenTeacher needs a teacher and a consistency loss; add '
                'MeanTeacherHook to custom_hooks, and set '
                'model.consistency_weight above 0.'
            )
        for loop in (runner.val_loop, runner.test_loop):
            if loop is not None and 'teacher' in loop.predict_on:
                raise UserError(
                    f'FrozenTeacher: {loop.stage}_cfg.predict_on asks for the '
                    'teacher, whose new heads learn nothing; ask for the '
                    'student.'
                )
        if self.before is None:
            return
        for hook in hooks:
            hook.frozen = True
        if not runner.iter:
            model.reset_teacher()
