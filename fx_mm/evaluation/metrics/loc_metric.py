"""Metrics of a localization task."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import DTypeLike

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import Statistics, unweighted
from fx_mm.evaluation.statistics.box_matches import ClassMatches, LocRecord
from fx_mm.evaluation.statistics.froc import RATES, Froc
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.operating_points import Thresholds
from fx_mm.registry import METRICS
from fx_mm.utils.checks import check_number

# The COCO thresholds stay bit-equal, so that mAP and mAP_50 are COCO's.
IOU_THRESHOLDS = np.concatenate([[0.40, 0.45], np.linspace(0.5, 0.95, 10)])


@METRICS.register_module()
class LocMetric(TaskMetric):
    """COCO average precision, with the paper's IoU threshold of 0.40.

    Foundation X, section 4, reports ``mAP_40``: AP at IoU 0.40, mean over
    classes, 100 boxes per image, all areas, 101 recall points. Boxes are
    compared in pixels of the original image. A class without a true box
    has no AP (NaN) and the means skip it; a class with true boxes and no
    predicted ones has 0.

    Headline keys: ``mAP_40``, ``mAP_50``, ``mAP`` (IoU .50:.05:.95), and
    ``AP_40/<class>``. Details: ``AP_50/<class>``, ``AP/<class>``; the
    sensitivity at 0.125, 0.25, 0.5, 1, 2, 4 and 8 false positives per image,
    mean over classes, as ``FROC_<rate>``, and its mean over these rates as
    ``FROC`` and ``FROC/<class>`` (:class:`.froc.Froc`); ``n_boxes`` and
    ``n_boxes/<class>``; ``threshold/<class>``, the lowest score with at most
    ``false_positives`` on another split (NaN without).

    Args:
        max_boxes (int): Boxes with the highest scores that count, per image
            and class. Defaults to 100.
        froc_iou (float): IoU from which on a box is a hit for the FROC.
            Defaults to 0.2.
        false_positives (float): Per image and class, at the threshold.
            Defaults to 0.1, as a specificity of 0.9.
        **kwargs: See :class:`TaskMetric`.
    """

    record = LocRecord
    takes_thresholds = True

    def __init__(
        self,
        max_boxes: int = 100,
        froc_iou: float = 0.2,
        false_positives: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_number('metric.max_boxes of a loc task', max_boxes, 1)
        check_number('metric.froc_iou of a loc task', froc_iou, 1e-6, 1)
        where = 'metric.false_positives of a loc task'
        check_number(where, false_positives, 0)
        self.max_boxes = max_boxes
        self.false_positives = false_positives
        self.froc_iou = froc_iou

    def process(
        self, data_batch: Any, data_samples: Sequence[dict[str, Any]]
    ) -> None:
        """Keep the boxes of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_instances`` (``bboxes`` (n, 4) as x1, y1, x2, y2 in
                pixels of the original image, ``labels`` (n,)) and
                ``pred_instances`` (the same and ``scores`` (m,)). Boxes of
                ``ignored_instances``, where a sample has any, are crowds:
                predictions in them are neither right nor wrong.
        """
        for sample in data_samples:
            truth = sample['gt_instances']
            pred = sample['pred_instances']
            boxes = [_boxes(truth['bboxes'])]
            labels = [_array(truth['labels'], np.int64)]
            if 'ignored_instances' in sample:
                crowd = sample['ignored_instances']
                boxes.append(_boxes(crowd['bboxes']))
                labels.append(_array(crowd['labels'], np.int64))
            self.results.append(
                LocRecord(
                    sample['img_id'],
                    np.concatenate(boxes),
                    np.concatenate(labels),
                    np.repeat([False, True][: len(boxes)], [*map(len, boxes)]),
                    _boxes(pred['bboxes']),
                    _array(pred['labels'], np.int64),
                    _array(pred['scores'], np.float64),
                )
            )

    def compute_unique(self, records: list[LocRecord]) -> dict[str, float]:
        """Compute the average precisions at IoU 0.40 and their means.

        Args:
            records (list[LocRecord]): One per image.

        Returns:
            dict[str, float]: See the headline keys of the class.
        """
        images = self.finite(records)
        n_dropped = sum(len(image.pred) for image in records)
        n_dropped -= sum(len(image.pred) for image in images)
        if n_dropped:
            print_log(
                f'{self.task}: {n_dropped} predicted boxes are not finite '
                'and are skipped.',
                logger='current',
                level=logging.WARNING,
            )
        found = unweighted(self._precision(images), len(images))
        detailed = ('AP/', 'AP_50/')
        return {k: v for k, v in found.items() if not k.startswith(detailed)}

    def details(
        self, records: list[LocRecord], thresholds: Thresholds | None = None
    ) -> dict[str, float]:
        """Compute the other keys of the class."""
        labels = [image.labels[~image.crowd] for image in records]
        numbers = np.bincount(
            np.concatenate([*labels, np.zeros(0, np.int64)]),
            minlength=len(self.classes),
        )
        return {
            **unweighted(self.statistics(records), len(records)),
            'n_boxes': int(numbers.sum()),
            **self.by_class('n_boxes', numbers.tolist()),
            **self.by_class('threshold', self._or_none(thresholds).point),
        }

    def statistics(
        self, records: list[LocRecord], thresholds: Thresholds | None = None
    ) -> Statistics:
        """Return the average precisions and the FROC."""
        images = self.finite(records)
        precision, curves = self._precision(images), self.froc(images)

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            # (class, resample, rate)
            values = np.stack([c.sensitivity(weights) for c in curves])
            means = values.mean(axis=2)
            found = {**precision(weights), 'FROC': nan_mean(means, axis=0)}
            for i, rate in enumerate(RATES):
                found[f'FROC_{rate:g}'] = nan_mean(values[:, :, i], axis=0)
            return {**found, **self.by_class('FROC', means)}

        return compute

    def choose_thresholds(self, records: list[LocRecord]) -> Thresholds:
        """Return the threshold of each class; see the class."""
        none = self._or_none(None)
        curves = self.froc(self.finite(records))
        point = [curve.threshold(self.false_positives) for curve in curves]
        return none._replace(point=np.array(point))

    def _or_none(self, thresholds: Thresholds | None) -> Thresholds:
        none = np.full(len(self.classes), np.nan)
        return thresholds or Thresholds(none, none, none)

    def froc(self, images: list[LocRecord]) -> list[Froc]:
        """Return the FROC curve of each class."""
        return [
            Froc(images, c, self.froc_iou, self.max_boxes)
            for c in range(len(self.classes))
        ]

    def _precision(self, images: list[LocRecord]) -> Statistics:
        matches = [
            ClassMatches(images, c, IOU_THRESHOLDS, self.max_boxes)
            for c in range(len(self.classes))
        ]

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            # (class, resample, threshold)
            ap = np.stack([m.average_precision(weights) for m in matches])
            return {
                'mAP_40': nan_mean(ap[..., 0], axis=0),
                'mAP_50': nan_mean(ap[..., 2], axis=0),
                'mAP': nan_mean(ap[..., 2:], axis=(0, 2)),
                **self.by_class('AP_40', ap[..., 0]),
                **self.by_class('AP_50', ap[..., 2]),
                **self.by_class('AP', ap[..., 2:].mean(axis=2)),
            }

        return compute

    @staticmethod
    def finite(records: list[LocRecord]) -> list[LocRecord]:
        """Remove predicted boxes that are not finite."""
        images = []
        for image in records:
            good = np.isfinite(image.pred).all(axis=1)
            good &= np.isfinite(image.scores)
            images.append(
                image._replace(
                    pred=image.pred[good],
                    pred_labels=image.pred_labels[good],
                    scores=image.scores[good],
                )
            )
        return images

    def pack(self, records: list[LocRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""

        def join(values: list[np.ndarray], like: np.ndarray) -> np.ndarray:
            return np.concatenate([*values, like])

        none, no_boxes = np.zeros(0, np.int64), np.zeros((0, 4))
        return dict(
            true_counts=np.array([len(r.truth) for r in records], np.int64),
            true_boxes=join([r.truth for r in records], no_boxes),
            true_labels=join([r.labels for r in records], none),
            true_crowd=join([r.crowd for r in records], none.astype(bool)),
            pred_counts=np.array([len(r.pred) for r in records], np.int64),
            pred_boxes=join([r.pred for r in records], no_boxes),
            pred_labels=join([r.pred_labels for r in records], none),
            pred_scores=join([r.scores for r in records], np.zeros(0)),
        )

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        parts = {}
        for side in ('true', 'pred'):
            ends = np.cumsum(columns[f'{side}_counts'])[:-1]
            for key in ('boxes', 'labels', 'crowd', 'scores'):
                if f'{side}_{key}' in columns:
                    values = np.split(columns[f'{side}_{key}'], ends)
                    parts[side, key] = list(map(torch.from_numpy, values))

        def instances(
            side: str, i: int, keep: Any = slice(None)
        ) -> dict[str, torch.Tensor]:
            found = dict(
                bboxes=parts[side, 'boxes'][i][keep],
                labels=parts[side, 'labels'][i][keep],
            )
            if side == 'pred':
                found['scores'] = parts[side, 'scores'][i]
            return found

        for i, img_id in enumerate(img_ids):
            crowd = parts['true', 'crowd'][i]
            yield dict(
                img_id=img_id,
                gt_instances=instances('true', i, ~crowd),
                ignored_instances=instances('true', i, crowd),
                pred_instances=instances('pred', i),
            )

    def same_truth(self, own: LocRecord, other: LocRecord) -> bool:
        """Whether boxes, labels and crowd flags are the same."""
        return all(
            np.array_equal(getattr(own, key), getattr(other, key))
            for key in ('truth', 'labels', 'crowd')
        )


def _array(values: torch.Tensor, dtype: DTypeLike) -> np.ndarray:
    return values.detach().cpu().numpy().astype(dtype)


def _boxes(boxes: Any) -> np.ndarray:
    # Box structures of mmdet keep their tensor in an attribute.
    return _array(getattr(boxes, 'tensor', boxes), np.float64).reshape(-1, 4)
