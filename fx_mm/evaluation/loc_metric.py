"""Average precision of a localization task."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from mmengine.logging import print_log

from fx_mm.registry import METRICS

from .base import TaskMetric, mean_or_nan

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

    Keys: ``mAP_40``, ``mAP_50``, ``mAP`` (IoU .50:.05:.95), and
    ``AP_40/<class>``.

    Args:
        max_boxes (int): Boxes with the highest scores that count, per image
            and class. Defaults to 100.
        **kwargs: See :class:`TaskMetric`.
    """

    def __init__(self, max_boxes: int = 100, **kwargs):
        super().__init__(**kwargs)
        self.max_boxes = max_boxes

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the boxes of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_instances`` (``bboxes`` (n, 4) as x1, y1, x2, y2 in
                pixels of the original image, ``labels`` (n,)) and
                ``pred_instances`` (the same and ``scores`` (m,)).
        """
        for sample in data_samples:
            truth = sample['gt_instances']
            pred = sample['pred_instances']
            self.results.append(
                (
                    sample['img_id'],
                    _boxes(truth['bboxes']),
                    _array(truth['labels'], np.int64),
                    _boxes(pred['bboxes']),
                    _array(pred['labels'], np.int64),
                    _array(pred['scores'], np.float64),
                )
            )

    def compute_unique(self, results: list) -> dict[str, float]:
        """Compute the average precisions.

        Args:
            results (list[tuple]): ``(img_id, true boxes, true labels,
                predicted boxes, predicted labels, scores)``.

        Returns:
            dict[str, float]: See the keys of the class.
        """
        ap = self._average_precision(results)
        metrics = {
            'mAP_40': mean_or_nan(ap[0]),
            'mAP_50': mean_or_nan(ap[2]),
            'mAP': mean_or_nan(ap[2:].ravel()),
        }
        for i, name in enumerate(self.classes):
            metrics[f'AP_40/{name}'] = float(ap[0, i])
        return metrics

    def _average_precision(self, results: list) -> np.ndarray:
        """AP of each threshold and class, shape (12, C), NaN if undefined."""
        undefined = np.full((len(IOU_THRESHOLDS), len(self.classes)), np.nan)
        if not any(len(result[1]) for result in results):
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
        truth, predictions = [], []
        n_dropped = 0
        for image, (
            _,
            boxes,
            labels,
            p_boxes,
            p_labels,
            p_scores,
        ) in enumerate(results, start=1):
            for box, label in zip(boxes, labels, strict=True):
                truth.append(_annotation(len(truth), image, box, label))
            for box, label, score in zip(
                p_boxes, p_labels, p_scores, strict=True
            ):
                if not (np.isfinite(box).all() and np.isfinite(score)):
                    n_dropped += 1
                    continue
                predictions.append(
                    dict(
                        _annotation(len(predictions), image, box, label),
                        score=float(score),
                    )
                )
        if n_dropped:
            print_log(
                f'{self.task}: {n_dropped} predicted boxes are not finite '
                'and were left out.',
                logger='current',
                level=logging.WARNING,
            )
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


def _array(values, dtype) -> np.ndarray:
    return values.detach().cpu().numpy().astype(dtype)


def _boxes(boxes) -> np.ndarray:
    # Box structures of mmdet keep their tensor in an attribute.
    return _array(getattr(boxes, 'tensor', boxes), np.float64).reshape(-1, 4)


def _annotation(index: int, image: int, box: np.ndarray, label: int) -> dict:
    x1, y1, x2, y2 = box.tolist()
    return dict(
        id=index + 1,  # COCO takes id 0 for "not matched"
        image_id=image,
        category_id=int(label),
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=(x2 - x1) * (y2 - y1),
        iscrowd=0,
    )
