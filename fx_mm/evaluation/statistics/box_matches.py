"""Which predicted boxes find which true ones, as COCO matches them.

Boxes of one image never match those of another, so the matches of a resample
are those of its images: they are found once and weighted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

RECALLS = np.linspace(0, 1, 101)


class LocRecord(NamedTuple):
    """What a localization metric keeps of one image.

    Attributes:
        img_id (str): Name of the image.
        truth (np.ndarray): float64 (n, 4) x1, y1, x2, y2 in pixels of the
            original image.
        labels (np.ndarray): int64 (n,), class of each.
        crowd (np.ndarray): bool (n,), whether it is a region to ignore:
            what is predicted in it is neither right nor wrong.
        pred (np.ndarray): float64 (m, 4), predicted.
        pred_labels (np.ndarray): int64 (m,).
        scores (np.ndarray): float64 (m,).
    """

    img_id: str
    truth: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    pred: np.ndarray
    pred_labels: np.ndarray
    scores: np.ndarray

    def of_class(
        self, label: int, max_boxes: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the boxes of a class, the highest scores first.

        Returns:
            tuple[np.ndarray, np.ndarray, np.ndarray]: Whether the true boxes
            are crowds, the scores of the predicted ones, and overlaps
            (predicted, true): IoU, with a crowd the share of the predicted
            box that lies in it.
        """
        own = self.labels == label
        chosen = np.flatnonzero(self.pred_labels == label)
        order = np.argsort(-self.scores[chosen], kind='stable')
        chosen = chosen[order][:max_boxes]
        crowd = self.crowd[own]
        overlaps = np.zeros((len(chosen), len(crowd)))
        if overlaps.size:
            overlaps = coco_mask.iou(
                sides(self.pred[chosen]),
                sides(self.truth[own]),
                crowd.astype(np.uint8),
            )
        return crowd, self.scores[chosen], np.asarray(overlaps)


def sides(boxes: np.ndarray) -> np.ndarray:
    """Turn corners into x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def match(
    overlaps: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match the boxes of one image and class, the best score first.

    Each predicted box takes the free true box that it overlaps most, of
    equal ones the last; only one that takes none may lie in a crowd.

    Args:
        overlaps (np.ndarray): (predicted, true), by descending score.
        crowd (np.ndarray): bool (true,).
        thresholds (np.ndarray): (T,) least overlaps.

    Returns:
        tuple[np.ndarray, np.ndarray]: bool (T, predicted): right ones, and
        those that count for nothing.
    """
    right = np.zeros((len(thresholds), len(overlaps)), bool)
    ignored = np.zeros_like(right)
    limits = np.minimum(thresholds, 1 - 1e-10)
    free = np.tile(~crowd, (len(limits), 1))
    for row in np.flatnonzero((overlaps >= limits.min()).any(axis=1)):
        near = np.where(free, overlaps[row], -1)
        last = near.shape[1] - 1 - near[:, ::-1].argmax(axis=1)
        hits = np.flatnonzero(near.max(axis=1) >= limits)
        free[hits, last[hits]] = False
        right[hits, row] = True
        ignored[:, row] = overlaps[row, crowd].max(initial=-1) >= limits
    return right, ignored & ~right


class ClassMatches:
    """Matches of one class over all images, at several overlaps.

    Args:
        images (Sequence[LocRecord]): All images.
        label (int): The class.
        thresholds (np.ndarray): (T,) overlaps.
        max_boxes (int): Boxes with the highest scores that count, per image.
    """

    def __init__(
        self,
        images: Sequence[LocRecord],
        label: int,
        thresholds: np.ndarray,
        max_boxes: int,
    ) -> None:
        self.n_truth = np.zeros(len(images), np.int64)
        empty = np.zeros((len(thresholds), 0), bool)
        counts = np.zeros(len(images), np.int64)
        scores, pairs = [np.zeros(0)], [(empty, empty)]
        for number, image in enumerate(images):
            crowd, own, overlaps = image.of_class(label, max_boxes)
            self.n_truth[number] = np.count_nonzero(~crowd)
            scores.append(own)
            counts[number] = len(own)
            pairs.append(match(overlaps, crowd, thresholds))
        order = np.argsort(-np.concatenate(scores), kind='stable')
        owner = np.repeat(np.arange(len(images)), counts)[order]
        right, ignored = (
            np.concatenate(each, axis=1)[:, order] for each in zip(*pairs)
        )
        # Between two of these, predicted boxes are wrong at all overlaps.
        stops = np.flatnonzero((right | ignored).any(axis=0))
        self._owner = owner[: stops[-1] + 1 if len(stops) else 0]
        self._starts = np.concatenate([[0], stops[:-1] + 1])
        self._stops = stops
        self.right = right[:, stops]
        self._ignored = ignored[:, stops]

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Return COCO's average precision: the mean of :meth:`precisions`.

        Args:
            weights (np.ndarray): uint16 (R, N), how often each image counts.

        Returns:
            np.ndarray: (R, T), NaN without a true box.
        """
        return self.precisions(weights).mean(axis=2)

    def precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return the precision at each of COCO's 101 recalls.

        It is the best that has this recall at least, 0 where none has.

        Args:
            weights (np.ndarray): uint16 (R, N), how often each image counts.

        Returns:
            np.ndarray: (R, T, 101), NaN without a true box.
        """
        total = weights.astype(np.float64) @ self.n_truth
        found = np.zeros((len(weights), len(self.right), len(RECALLS)))
        found[total == 0] = np.nan
        if not len(self._stops):
            return found
        drawn = weights[:, self._owner]
        every = np.add.reduceat(drawn, self._starts, axis=1, dtype=np.int64)
        every = every.cumsum(axis=1)
        at_stops = drawn[:, self._stops].astype(np.int64)
        for t, (right, ignored) in enumerate(zip(self.right, self._ignored)):
            if not right.any():
                continue
            counted = every
            if ignored.any():
                counted = every - (at_stops * ignored).cumsum(axis=1)
            true = at_stops[:, right].cumsum(axis=1)
            precision = true / np.maximum(counted[:, right], 1)
            precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
            for row in np.flatnonzero(total):
                first = np.searchsorted(true[row] / total[row], RECALLS)
                first = first[first < precision.shape[1]]
                found[row, t, : len(first)] = precision[row, first]
        return found
