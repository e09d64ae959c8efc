"""Learning without Forgetting: keep what old heads say of new images."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fx_mm.config.continual import read_record
from fx_mm.engine.hooks.stage_hook import (
    StageHook,
    earlier_model,
    student_of,
)
from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.layers.region_guidance import evaluating
from fx_mm.models.mean_teacher import bare_model
from fx_mm.registry import HOOKS
from fx_mm.structures import FXDataSample
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@HOOKS.register_module()
class LwF(StageHook):
    """Distil the model at the stage's start, on the stage's new images.

    Li and Hoiem 2016. For each batch of a new task every old task answers,
    as the student stands and as the model that predicted at the end of the
    stage before: labels and masks by logits with a temperature
    (:func:`soft_label_loss`), boxes by encoder memory and maps, numbers by
    outputs. ``loss_lwf`` is the mean over the old tasks; not in a pass that
    locks the backbone. It needs no old image.

    Args:
        weight (float): Of ``loss_lwf``. Defaults to 1.
        temperature (float): Of the probabilities. Defaults to 2.
        before (str, optional): See :class:`StageHook`. Defaults to None.

    Raises:
        UserError: If a number makes no sense, or the backbone recomputes
            activations with an adapter that depends on the task.

    Examples:
        >>> continual = dict(
        ...     stages=[['nih14/cls'], ['rsna/loc']],
        ...     method=dict(type='LwF', weight=1.0, temperature=2.0))
    """

    def __init__(
        self,
        weight: float = 1.0,
        temperature: float = 2.0,
        before: str | None = None,
    ) -> None:
        super().__init__(before)
        check_number('continual.method.weight', weight, 0)
        check_number('continual.method.temperature', temperature, 0)
        if not temperature:
            raise UserError(
                'continual.method.temperature is 0; it must be above 0.'
            )
        self.weight = weight
        self.temperature = temperature

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Load the model of the stage's start; of the first there is none."""
        if self.before is None:
            return
        checkpoint = read_record(self.before)['checkpoint']
        student = student_of(runner)
        check_recomputing(student)
        earlier, tasks = earlier_model(student, checkpoint)
        loss = DistillationLoss(
            student, earlier, tasks, self.weight, self.temperature
        )
        bare_model(runner.model).extra_losses.append(loss)


def check_recomputing(student: FoundationX) -> None:
    """Refuse what would recompute a batch's maps with another task's adapter.

    Raises:
        UserError: If there is such.
    """
    by_task = any(student.maps_key(task) is not None for task in student.tasks)
    if by_task and any(
        getattr(module, 'with_cp', False)
        for module in student.backbone.modules()
    ):
        raise UserError(
            'LwF runs several tasks in a step, so with_cp of '
            'model.student.backbone would recompute its maps with the '
            f'{type(student.adapter).__name__} of the last one; set '
            'with_cp=False.'
        )


class DistillationLoss:
    """``loss_lwf`` of a batch, see :class:`LwF`.

    Args:
        student (FoundationX): Learns.
        earlier (FoundationX): Frozen, in eval mode.
        tasks (list[str]): The tasks of ``earlier``, whose answers are kept.
        weight (float): Of the loss.
        temperature (float): Of the probabilities.
    """

    def __init__(
        self,
        student: FoundationX,
        earlier: FoundationX,
        tasks: list[str],
        weight: float,
        temperature: float,
    ) -> None:
        self.student = student
        self.earlier = earlier
        self.tasks = [task for task in tasks if task in student.task_names]
        self.weight = weight
        self.temperature = temperature

    def __call__(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_lwf``, or nothing for what it does not concern."""
        student = self.student
        if data_samples[0].task in self.tasks or 'backbone' in student.locked:
            return {}
        losses = []
        with self.earlier.sharing_features():
            for name in self.tasks:
                task = student.tasks[name]
                branch = student.branch(task.kind)
                with torch.no_grad():
                    target = self.earlier.distillation_output(
                        inputs, data_samples, name
                    )
                # else the old head's running norms take new images in
                with evaluating(branch):
                    output = student.distillation_output(
                        inputs, data_samples, name
                    )
                losses.append(
                    branch.distillation_loss(
                        output, target, task.dataset, self.temperature
                    )
                )
        return dict(loss_lwf=self.weight * torch.stack(losses).mean())
