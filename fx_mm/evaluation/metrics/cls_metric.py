"""Metrics of a classification task."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import ArrayLike

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.metrics.decision_notes import decision_notes
from fx_mm.evaluation.statistics.bootstrap import (
    Interval,
    PairedInterval,
    Statistics,
    unweighted,
)
from fx_mm.evaluation.statistics.calibration import likeliest, reliability
from fx_mm.evaluation.statistics.delong import auc_covariance
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.operating_points import (
    RATIOS,
    OperatingPoints,
    Thresholds,
    choose_thresholds,
)
from fx_mm.evaluation.statistics.ranking import (
    RankedScores,
    auc,
    average_precision,
    sensitivity_at,
    specificity_at,
)
from fx_mm.registry import METRICS
from fx_mm.utils.checks import check_choice, check_number, check_per_class
from fx_mm.utils.errors import UserError

NAN = float('nan')
POINTS = ('specificity', 'sensitivity')


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
    key per class: ``AP`` (average precision), ``Brier`` (mean squared error
    of the probability), ``ECE``, ``Sens_at_spec_<percent>`` and
    ``Spec_at_sens_<percent>`` of the ROC curve, and at thresholds from
    another split (NaN without) ``F1``, ``MCC`` and, at one operating point,
    ``Sensitivity``, ``Specificity``, ``PPV``, ``NPV``, ``LR+`` and ``LR-``
    (the last two without a mean). The thresholds are
    ``threshold_F1/<class>``, ``threshold_MCC/<class>`` and
    ``threshold/<class>``. With exclusive classes there is ``accuracy`` of the
    likeliest class, whose calibration is then ``ECE``, and ``Brier`` is the
    sum over classes (Brier 1950).

    Args:
        classes (Sequence[str], optional): Classes that means are taken over,
            e.g. the five of CheXpert. Defaults to all.
        rates (Sequence[float]): Specificities that the ROC curve's
            sensitivity is read at, and sensitivities for its specificity,
            in 0..1. Defaults to ``(0.9,)``.
        operating_point (Mapping[str, float]): ``specificity`` or
            ``sensitivity`` to the least rate that the threshold has on the
            other split. Defaults to ``dict(specificity=0.9)``.
        prevalence (float | Sequence[float], optional): Share of positives
            among the people that the model is meant for, for ``PPV`` and
            ``NPV``, for all classes or one per class. Defaults to None, that
            of the evaluated images.
        **kwargs: See :class:`TaskMetric`.

    Raises:
        UserError: If a rate or prevalence is not in 0..1, or the operating
            point names something else.
    """

    record = ClsRecord

    takes_thresholds = True

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        rates: Sequence[float] = (0.9,),
        operating_point: Mapping[str, float] | None = None,
        prevalence: float | Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subset = None if classes is None else tuple(classes)
        where = 'metric.{} of a cls task'.format
        for rate in rates:
            check_number(where('rates'), rate, 0, 1)
        self.rates = tuple(rates)
        point = dict(operating_point or dict(specificity=0.9))
        if len(point) != 1:
            raise UserError(
                f'{where("operating_point")} is {point}; give one rate, of '
                f'{" or ".join(POINTS)}.'
            )
        self.point: tuple[str, float] = next(iter(point.items()))
        check_choice(where('operating_point'), self.point[0], POINTS)
        check_number(where('operating_point'), self.point[1], 0, 1)
        self.prevalence = prevalence

    def check_meta(self) -> None:
        """Check the options against the class names.

        Raises:
            UserError: If ``classes`` names an unknown class, or
                ``prevalence`` is no share, or not one per class.
        """
        self.check_classes(self.subset or (), 'classes')
        check_per_class(
            f'metric.prevalence of {self.task}',
            self.prevalence,
            self.classes,
            1,
        )

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
        thresholds = thresholds or Thresholds(
            *np.full((3, len(self.classes)), NAN)
        )
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
            **self.by_class('threshold', map(float, thresholds.point)),
        }

    def statistics(
        self, records: list[ClsRecord], thresholds: Thresholds | None = None
    ) -> Statistics:
        """Return all but counts, ``ECE`` and thresholds."""
        labels, scores = self.stack(records)
        usable = self._usable(labels, scores)
        measures = dict(AUC=auc, AP=average_precision)
        for rate in self.rates:
            name = f'{100 * rate:g}'
            measures |= {
                f'Sens_at_spec_{name}': partial(
                    sensitivity_at, specificity=rate
                ),
                f'Spec_at_sens_{name}': partial(
                    specificity_at, sensitivity=rate
                ),
            }
        rank = self._rank(labels, scores, **measures)
        points = None
        if thresholds is not None:
            points = OperatingPoints(
                labels,
                scores,
                Thresholds(*(np.where(usable, t, NAN) for t in thresholds)),
                np.broadcast_to(
                    np.array(self.prevalence, np.float64), len(self.classes)
                ),
            )
        errors = (scores - labels) ** 2
        errors[:, ~usable] = NAN
        right = None
        if self.multi_class:
            right = likeliest(labels, scores)[1]
            total = np.where(np.isnan(right), NAN, errors.sum(axis=1))
            errors = np.concatenate([errors, total[:, None]], axis=1)
        known = ~np.isnan(errors)
        sums = np.concatenate([np.where(known, errors, 0), known], axis=1)

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            found = rank(weights)
            if points is not None:
                for name, values in points(weights).items():
                    found.update(self._with_mean(name, values))
            for name in RATIOS:
                found.pop(name, None)
            exact = weights.astype(np.float64)
            with np.errstate(invalid='ignore'):
                brier = np.divide(*np.split(exact @ sums, 2, axis=1))
                found.update(
                    self._with_mean('Brier', brier[:, : len(self.classes)])
                )
                if right is not None:
                    found['Brier'] = brier[:, -1]
                    defined = ~np.isnan(right)
                    exact = exact[:, defined]
                    found['accuracy'] = exact @ right[defined] / exact.sum(1)
            return found

        return compute

    def normal_intervals(
        self, records: list[ClsRecord], groups: np.ndarray | None
    ) -> dict[str, Interval]:
        """Return DeLong's intervals of ``AUC`` and ``AUC/<class>``."""
        labels, scores = self.stack(records)
        found = auc_covariance(labels, scores, groups)
        return {
            key: found.interval(weights)
            for key, weights in self._auc_weights(found.aucs).items()
        }

    def normal_differences(
        self,
        records: list[ClsRecord],
        others: list[ClsRecord],
        groups: np.ndarray | None,
    ) -> dict[str, PairedInterval]:
        """Return DeLong's differences and tests of the same keys."""
        pairs = zip(self.stack(records), self.stack(others), strict=True)
        labels, scores = (np.concatenate(pair, axis=1) for pair in pairs)
        found = auc_covariance(labels, scores, groups)
        aucs = found.aucs[: len(self.classes)]
        return {
            key: found.contrast(np.concatenate([weights, -weights]))
            for key, weights in self._auc_weights(aucs).items()
        }

    def _auc_weights(self, aucs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the weights (C,) of the classes in each AUC key."""
        each = np.eye(len(self.classes))
        mean = self._chosen(each).sum(axis=0) * ~np.isnan(aucs)
        mean = mean / max(mean.sum(), 1)
        return {'AUC': mean, **self.by_class('AUC', each)}

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
        """Return the thresholds of each class; see the class."""
        return choose_thresholds(*self.stack(records), *self.point)

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
                'F1, MCC, sensitivity, specificity, predictive values and '
                'likelihood ratios are undefined without thresholds from the '
                'validation split (--thresholds-from val).'
            )
            return notes
        return notes + decision_notes(
            self.classes, values, self.point, predict_on
        )
