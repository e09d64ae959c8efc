"""Regression: pooled vector and one linear head per dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from fx_mm.datasets.records import Records
from fx_mm.models.branches.base import State
from fx_mm.models.branches.pooled import PooledBranch
from fx_mm.models.losses.regression import MaskedRegressionLoss
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


class RegressionHead(BaseModule):
    """A linear layer, and the scale of its dataset's targets.

    Mean and standard deviation of the training targets are buffers, so a
    checkpoint carries them with the weights that learned on them.

    Args:
        dims (int): Width of the vectors.
        targets (int): Number of targets C.
        outputs (int): Outputs per target.
        init_cfg (dict, optional): Initialisation config. Defaults to a small
            normal, as of the classification heads.
    """

    def __init__(
        self,
        dims: int,
        targets: int,
        outputs: int,
        init_cfg: dict[str, Any] | None = dict(
            type='Normal', layer='Linear', std=0.01
        ),
    ) -> None:
        super().__init__(init_cfg)
        self.outputs = outputs
        self.fc = nn.Linear(dims, targets * outputs)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', torch.zeros(targets))
        self.register_buffer('std', torch.ones(targets))

    def forward(self, vectors: Tensor) -> Tensor:
        """Standardised outputs (B, C, outputs) of vectors (B, D)."""
        return self.fc(vectors).unflatten(-1, (-1, self.outputs))


@MODELS.register_module()
class RegressionBranch(PooledBranch):
    """Numbers per image (age, ratios, severity scores) from pooled maps.

    Heads learn targets that are standardised with mean and standard deviation
    of the training split, so targets of any unit weigh alike, and predict in
    the original unit.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        tasks (Sequence[Task]): Tasks, whose classes are the targets.
        loss (dict): Config of the loss: ``MaskedSmoothL1Loss``, or
            ``MaskedGaussianLoss``, which predicts a standard deviation as
            well. Defaults to ``dict(type='MaskedSmoothL1Loss')``.
        **kwargs: See :class:`PooledBranch`.

    Examples:
        >>> regression = dict(loss=dict(type='MaskedGaussianLoss'))
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: Sequence[Task],
        loss: dict[Any, Any] = dict(type='MaskedSmoothL1Loss'),
        **kwargs: Any,
    ) -> None:
        super().__init__('regression', in_channels, tasks, **kwargs)
        self.loss_module: MaskedRegressionLoss = MODELS.build(loss)
        self.heads = ModuleDict()
        for task in tasks:
            self.heads[task.dataset] = RegressionHead(
                self.dims, len(task.classes), self.loss_module.outputs
            )

    def take_statistics(self, task: Task, records: Records) -> None:
        """Standardise the targets of a task from now on.

        Args:
            task (Task): The task.
            records (Records): Its training data, with ``gt_value``.

        Raises:
            UserError: If a target is never known, or always the same.
        """
        values = np.array(list(records.column('gt_value')), np.float64)
        for name, column in zip(task.classes, values.T):
            known = column[~np.isnan(column)]
            if not known.size or known.min() == known.max():
                what = f'always {known[0]:g}' if known.size else 'never known'
                raise UserError(
                    f'{task.name}: target "{name}" is {what} in the training '
                    'split, so nothing can be learned of it; remove it from '
                    'the classes, or give the images that differ.'
                )
        head = self.heads[task.dataset]
        head.mean.copy_(torch.from_numpy(np.nanmean(values, axis=0)))
        head.std.copy_(torch.from_numpy(np.nanstd(values, axis=0)))

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Standardised outputs (B, C, n), n of the loss, in full precision.

        bfloat16 has 8 bits: too coarse for a number that is read.
        """
        vectors = self.head_input(state, dataset).float()
        with torch.autocast(vectors.device.type, enabled=False):
            return self.heads[dataset](vectors)

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Loss against ``gt_value`` of the samples.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``gt_value`` (C,), NaN
                where unknown.

        Returns:
            dict[str, Tensor]: ``loss_reg``.
        """
        outputs = self(state, dataset, data_samples)
        head = self.heads[dataset]
        target = torch.stack([sample.gt_value for sample in data_samples])
        target = (target.to(outputs.device) - head.mean) / head.std
        return dict(loss_reg=self.loss_module(outputs, target))

    def distillation_output(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Standardised outputs (B, C, n)."""
        return self(state, dataset, data_samples)

    def distillation_loss(
        self, output: Tensor, target: Tensor, dataset: str, temperature: float
    ) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(output, target)

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Numbers in their unit (B, C, n); n is 2 with standard deviations."""
        outputs = self(state, dataset, data_samples)
        head = self.heads[dataset]
        values = outputs[..., 0] * head.std + head.mean
        std = self.loss_module.std(outputs)
        if std is None:
            return values[..., None]
        return torch.stack([values, std * head.std], dim=-1)

    def add_pred_to_datasample(
        self, answers: Tensor, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write ``pred_value`` (C,) and, predicted, ``pred_std`` (C,)."""
        for sample, answer in zip(data_samples, answers):
            sample.pred_value = answer[:, 0]
            if answer.shape[1] > 1:
                sample.pred_std = answer[:, 1]
        return data_samples

    def graph(
        self, state: State, dataset: str, data_samples: list[Any]
    ) -> tuple[Tensor]:
        """Numbers in their unit (B, C); see :class:`Branch`."""
        return (self.infer(state, dataset, data_samples)[..., 0],)
