"""Metrics of a regression task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import Statistics, unweighted
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.registry import METRICS

HEADLINES = ('R2', 'Pearson', 'MAE')
ROUNDING = 1e-10
"""Share of a sum of squares that is rounding error."""


class RegRecord(NamedTuple):
    """Numbers of one image, float64 (C,); true ones NaN where unknown."""

    img_id: str
    truth: np.ndarray
    pred: np.ndarray


@METRICS.register_module()
class RegMetric(TaskMetric):
    """R2, correlation and absolute error of predicted numbers.

    Unknown numbers (NaN) are skipped image by image. Of a target that has
    one value in all images, R2 and correlation are NaN, and the means skip
    it. A target with predictions that are not finite is NaN.

    Headline keys, each with its mean over targets and one key per target:
    ``R2`` (coefficient of determination: 1 less the squared error by that of
    the mean of the truth; below 0 worse than that mean), ``Pearson`` and
    ``MAE`` (in the unit of the target; the mean says something where the
    targets share a unit). Details: ``RMSE/<target>``, ``bias/<target>`` and
    ``SD/<target>`` (mean and standard deviation of prediction less truth) and
    ``n_known/<target>`` (images).

    Args:
        **kwargs: See :class:`TaskMetric`.
    """

    record = RegRecord

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep true and predicted numbers of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_value`` and ``pred_value``, both of shape (C,).
        """
        for sample in data_samples:
            truth, pred = (
                sample[key].detach().cpu().double().numpy()
                for key in ('gt_value', 'pred_value')
            )
            self.results.append(RegRecord(sample['img_id'], truth, pred))

    def compute_unique(self, records: list[RegRecord]) -> dict[str, float]:
        """Compute R2, correlation and absolute error.

        Args:
            records (list[RegRecord]): One per image.

        Returns:
            dict[str, float]: See the headline keys of the class.
        """
        found = unweighted(self.statistics(records), len(records))
        return {k: v for k, v in found.items() if _is_headline(k)}

    def details(
        self, records: list[RegRecord], thresholds: Any = None
    ) -> dict[str, float]:
        """Compute the other keys of the class."""
        found = unweighted(self.statistics(records), len(records))
        found = {k: v for k, v in found.items() if not _is_headline(k)}
        known = ~np.isnan(self.stack(records)[0])
        for name, count in zip(self.classes, known.sum(axis=0)):
            found[f'n_known/{name}'] = int(count)
        return found

    def statistics(
        self, records: list[RegRecord], thresholds: Any = None
    ) -> Statistics:
        """Return all metrics as functions of the images' weights."""
        targets = [_Target(*pair) for pair in self._columns(records)]

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            of_targets = [target(weights) for target in targets]
            found = {}
            for key in of_targets[0]:
                values = np.stack([each[key] for each in of_targets], axis=1)
                if key in HEADLINES:
                    found[key] = nan_mean(values, axis=1)
                found |= self.by_class(key, values.T)
            return found

        return compute

    def stack(self, records: list[RegRecord]) -> tuple[np.ndarray, np.ndarray]:
        """Return true and predicted numbers of all images, each (N, C)."""
        shape = (len(records), len(self.classes))
        return (
            np.array([r[1] for r in records], np.float64).reshape(shape),
            np.array([r[2] for r in records], np.float64).reshape(shape),
        )

    def _columns(
        self, records: list[RegRecord]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        truth, pred = self.stack(records)
        yield from zip(truth.T, pred.T)

    def pack(self, records: list[RegRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        truth, pred = self.stack(records)
        return dict(truth=truth, pred=pred)

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        rows = zip(img_ids, columns['truth'], columns['pred'], strict=True)
        for img_id, truth, pred in rows:
            yield dict(
                img_id=img_id,
                gt_value=torch.from_numpy(truth),
                pred_value=torch.from_numpy(pred),
            )

    def same_truth(self, own: RegRecord, other: RegRecord) -> bool:
        """Whether the numbers are the same, unknown ones too."""
        return np.array_equal(own.truth, other.truth, equal_nan=True)

    def notes(
        self,
        records: list[RegRecord],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Name what is undefined, and the spread that R2 is relative to."""
        notes, spreads = [], []
        for name, (truth, pred) in zip(self.classes, self._columns(records)):
            known = ~np.isnan(truth)
            if not np.isfinite(pred[known]).all():
                notes.append(
                    f'The {predict_on} gives numbers that are not finite for '
                    f'{name}, which has no metrics: its weights are broken.'
                )
            elif np.isnan(values[f'R2/{name}']):
                notes.append(
                    f'R2 and correlation of {name} are undefined: its known '
                    f'numbers ({known.sum()}) do not differ.'
                )
            else:
                spread = truth[known].std()
                spreads.append(f'{name} {spread:.3g} ({known.sum()} images)')
        if spreads:
            notes.append(
                'R2 is relative to the spread of the truth, and MAE is in '
                f'its unit; standard deviations: {", ".join(spreads)}.'
            )
        if len(self.classes) > 1:
            notes.append(
                f'MAE is the mean of {len(self.classes)} targets, which says '
                'something only where they share a unit.'
            )
        return notes


class _Target:
    """Metrics of one target as functions of the images' weights.

    Args:
        truth (np.ndarray): float64 (N,), NaN where unknown.
        pred (np.ndarray): float64 (N,).
    """

    def __init__(self, truth: np.ndarray, pred: np.ndarray) -> None:
        self._known = ~np.isnan(truth)
        truth, pred = truth[self._known], pred[self._known]
        finite = bool(np.isfinite(pred).all())
        gap = pred - truth if finite else np.full(pred.shape, np.nan)
        if truth.size:
            # about their means, so that sums of squares keep their digits
            truth = truth - truth.mean()
            pred = pred - pred.mean() if finite else pred
        self._moments = np.stack(
            [
                gap,
                np.abs(gap),
                gap**2,
                truth,
                truth**2,
                pred,
                pred**2,
                truth * pred,
            ],
            axis=1,
        )

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the metrics, each (R,), of weights (R, N)."""
        exact = weights[:, self._known].astype(np.float64)
        with np.errstate(invalid='ignore', divide='ignore'):
            means = exact @ self._moments / exact.sum(axis=1, keepdims=True)
            bias, error, squared, truth, truth2, pred, pred2, both = means.T
            truth_var = _variance(truth, truth2)
            pred_var = _variance(pred, pred2)
            return dict(
                R2=1 - squared / truth_var,
                Pearson=(both - truth * pred) / np.sqrt(truth_var * pred_var),
                MAE=error,
                RMSE=np.sqrt(squared),
                bias=bias,
                SD=np.sqrt(np.maximum(squared - bias**2, 0)),
            )


def _variance(mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Variance from two means; NaN where it is rounding error or 0."""
    variance = squares - mean**2
    return np.where(variance > ROUNDING * squares, variance, np.nan)


def _is_headline(key: str) -> bool:
    return key.partition('/')[0] in HEADLINES
