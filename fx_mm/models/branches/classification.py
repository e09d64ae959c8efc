"""Classification: pooled vector and one linear head per dataset."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ModuleDict
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from fx_mm.models.branches.base import State
from fx_mm.models.branches.evidence import Evidence, gradient_map
from fx_mm.models.branches.pooled import PooledBranch
from fx_mm.models.losses import (
    MaskedBCELoss,
    MaskedFocalLoss,
    MaskedSoftmaxLoss,
)
from fx_mm.models.losses.distillation import soft_label_loss
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_choice


@MODELS.register_module()
class ClassificationBranch(PooledBranch):
    """Image labels from pooled backbone maps.

    Norm, pooling over positions, an optional projector and one linear head
    per dataset (Foundation X; with a projector: Ark, section 3). The pooled
    and projected vector is the consistency feature.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        tasks (Sequence[Task]): Tasks; their entries may have ``pos_weight``
            or ``focal`` (arguments of :class:`MaskedFocalLoss`; multi-label).
        multi_class_loss (str): ``'softmax'`` (cross-entropy) or ``'bce'`` (the
            reference code) for tasks with exclusive classes. Defaults to
            ``'softmax'``.
        **kwargs: See :class:`PooledBranch`.
    """

    thresholded = False

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: Sequence[Task],
        multi_class_loss: str = 'softmax',
        **kwargs: Any,
    ) -> None:
        super().__init__('classification', in_channels, tasks, **kwargs)
        check_choice(
            'model classification.multi_class_loss',
            multi_class_loss,
            ('softmax', 'bce'),
        )
        self.multi_class = {
            task.dataset: task.label_type == 'multi-class' for task in tasks
        }
        self.heads = ModuleDict()
        for task in tasks:
            self.heads[task.dataset] = LinearClsHead(
                len(task.classes),
                self.dims,
                loss=self._build_loss(task, multi_class_loss),
            )

    @staticmethod
    def _build_loss(task: Task, multi_class_loss: str) -> nn.Module:
        weight, focal = map(task.config.get, ('pos_weight', 'focal'))
        if task.label_type == 'multi-class':
            if multi_class_loss == 'softmax':
                return MaskedSoftmaxLoss(weight)
        elif focal is not None:
            return MaskedFocalLoss(**focal)
        return MaskedBCELoss(weight)

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Logits of shape (B, C)."""
        pooled = self.head_input(state, dataset)
        return self.heads[dataset]((pooled,)).float()

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Loss against ``gt_score`` of the samples.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``gt_score`` (C,), NaN
                where unknown.

        Returns:
            dict[str, Tensor]: ``loss_cls``.
        """
        logits = self(state, dataset, data_samples)
        target = torch.stack([sample.gt_score for sample in data_samples])
        loss_module = self.heads[dataset].loss_module
        return dict(loss_cls=loss_module(logits, target.to(logits.device)))

    def distillation_output(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Logits (B, C)."""
        return self(state, dataset, data_samples)

    def distillation_loss(
        self, output: Tensor, target: Tensor, dataset: str, temperature: float
    ) -> Tensor:
        """See :func:`soft_label_loss`."""
        exclusive = self.multi_class[dataset]
        return soft_label_loss(output, target, temperature, exclusive)

    def take_as_truth(
        self,
        answers: Tensor,
        data_samples: list[FXDataSample],
        thresholds: Tensor,
    ) -> Tensor:
        """Write the probabilities as soft labels; see :class:`Branch`."""
        for sample, score in zip(data_samples, answers):
            sample.gt_score = score
        return torch.ones(len(answers), dtype=torch.bool)

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Probabilities (B, C)."""
        logits = self(state, dataset, data_samples)
        if self.multi_class[dataset]:
            return logits.softmax(-1)
        return logits.sigmoid()

    def explain(
        self,
        pyramid: tuple[Tensor, ...],
        dataset: str,
        data_samples: list[FXDataSample],
        score_thr: float,
    ) -> list[Evidence]:
        """Weigh the pooled maps by each logit's gradient.

        Behind their norm: a norm does not change with the length of what it
        gets, so a gradient in front of it is at right angles to the values.
        See :func:`gradient_map`, and :class:`Branch` for the arguments.
        """
        with torch.no_grad():
            maps = self.normed_maps(pyramid)
        with torch.enable_grad():
            maps = [each.detach().requires_grad_() for each in maps]
            state = self.pool_maps(maps)
            logits = self(state, dataset, data_samples)[0]
            exclusive = self.multi_class[dataset]
            scores = logits.softmax(-1) if exclusive else logits.sigmoid()
            return [
                Evidence(
                    label,
                    score,
                    heat=gradient_map(logits[label], maps)[0],
                )
                for label, score in enumerate(scores.tolist())
                if score >= score_thr
            ]

    def add_pred_to_datasample(
        self, answers: Tensor, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write ``pred_score`` (C,), probabilities, into the samples."""
        for sample, score in zip(data_samples, answers):
            sample.pred_score = score
        return data_samples
