"""Truth of images without annotation: what the teacher finds in them."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fx_mm.models.foundation_x import FoundationX
from fx_mm.structures import FXDataSample


class LabelledBatch(NamedTuple):
    """A batch of a task without annotation, as one of its source.

    Attributes:
        inputs (Tensor): The student's images (B, 3, H, W).
        data_samples (list[FXDataSample]): With the teacher's truth.
        teacher_inputs (Tensor): The teacher's images.
        weight (Tensor): Of the task losses, a scalar.
        share (Tensor): Share of the images that have a truth, a scalar.
    """

    inputs: Tensor
    data_samples: list[FXDataSample]
    teacher_inputs: Tensor
    weight: Tensor
    share: Tensor


class PseudoLabels:
    """Labels batches of tasks without annotation.

    The teacher predicts on its own view of each image; what reaches the
    thresholds is the truth of the student's view, which must have the same
    geometry. Images in which the teacher finds nothing carry no loss: their
    places in the batch are taken by copies of the others, and the losses are
    weighted by the share of the images that have a truth, so that size and
    shapes of a batch stay.

    Attributes:
        thresholds (dict[str, list[float]]): Source to one number per class.
        weights (dict[str, float]): Kind to the weight of the losses.
    """

    def __init__(self) -> None:
        self.thresholds: Mapping[str, list[float]] = {}
        self.weights: Mapping[str, float] = {}

    def __call__(
        self,
        teacher: FoundationX,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        teacher_inputs: Tensor,
    ) -> LabelledBatch:
        """Label a batch.

        Args:
            teacher (FoundationX): Predicts.
            inputs (Tensor): The student's images (B, 3, H, W).
            data_samples (list[FXDataSample]): Of one task without
                annotation; they are not changed.
            teacher_inputs (Tensor): The teacher's images.
        """
        source = data_samples[0].pseudo
        task = teacher.tasks[source]
        own = dict(task=source, dataset=task.dataset)
        samples = [
            FXDataSample(metainfo=sample.metainfo | own)
            for sample in data_samples
        ]
        none = [float('nan')] * len(task.classes)
        limits = torch.tensor(self.thresholds.get(source, none))
        with torch.no_grad():
            known = teacher.label(
                teacher_inputs, samples, limits.to(inputs.device)
            ).to(inputs.device)
        share = known.float().mean()
        chosen = known.nonzero()[:, 0]
        if 0 < len(chosen) < len(samples):
            repeats = -(-len(samples) // len(chosen))
            order = chosen.repeat(repeats)[: len(samples)]
            inputs, teacher_inputs = inputs[order], teacher_inputs[order]
            samples = [samples[i] for i in order.tolist()]
        weight = share * self.weights.get(task.kind.name, 0.0)
        return LabelledBatch(inputs, samples, teacher_inputs, weight, share)
