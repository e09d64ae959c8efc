"""Metrics of a localization task."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from fx_mm.evaluation.metrics.base import (
    TaskMetric,
    mean_columns,
    mean_or_nan,
    ones,
    without_columns,
)
from fx_mm.evaluation.statistics.bootstrap import Statistics
from fx_mm.evaluation.statistics.froc import RATES, Froc
from fx_mm.evaluation.statistics.matching import Boxes, ClassMatches
from fx_mm.registry import METRICS
from fx_mm.utils.checks import check_number

try:
    from faster_coco_eval import COCO
    from faster_coco_eval import COCOeval_faster as COCOeval
except ImportError:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

# The COCO thresholds stay bit-equal, so that mAP and mAP_50 are COCO's.
IOU_THRESHOLDS = np.concatenate([[0.40, 0.45], np.linspace(0.5, 0.95, 10)])


@METRICS.register_module()
class LocMetric(TaskMetric):
    """COCO average precision, with the paper's IoU threshold of 0.40.

    Foundation X, section 4, reports ``mAP_40``: AP at IoU 0.40, mean over
    classes, 100 boxes an image, all areas, 101 recall points. Boxes are
    compared in pixels of the original image. A class without a true box
    has no AP (NaN) and the means skip it; a class with true boxes and no
    predicted one has 0.

    Headline keys: ``mAP_40``, ``mAP_50``, ``mAP`` (IoU .50:.05:.95), and
    ``AP_40/<class>``. Details: ``AP_50/<class>``, ``AP/<class>``; the
    sensitivity at 0.125, 0.25, 0.5, 1, 2, 4 and 8 false positives an image,
    mean over classes, as ``FROC_<rate>``, and its mean over these rates as
    ``FROC`` and ``FROC/<class>`` (:class:`.froc.Froc`); ``n_boxes`` and
    ``n_boxes/<class>``.

    Args:
        max_boxes (int): Boxes with the highest scores that count, per image
            and class. Defaults to 100.
        froc_iou (float): IoU from which on a box is a hit for the FROC.
            Defaults to 0.2.
        **kwargs: See :class:`TaskMetric`.
    """

    record = Boxes

    def __init__(
        self, max_boxes: int = 100, froc_iou: float = 0.2, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        check_number('metric.max_boxes of a loc task', max_boxes, 1)
        check_number('metric.froc_iou of a loc task', froc_iou, 1e-6, 1)
        self.max_boxes = max_boxes
        self.froc_iou = froc_iou

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the boxes of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_instances`` (``bboxes`` (n, 4) as x1, y1, x2, y2 in
                pixels of the original image, ``labels`` (n,)) and
                ``pred_instances`` (the same and ``scores`` (m,)). Boxes of
                ``ignored_instances``, where a sample has any, are crowds:
                predictions in them count for nothing.
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
                Boxes(
                    sample['img_id'],
                    np.concatenate(boxes),
                    np.concatenate(labels),
                    np.repeat([False, True][: len(boxes)], [*map(len, boxes)]),
                    _boxes(pred['bboxes']),
                    _array(pred['labels'], np.int64),
                    _array(pred['scores'], np.float64),
                )
            )

    def compute_unique(self, results: list) -> dict[str, float]:
        """Compute the average precisions at IoU 0.40 and their means.

        Args:
            results (list[Boxes]): One an image.

        Returns:
            dict[str, float]: See the headline keys of the class.
        """
        images = self.finite(results)
        n_dropped = sum(len(image.pred) for image in results)
        n_dropped -= sum(len(image.pred) for image in images)
        if n_dropped:
            print_log(
                f'{self.task}: {n_dropped} predicted boxes are not finite '
                'and were left out.',
                logger='current',
                level=logging.WARNING,
            )
        ap = self._average_precision(images)
        return {
            'mAP_40': mean_or_nan(ap[0]),
            'mAP_50': mean_or_nan(ap[2]),
            'mAP': mean_or_nan(ap[2:].ravel()),
            **self._named('AP_40', ap[0]),
        }

    def details(self, results: list, thresholds=None) -> dict[str, float]:
        """Compute the other keys of the class."""
        images = self.finite(results)
        ap = self._average_precision(images)
        numbers = np.zeros(len(self.classes), np.int64)
        for image in images:
            np.add.at(numbers, image.labels[~image.crowd], 1)
        return {
            **self._named('AP_50', ap[2]),
            **self._named('AP', mean_columns(ap[2:].T)),
            **without_columns(
                self._froc_statistics(images)(ones(len(images)))
            ),
            'n_boxes': int(numbers.sum()),
            **dict(
                zip(
                    (f'n_boxes/{name}' for name in self.classes),
                    numbers.tolist(),
                    strict=True,
                )
            ),
        }

    def statistics(self, results: list, thresholds=None) -> Statistics:
        """Give the average precisions and the FROC."""
        images = self.finite(results)
        matches = [
            ClassMatches(images, c, IOU_THRESHOLDS, self.max_boxes)
            for c in range(len(self.classes))
        ]
        froc = self._froc_statistics(images)

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            ap = np.stack([m.average_precision(weights) for m in matches])
            ap = ap.transpose(2, 1, 0)  # (threshold, resample, class)
            every = ap[2:].transpose(1, 0, 2)
            columns = dict(
                AP_40=ap[0],
                AP_50=ap[2],
                AP=np.stack([mean_columns(x) for x in ap[2:].T], axis=1),
            )
            found = {
                'mAP_40': mean_columns(ap[0]),
                'mAP_50': mean_columns(ap[2]),
                'mAP': mean_columns(every.reshape(len(weights), -1)),
            }
            for key, values in columns.items():
                found.update(self._named(key, values.T))
            return {**found, **froc(weights)}

        return compute

    def froc(self, results: list) -> list[Froc]:
        """Give the FROC curve of each class."""
        return [
            Froc(results, c, self.froc_iou, self.max_boxes)
            for c in range(len(self.classes))
        ]

    def _froc_statistics(self, images: list) -> Statistics:
        curves = self.froc(images)

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            values = np.stack([c.sensitivity(weights) for c in curves])
            found = {'FROC': mean_columns(values.mean(axis=2).T)}
            for i, rate in enumerate(RATES):
                found[f'FROC_{rate:g}'] = mean_columns(values[:, :, i].T)
            return {**found, **self._named('FROC', values.mean(axis=2))}

        return compute

    def _named(self, key: str, values) -> dict:
        return {
            f'{key}/{name}': float(value) if np.ndim(value) == 0 else value
            for name, value in zip(self.classes, values, strict=True)
        }

    @staticmethod
    def finite(results: list) -> list[Boxes]:
        """Leave out predicted boxes that are not finite."""
        images = []
        for image in results:
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

    def _average_precision(self, results: list) -> np.ndarray:
        """AP of each threshold and class, shape (12, C), NaN if undefined."""
        undefined = np.full((len(IOU_THRESHOLDS), len(self.classes)), np.nan)
        if all(image.crowd.all() for image in results):
            return undefined
        # Both libraries report their progress on stdout or in a logger.
        with redirect_stdout(StringIO()):
            coco = COCOeval(*self._to_coco(results), 'bbox')
            coco.params.iouThrs = IOU_THRESHOLDS
            coco.params.areaRng = [[0, 1e10]]
            coco.params.areaRngLbl = ['all']
            coco.params.maxDets = [self.max_boxes]
            coco.evaluate()
            coco.accumulate()
        # (threshold, recall, class, area, max boxes); -1: no true box
        precision = np.asarray(coco.eval['precision'])[..., 0, 0]
        ap = precision.mean(axis=1)
        return np.where(precision[:, 0] < 0, np.nan, ap)

    def _to_coco(self, results: list) -> tuple[COCO, COCO]:
        truth: list[dict] = []
        predictions: list[dict] = []
        for number, image in enumerate(results, start=1):
            for box, label, crowd in zip(
                image.truth, image.labels, image.crowd, strict=True
            ):
                truth.append(_annotation(truth, number, box, label, crowd))
            for box, label, score in zip(
                image.pred, image.pred_labels, image.scores, strict=True
            ):
                entry = _annotation(predictions, number, box, label)
                predictions.append(dict(entry, score=float(score)))
        images = [dict(id=i + 1) for i in range(len(results))]
        return self._index(images, truth), self._index(images, predictions)

    def _index(self, images: list, annotations: list) -> COCO:
        # Filled in directly: loadRes fails on an empty list.
        coco = COCO()
        coco.dataset = dict(
            images=images,
            annotations=annotations,
            categories=[
                dict(id=i, name=name) for i, name in enumerate(self.classes)
            ],
        )
        coco.createIndex()
        return coco

    def pack(self, records: list[tuple]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""

        def join(values: list, like) -> np.ndarray:
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

        def instances(side: str, i: int, keep=slice(None)) -> dict:
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

    def same_truth(self, own: Boxes, other: Boxes) -> bool:
        """Whether boxes, labels and crowd flags are the same."""
        return all(
            np.array_equal(getattr(own, key), getattr(other, key))
            for key in ('truth', 'labels', 'crowd')
        )


def _array(values, dtype) -> np.ndarray:
    return values.detach().cpu().numpy().astype(dtype)


def _boxes(boxes) -> np.ndarray:
    # Box structures of mmdet keep their tensor in an attribute.
    return _array(getattr(boxes, 'tensor', boxes), np.float64).reshape(-1, 4)


def _annotation(
    before: list, image: int, box: np.ndarray, label: int, crowd: bool = False
) -> dict:
    x1, y1, x2, y2 = box.tolist()
    return dict(
        id=len(before) + 1,  # COCO takes id 0 for "not matched"
        image_id=image,
        category_id=int(label),
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=(x2 - x1) * (y2 - y1),
        iscrowd=int(crowd),
    )
