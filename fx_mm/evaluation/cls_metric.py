"""Area under the ROC curve of a classification task."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from sklearn.metrics import roc_auc_score

from fx_mm.registry import METRICS
from fx_mm.utils.errors import UserError

from .base import TaskMetric, mean_or_nan


@METRICS.register_module()
class ClsMetric(TaskMetric):
    """AUC per class and its mean over classes (Foundation X, section 4).

    A class needs both outcomes to have an AUC: without a positive or
    without a negative image its value is NaN and the mean skips it.
    Unknown labels (NaN) are left out image by image.

    Keys: ``AUC`` (mean), ``n_classes`` (classes behind the mean) and
    ``AUC/<class>`` for every class.

    Args:
        classes (Sequence[str], optional): Classes that ``AUC`` and
            ``n_classes`` are taken over, e.g. the five of CheXpert.
            Defaults to all.
        **kwargs: See :class:`TaskMetric`.
    """

    def __init__(self, classes: Sequence[str] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.subset = None if classes is None else tuple(classes)

    def check_meta(self) -> None:
        """Check that the class subset is known.

        Raises:
            UserError: If ``classes`` names an unknown class.
        """
        self.check_classes(self.subset or (), 'classes')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep labels and probabilities of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_score`` and ``pred_score``, both of shape (C,).
        """
        for sample in data_samples:
            self.results.append(
                (
                    sample['img_id'],
                    sample['gt_score'].detach().cpu().double().numpy(),
                    sample['pred_score'].detach().cpu().double().numpy(),
                )
            )

    def compute_unique(self, results: list) -> dict[str, float]:
        """Compute the AUC of every class.

        Args:
            results (list[tuple]): ``(img_id, labels (C,), scores (C,))``.

        Returns:
            dict[str, float]: See the keys of the class.

        Raises:
            UserError: If a label is neither 0, 1 nor unknown.
        """
        shape = (len(results), len(self.classes))
        labels = np.array([r[1] for r in results]).reshape(shape)
        scores = np.array([r[2] for r in results]).reshape(shape)
        self._check_labels(labels, [r[0] for r in results])

        auc = {
            name: self._auc(name, labels[:, i], scores[:, i])
            for i, name in enumerate(self.classes)
        }
        chosen = [auc[name] for name in self.subset or self.classes]
        metrics = {
            'AUC': mean_or_nan(chosen),
            'n_classes': int(np.count_nonzero(~np.isnan(chosen))),
        }
        metrics.update({f'AUC/{name}': auc[name] for name in self.classes})
        return metrics

    def _check_labels(self, labels: np.ndarray, img_ids: list) -> None:
        bad = ~(np.isnan(labels) | (labels == 0) | (labels == 1))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise UserError(
                f'{self.task}: image {img_ids[row]} has the label '
                f"{labels[row, column]:g} for '{self.classes[column]}', but "
                'the AUC needs 0, 1 or unknown (blank): correct the '
                'annotation file or the label policy of its reader.'
            )

    def _auc(self, name: str, labels: np.ndarray, scores: np.ndarray):
        known = ~np.isnan(labels)
        labels, scores = labels[known], scores[known]
        if labels.size == 0 or labels.min() == labels.max():
            return float('nan')
        if not np.isfinite(scores).all():
            print_log(
                f'{self.task}: {np.count_nonzero(~np.isfinite(scores))} '
                f"scores of '{name}' are not finite, so its AUC is NaN.",
                logger='current',
                level=logging.WARNING,
            )
            return float('nan')
        return float(roc_auc_score(labels, scores))
