"""Elastic Weight Consolidation: what old tasks need moves less."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fx_mm.datasets.collate import collate_batch
from fx_mm.datasets.few_shot import draw_few
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.engine.hooks.stage_hook import StageHook, student_of
from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.mean_teacher import MeanTeacher, bare_model
from fx_mm.registry import HOOKS
from fx_mm.structures import FXDataSample
from fx_mm.utils.checkpoint import load_file
from fx_mm.utils.checks import check_number

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

FILE = 'ewc.pth'


@HOOKS.register_module()
class EWC(StageHook):
    """Hold the shared weights where the old tasks' loss is steep.

    ``loss_ewc = weight / 2 * sum_i F_i * (w_i - w*_i)^2`` over the shared
    parameters that learn in the pass (Kirkpatrick et al. 2017). ``w*`` are
    the student's weights at the end of the stage before. ``F`` is the
    *empirical* Fisher information: the squared gradient of the task's loss at
    its annotations, in eval mode, image by image, averaged over the stage's
    images and summed over its tasks; the sum so far counts ``decay`` times
    (online EWC; Schwarz et al. 2018). It needs no old image.

    Args:
        weight (float): Strength. Losses of different kinds differ in size,
            so it has to be tried. Defaults to 100.
        images (int): How many of each task ``F`` is averaged over, at most.
            Defaults to 200.
        decay (float): Of the earlier stages' ``F``. Defaults to 0.95.
        before (str, optional): See :class:`StageHook`. Defaults to None.

    Raises:
        UserError: If a number makes no sense.

    Examples:
        >>> continual = dict(
        ...     stages=[['nih14/cls'], ['rsna/loc']],
        ...     method=dict(type='EWC', weight=100.0))
    """

    def __init__(
        self,
        weight: float = 100.0,
        images: int = 200,
        decay: float = 0.95,
        before: str | None = None,
    ) -> None:
        super().__init__(before)
        check_number('continual.method.weight', weight, 0)
        check_number('continual.method.images', images, 1, whole=True)
        check_number('continual.method.decay', decay, 0, 1)
        self.weight = weight
        self.images = images
        self.decay = decay

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Take over ``F`` and ``w*``; of the first stage there are none."""
        if self.before is None:
            return
        student = student_of(runner)
        device = next(student.parameters()).device
        state = load_file(str(Path(self.before) / FILE), device)
        loss = EWCLoss(student, state['fisher'], state['weights'], self.weight)
        bare_model(runner.model).extra_losses.append(loss)

    def end_stage(self, runner: 'MultiTaskRunner') -> None:
        """Measure ``F`` on the stage's tasks and write ``ewc.pth``."""
        model = bare_model(runner.model)
        fisher: dict[str, Tensor] = {}
        if self.before is not None:
            state = load_file(str(Path(self.before) / FILE))
            fisher = {k: self.decay * v for k, v in state['fisher'].items()}
        for dataset in runner.train_loop.dataloader.dataset.datasets:
            if not dataset.rehearses:
                for name, value in measure_fisher(
                    model, dataset, self.images
                ).items():
                    fisher[name] = fisher.get(name, 0) + value.cpu()
        own = dict(model.student.named_parameters())
        weights = {name: own[name].detach().cpu() for name in fisher}
        content: dict[str, Any] = dict(fisher=fisher, weights=weights)
        torch.save(content, Path(runner.work_dir) / FILE)


class EWCLoss:
    """``loss_ewc``, see :class:`EWC`.

    Args:
        student (FoundationX): Learns.
        fisher (dict[str, Tensor]): Parameter to ``F``.
        weights (dict[str, Tensor]): Parameter to ``w*``.
        weight (float): Of the loss.
    """

    def __init__(
        self,
        student: FoundationX,
        fisher: dict[str, Tensor],
        weights: dict[str, Tensor],
        weight: float,
    ) -> None:
        own = dict(student.named_parameters())
        self._terms = [
            (own[name], value, weights[name])
            for name, value in fisher.items()
            if name in own
        ]
        self.weight = weight

    def __call__(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_ewc``, or nothing where all of it is locked."""
        terms = [
            (fisher * (now - then).square()).sum()
            for now, fisher, then in self._terms
            if now.requires_grad
        ]
        if not terms:
            return {}
        return dict(loss_ewc=self.weight / 2 * torch.stack(terms).sum())


def measure_fisher(
    model: MeanTeacher, dataset: TaskDataset, images: int
) -> dict[str, Tensor]:
    """Average squared gradients of a task's loss, image by image.

    Args:
        model (MeanTeacher): Its student, with nothing locked.
        dataset (TaskDataset): Training images of the task.
        images (int): How many at most, drawn by :func:`draw_few`.

    Returns:
        dict[str, Tensor]: Shared parameter of the student that the loss
        reaches to its values. (Not the label embedding of boxes, whose rows
        may become more from stage to stage.)
    """
    student = model.student
    shared = [group for group in student.param_groups() if group.task is None]
    weights = {
        name: parameter
        for name, parameter in student.named_parameters()
        if parameter.requires_grad and any(g.owns(name) for g in shared)
    }
    totals: dict[str, Tensor] = {}
    names = list(dataset.data_list.column('img_id'))
    chosen = draw_few(names, min(images, len(names)))
    model.eval()
    for index in chosen:
        batch = collate_batch([dataset.sample(index, seed=index)])
        data = model.data_preprocessor(batch, False)
        losses = student.loss(data['inputs'], data['data_samples'])
        total, _ = model.parse_losses(losses)
        gradients = torch.autograd.grad(
            total, list(weights.values()), allow_unused=True
        )
        for name, gradient in zip(weights, gradients):
            if gradient is not None:
                square = gradient.float().square()
                totals[name] = totals.get(name, 0) + square
    return {name: value / len(chosen) for name, value in totals.items()}
