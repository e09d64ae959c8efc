"""Metrics of a classification task."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from sklearn.metrics import average_precision_score, roc_auc_score

from fx_mm.evaluation.metrics.base import (
    TaskMetric,
    mean_columns,
    mean_or_nan,
    ones,
)
from fx_mm.evaluation.statistics.bootstrap import Statistics
from fx_mm.evaluation.statistics.calibration import reliability
from fx_mm.evaluation.statistics.operating_points import (
    OperatingPoints,
    Thresholds,
)
from fx_mm.evaluation.statistics.ranking import (
    RankedScores,
    auc,
    average_precision,
)
from fx_mm.registry import METRICS
from fx_mm.utils.errors import UserError

NAN = float('nan')


class Scores(NamedTuple):
    """Labels and probabilities of one image, float64 (C,), NaN = unknown."""

    img_id: str
    labels: np.ndarray
    scores: np.ndarray


@METRICS.register_module()
class ClsMetric(TaskMetric):
    """AUC per class and its mean over classes (Foundation X, section 4).

    A class needs both outcomes to have an AUC: without a positive or
    without a negative image its value is NaN and the mean skips it.
    Unknown labels (NaN) are left out image by image.

    Headline keys: ``AUC`` (mean), ``n_classes`` (classes behind the mean)
    and ``AUC/<class>`` for every class. Details, each with its mean and one
    key a class: ``AP`` (average precision), ``ECE``, and ``F1`` and ``MCC``
    at thresholds from another split (NaN without), which are
    ``threshold_F1/<class>`` and ``threshold_MCC/<class>``; with exclusive
    classes ``accuracy`` of the likeliest class, whose calibration is then
    ``ECE``.

    Args:
        classes (Sequence[str], optional): Classes that means are taken over,
            e.g. the five of CheXpert. Defaults to all.
        **kwargs: See :class:`TaskMetric`.
    """

    record = Scores

    takes_thresholds = True

    def __init__(self, classes: Sequence[str] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.subset = None if classes is None else tuple(classes)

    def check_meta(self) -> None:
        """Check that the class subset is known.

        Raises:
            UserError: If ``classes`` names an unknown class.
        """
        self.check_classes(self.subset or (), 'classes')

    @property
    def multi_class(self) -> bool:
        """bool: Whether the classes exclude each other."""
        return self.dataset_meta.get('label_type') == 'multi-class'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep labels and probabilities of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_score`` and ``pred_score``, both of shape (C,).
        """
        for sample in data_samples:
            self.results.append(
                Scores(
                    sample['img_id'],
                    sample['gt_score'].detach().cpu().double().numpy(),
                    sample['pred_score'].detach().cpu().double().numpy(),
                )
            )

    def compute_unique(self, results: list) -> dict[str, float]:
        """Compute the AUC of every class.

        Args:
            results (list[Scores]): One an image.

        Returns:
            dict[str, float]: See the keys of the class.

        Raises:
            UserError: If a label is neither 0, 1 nor unknown.
        """
        labels, scores = self.stack(results)
        self._check_labels(labels, [r[0] for r in results])
        values = self._per_class(roc_auc_score, labels, scores)
        defined = ~np.isnan(self._chosen(values))
        return {
            'AUC': mean_or_nan(self._chosen(values)),
            'n_classes': int(np.count_nonzero(defined)),
            **self._named('AUC', values),
        }

    def details(
        self, results: list, thresholds: Thresholds | None = None
    ) -> dict[str, float]:
        """Compute the other keys of the class."""
        labels, scores = self.stack(results)
        known = ~np.isnan(labels)
        ap = self._per_class(average_precision_score, labels, scores)
        ece = [
            reliability(scores[:, c], labels[:, c]).error
            if np.isfinite(scores[known[:, c], c]).all()
            else NAN
            for c in range(len(self.classes))
        ]
        found = {'AP': mean_or_nan(self._chosen(ap)), 'ECE': NAN}
        if self.multi_class:
            confidence, right = likeliest(labels, scores)
            found['ECE'] = reliability(confidence, right).error
            found['accuracy'] = mean_or_nan(right)
        else:
            found['ECE'] = mean_or_nan(self._chosen(ece))
        found.update(self._named('AP', ap), **self._named('ECE', ece))
        nowhere = np.full(len(self.classes), NAN)
        thresholds = thresholds or Thresholds(nowhere, nowhere)
        points = OperatingPoints(labels, scores, thresholds)
        for name, (values,) in points(ones(len(labels))).items():
            found[name] = mean_or_nan(self._chosen(values))
            found.update(self._named(name, values))
        found.update(self._named('threshold_F1', thresholds.f1))
        found.update(self._named('threshold_MCC', thresholds.mcc))
        return found

    def statistics(
        self, results: list, thresholds: Thresholds | None = None
    ) -> Statistics:
        """Give AUC, AP, accuracy, and F1 and MCC with thresholds."""
        labels, scores = self.stack(results)
        usable = np.isfinite(scores) | np.isnan(labels)
        ranked = [
            RankedScores(labels[:, c], scores[:, c])
            if usable[:, c].all()
            else None
            for c in range(len(self.classes))
        ]
        points = thresholds and OperatingPoints(labels, scores, thresholds)
        right = likeliest(labels, scores)[1] if self.multi_class else None

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            shape = (len(weights), len(self.classes))
            areas, precisions = np.full(shape, NAN), np.full(shape, NAN)
            for c, of_class in enumerate(ranked):
                if of_class is not None:
                    counts = of_class.counts(weights)
                    areas[:, c] = auc(*counts)
                    precisions[:, c] = average_precision(*counts)
            columns = dict(AUC=areas, AP=precisions)
            if points is not None:
                columns.update(points(weights))
            found = {}
            for name, values in columns.items():
                found[name] = mean_columns(self._chosen(values.T).T)
                found.update(self._named(name, values.T))
            if right is not None:
                known = ~np.isnan(right)
                exact = weights[:, known].astype(np.float64)
                with np.errstate(invalid='ignore'):
                    found['accuracy'] = exact @ right[known] / exact.sum(1)
            return found

        return compute

    def skipped(self, metrics: dict[str, float]) -> list[str]:
        """Name the classes that the mean AUC had to leave out."""
        chosen = self.subset or self.classes
        return [name for name in chosen if np.isnan(metrics[f'AUC/{name}'])]

    def unusable(self, results: list) -> list[str]:
        """Name the classes with scores that are not finite."""
        labels, scores = self.stack(results)
        broken = (~np.isfinite(scores) & ~np.isnan(labels)).any(axis=0)
        chosen = self.subset or self.classes
        return [
            n for n, bad in zip(self.classes, broken) if bad and n in chosen
        ]

    def stack(self, results: list) -> tuple[np.ndarray, np.ndarray]:
        """Give labels and scores of all images, each (N, C)."""
        shape = (len(results), len(self.classes))
        return (
            np.array([r[1] for r in results], np.float64).reshape(shape),
            np.array([r[2] for r in results], np.float64).reshape(shape),
        )

    def _chosen(self, values) -> np.ndarray:
        """Take the classes that means are taken over."""
        names = self.subset or self.classes
        return np.asarray(values)[[self.classes.index(n) for n in names]]

    def _named(self, key: str, values) -> dict:
        return {
            f'{key}/{name}': float(value) if np.ndim(value) == 0 else value
            for name, value in zip(self.classes, values, strict=True)
        }

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

    def _per_class(self, score, labels, scores) -> list[float]:
        return [
            self._score(score, name, labels[:, c], scores[:, c])
            for c, name in enumerate(self.classes)
        ]

    def _score(self, score, name: str, labels, scores) -> float:
        known = ~np.isnan(labels)
        labels, scores = labels[known], scores[known]
        if labels.size == 0 or not labels.any():
            return NAN
        if score is roc_auc_score and labels.all():
            return NAN
        if not np.isfinite(scores).all():
            print_log(
                f'{self.task}: {np.count_nonzero(~np.isfinite(scores))} '
                f"scores of '{name}' are not finite, so its AUC is NaN.",
                logger='current',
                level=logging.WARNING,
            )
            return NAN
        return float(score(labels, scores))

    def pack(self, records: list[tuple]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        shape = (len(records), len(self.classes))
        return dict(
            labels=np.array([r.labels for r in records]).reshape(shape),
            scores=np.array([r.scores for r in records]).reshape(shape),
        )

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        rows = zip(img_ids, columns['labels'], columns['scores'], strict=True)
        for img_id, labels, scores in rows:
            yield dict(
                img_id=img_id,
                gt_score=torch.from_numpy(labels),
                pred_score=torch.from_numpy(scores),
            )

    def same_truth(self, own: Scores, other: Scores) -> bool:
        """Whether the labels are the same, unknown ones too."""
        return np.array_equal(own.labels, other.labels, equal_nan=True)

    def notes(
        self,
        records: list[tuple],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Name the classes without an AUC, and missing thresholds."""
        notes = []
        broken = self.unusable(records)
        if broken:
            notes.append(
                f'The {predict_on} gives scores that are not finite for '
                f'{", ".join(broken)}, which have no AUC: its weights are '
                'broken.'
            )
        skipped = [n for n in self.skipped(values) if n not in broken]
        if skipped:
            notes.append(
                f'AUC is the mean of {values["n_classes"]:.0f} classes; '
                f'{len(skipped)} lack a positive or a negative image: '
                f'{", ".join(skipped)}.'
            )
        if not has_thresholds:
            notes.append(
                'F1 and MCC are undefined: their thresholds come from the '
                'validation split (--thresholds-from val).'
            )
        return notes


def likeliest(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the likeliest of exclusive classes with the true one.

    Args:
        labels (np.ndarray): (N, C), 1 for the true class.
        scores (np.ndarray): (N, C).

    Returns:
        tuple[np.ndarray, np.ndarray]: (N,) probability of the likeliest
        class; 1 where it is the true one, NaN where the image does not have
        exactly one true class.
    """
    usable = np.isfinite(scores).all(axis=1)
    usable &= (labels == 1).sum(axis=1) == 1
    right = np.full(len(labels), NAN)
    answer = scores.argmax(axis=1)
    right[usable] = labels[usable, answer[usable]] == 1
    return scores.max(axis=1, initial=0), right
