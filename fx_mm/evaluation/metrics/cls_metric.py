"""Metrics of a classification task."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import ArrayLike

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import Statistics, unweighted
from fx_mm.evaluation.statistics.calibration import reliability
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.operating_points import (
    OperatingPoints,
    Thresholds,
    choose_thresholds,
)
from fx_mm.evaluation.statistics.ranking import (
    RankedScores,
    auc,
    average_precision,
)
from fx_mm.registry import METRICS
from fx_mm.utils.errors import UserError

NAN = float('nan')


class ClsRecord(NamedTuple):
    """Labels and probabilities of one image, float64 (C,), NaN = unknown."""

    img_id: str
    labels: np.ndarray
    scores: np.ndarray


@METRICS.register_module()
class ClsMetric(TaskMetric):
    """AUC per class and its mean over classes (Foundation X, section 4).

    A class needs both outcomes to have an AUC: without a positive or
    without a negative image its value is NaN and the mean skips it.
    Unknown labels (NaN) are skipped image by image.

    Headline keys: ``AUC`` (mean), ``n_classes`` (classes behind the mean)
    and ``AUC/<class>`` for every class. Details, each with its mean and one
    key per class: ``AP`` (average precision), ``ECE``, and ``F1`` and ``MCC``
    at thresholds from another split (NaN without), which are
    ``threshold_F1/<class>`` and ``threshold_MCC/<class>``; with exclusive
    classes ``accuracy`` of the likeliest class, whose calibration is then
    ``ECE``.

    Args:
        classes (Sequence[str], optional): Classes that means are taken over,
            e.g. the five of CheXpert. Defaults to all.
        **kwargs: See :class:`TaskMetric`.
    """

    record = ClsRecord

    takes_thresholds = True

    def __init__(
        self, classes: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
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

    def process(
        self, data_batch: Any, data_samples: Sequence[dict[str, Any]]
    ) -> None:
        """Keep labels and probabilities of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_score`` and ``pred_score``, both of shape (C,).
        """
        for sample in data_samples:
            self.results.append(
                ClsRecord(
                    sample['img_id'],
                    sample['gt_score'].detach().cpu().double().numpy(),
                    sample['pred_score'].detach().cpu().double().numpy(),
                )
            )

    def compute_unique(self, records: list[ClsRecord]) -> dict[str, float]:
        """Compute the AUC of every class.

        Args:
            records (list[ClsRecord]): One per image.

        Returns:
            dict[str, float]: See the headline keys of the class.

        Raises:
            UserError: If a label is neither 0, 1 nor unknown.
        """
        labels, scores = self.stack(records)
        self._check_labels(labels, [record.img_id for record in records])
        for name, usable in zip(self.classes, self._usable(labels, scores)):
            if not usable:
                print_log(
                    f"{self.task}: some scores of '{name}' are not finite, "
                    'so its AUC is NaN.',
                    logger='current',
                    level=logging.WARNING,
                )
        found = unweighted(self._rank(labels, scores, AUC=auc), len(records))
        chosen = self.subset or self.classes
        found['n_classes'] = len(chosen) - len(self.skipped(found))
        return found

    def details(
        self, records: list[ClsRecord], thresholds: Thresholds | None = None
    ) -> dict[str, float]:
        """Compute the other keys of the class."""
        labels, scores = self.stack(records)
        nowhere = np.full(len(self.classes), NAN)
        thresholds = thresholds or Thresholds(nowhere, nowhere)
        usable = self._usable(labels, scores)
        ece = [
            reliability(scores[:, c], labels[:, c]).error if usable[c] else NAN
            for c in range(len(self.classes))
        ]
        mean = nan_mean(self._chosen(ece))
        if self.multi_class:
            mean = reliability(*likeliest(labels, scores)).error
        return {
            **unweighted(self.statistics(records, thresholds), len(records)),
            'ECE': float(mean),
            **self.by_class('ECE', ece),
            **self.by_class('threshold_F1', map(float, thresholds.f1)),
            **self.by_class('threshold_MCC', map(float, thresholds.mcc)),
        }

    def statistics(
        self, records: list[ClsRecord], thresholds: Thresholds | None = None
    ) -> Statistics:
        """Return AUC, AP, accuracy, and F1 and MCC with thresholds."""
        labels, scores = self.stack(records)
        rank = self._rank(labels, scores, AUC=auc, AP=average_precision)
        points = thresholds and OperatingPoints(labels, scores, thresholds)
        right = likeliest(labels, scores)[1] if self.multi_class else None

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            found = rank(weights)
            if points is not None:
                for name, values in points(weights).items():
                    found.update(self._with_mean(name, values))
            if right is not None:
                known = ~np.isnan(right)
                exact = weights[:, known].astype(np.float64)
                with np.errstate(invalid='ignore'):
                    found['accuracy'] = exact @ right[known] / exact.sum(1)
            return found

        return compute

    def _rank(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        **measures: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> Statistics:
        """Return measures of the ranking of the images, class by class."""
        usable = self._usable(labels, scores)
        ranked = [
            RankedScores(labels[:, c], scores[:, c]) if usable[c] else None
            for c in range(len(self.classes))
        ]

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            shape = (len(weights), len(self.classes))
            columns = {name: np.full(shape, NAN) for name in measures}
            for c, of_class in enumerate(ranked):
                if of_class is not None:
                    counts = of_class.counts(weights)
                    for name, measure in measures.items():
                        columns[name][:, c] = measure(*counts)
            found = {}
            for name, values in columns.items():
                found.update(self._with_mean(name, values))
            return found

        return compute

    def _with_mean(self, key: str, values: np.ndarray) -> dict[str, Any]:
        """Name values (R, C), the mean over the chosen classes first."""
        mean = nan_mean(self._chosen(values.T), axis=0)
        return {key: mean, **self.by_class(key, values.T)}

    @staticmethod
    def _usable(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return which classes have finite scores, bool (C,)."""
        return (np.isfinite(scores) | np.isnan(labels)).all(axis=0)

    def choose_thresholds(self, records: list[ClsRecord]) -> Thresholds:
        """Return the thresholds with the best F1 and MCC of each class."""
        return choose_thresholds(*self.stack(records))

    def skipped(self, metrics: Mapping[str, float]) -> list[str]:
        """Return the classes that the mean AUC had to skip."""
        chosen = self.subset or self.classes
        return [name for name in chosen if np.isnan(metrics[f'AUC/{name}'])]

    def unusable(self, records: list[ClsRecord]) -> list[str]:
        """Return the classes with scores that are not finite."""
        usable = self._usable(*self.stack(records))
        chosen = self.subset or self.classes
        return [
            n
            for n, good in zip(self.classes, usable)
            if not good and n in chosen
        ]

    def stack(self, records: list[ClsRecord]) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and scores of all images, each (N, C)."""
        shape = (len(records), len(self.classes))
        return (
            np.array([r.labels for r in records], np.float64).reshape(shape),
            np.array([r.scores for r in records], np.float64).reshape(shape),
        )

    def _chosen(self, values: ArrayLike) -> np.ndarray:
        """Return the values of the classes that means are taken over."""
        names = self.subset or self.classes
        return np.asarray(values)[[self.classes.index(n) for n in names]]

    def _check_labels(self, labels: np.ndarray, img_ids: list[str]) -> None:
        bad = ~(np.isnan(labels) | (labels == 0) | (labels == 1))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise UserError(
                f'{self.task}: image {img_ids[row]} has the label '
                f"{labels[row, column]:g} for '{self.classes[column]}', but "
                'the AUC needs 0, 1 or unknown (blank): correct the '
                'annotation file or the label policy of its reader.'
            )

    def pack(self, records: list[ClsRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        labels, scores = self.stack(records)
        return dict(labels=labels, scores=scores)

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

    def same_truth(self, own: ClsRecord, other: ClsRecord) -> bool:
        """Whether the labels are the same, unknown ones too."""
        return np.array_equal(own.labels, other.labels, equal_nan=True)

    def notes(
        self,
        records: list[ClsRecord],
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
                f'{", ".join(broken)}, so they have no AUC: its weights are '
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
                'F1 and MCC are undefined without thresholds from the '
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
    chosen = scores.argmax(axis=1)
    right[usable] = labels[usable, chosen[usable]] == 1
    return scores.max(axis=1, initial=0), right
