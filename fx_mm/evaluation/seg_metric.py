"""Dice of a segmentation task."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fx_mm.registry import METRICS
from fx_mm.utils.errors import UserError

from .base import TaskMetric, mean_or_nan


@METRICS.register_module()
class SegMetric(TaskMetric):
    """Dice of binary masks, one channel per class (Foundation X, section 4).

    Dice is taken per image and class at the size of the true mask. The
    paper counts an image that has neither the class nor a prediction of it
    as 1, so a model that predicts nothing scores high where findings are
    rare; therefore the mean over the images that have the class stands
    beside it.

    Keys: ``Dice`` (mean over images and classes, empty and empty = 1),
    ``Dice_pos`` (mean over classes of the mean over the images that have
    the class), ``Dice_pos/<class>``, and ``Dice_pos/<group>`` (mean over
    the group's classes).

    Only three sums per image and class are kept, never a mask.

    Args:
        class_groups (Mapping[str, Sequence[str]], optional): Group name to
            class names, e.g. ``dict(organs=('lungs', 'heart'))``.
            Defaults to None.
        **kwargs: See :class:`TaskMetric`.
    """

    def __init__(
        self,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.class_groups = dict(class_groups or {})

    def check_meta(self) -> None:
        """Check the groups against the class names.

        Raises:
            UserError: If a group has the name of a class or an unknown
                class in it.
        """
        for group, names in self.class_groups.items():
            if group in self.classes:
                raise UserError(
                    f"metric of {self.task}: the group '{group}' has the "
                    'name of a class; rename it in `class_groups`.'
                )
            self.check_classes(names, f'class_groups.{group}')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count pixels of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_sem_seg`` and ``pred_sem_seg``, each with ``data`` of
                shape (C, H, W), nonzero = inside.

        Raises:
            ValueError: If truth and prediction differ in shape.
        """
        for sample in data_samples:
            truth = sample['gt_sem_seg']['data']
            pred = sample['pred_sem_seg']['data']
            if truth.shape != pred.shape:
                raise ValueError(
                    f'{sample["img_id"]}: masks of shape '
                    f'{tuple(pred.shape)} cannot be compared with the truth '
                    f'of shape {tuple(truth.shape)}'
                )
            truth = truth.to(pred.device).bool()
            pred = pred.bool()
            counts = torch.stack(
                [
                    torch.count_nonzero(mask, dim=(1, 2))
                    for mask in (truth & pred, truth, pred)
                ]
            )
            self.results.append((sample['img_id'], counts.cpu().numpy()))

    def compute_unique(self, results: list) -> dict[str, float]:
        """Compute the Dice means.

        Args:
            results (list[tuple]): ``(img_id, counts (3, C))`` with the
                pixels of the intersection, the truth and the prediction.

        Returns:
            dict[str, float]: See the keys of the class.
        """
        counts = np.array([r[1] for r in results], dtype=np.float64)
        counts = counts.reshape(len(results), 3, len(self.classes))
        both, truth, pred = counts.transpose(1, 0, 2)
        total = truth + pred
        dice = np.divide(
            2 * both, total, out=np.ones_like(total), where=total > 0
        )

        per_class = {
            name: mean_or_nan(dice[truth[:, i] > 0, i])
            for i, name in enumerate(self.classes)
        }
        metrics = {
            'Dice': mean_or_nan(dice.ravel()),
            'Dice_pos': mean_or_nan(per_class.values()),
        }
        for name, value in per_class.items():
            metrics[f'Dice_pos/{name}'] = value
        for group, names in self.class_groups.items():
            metrics[f'Dice_pos/{group}'] = mean_or_nan(
                per_class[name] for name in names
            )
        return metrics
