"""What keeps earlier tasks while a stage of a continual training learns."""

import copy
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.mean_teacher import bare_model
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import model_weights

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


class StageHook(Hook):
    """The ``method`` of a ``continual``, one hook in each stage.

    Args:
        before (str, optional): Folder of the stage before, which the plan
            sets. Defaults to None: this is the first.
    """

    # after what loads and locks, before what logs
    priority = 'NORMAL'

    def __init__(self, before: str | None = None) -> None:
        self.before = before

    def end_stage(self, runner: 'MultiTaskRunner') -> None:
        """Write what the next stage needs into ``runner.work_dir``.

        The main process alone does it, after training and test.
        """


def earlier_model(
    student: FoundationX, checkpoint: str
) -> tuple[FoundationX, list[str]]:
    """Build the model that a checkpoint's predictor was.

    Args:
        student (FoundationX): Of the run; it has the same parts and more.
        checkpoint (str): The end of the stage before.

    Returns:
        tuple: A frozen model in eval mode, on the student's device, and the
        names of its tasks; what it has besides is the student's.

    Raises:
        UserError: If the checkpoint lacks what its tasks need.
    """
    loaded = load_source(checkpoint)
    weights = model_weights(loaded, checkpoint).chosen
    tasks = [each['task'] for each in loaded['meta']['tasks']]
    model = copy.deepcopy(student)
    missing = model.load_state_dict(dict(weights), strict=False).missing_keys
    shared = [group for group in model.param_groups() if group.task in tasks]
    for key in missing:
        if any(group.owns(key) for group in shared):
            raise UserError(
                f'{checkpoint}: lacks {key}, which its task needs; use the '
                'model config that it was trained with.'
            )
    model.lock(())
    model.requires_grad_(False)
    return model.eval(), tasks


def student_of(runner: 'MultiTaskRunner') -> FoundationX:
    """Return a run's student."""
    return bare_model(runner.model).student
