"""Weighted boxes fusion: one box from those that several readers drew."""

from collections.abc import Sequence

import numpy as np

from fx_mm.utils.errors import UserError


def fuse_boxes(
    boxes: Sequence[Sequence[float]],
    readers: int,
    iou: float = 0.4,
    scores: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fuse the boxes of one class by weighted boxes fusion.

    Boxes are taken in the order of their scores, equal ones as given. Each
    joins the cluster whose fused box it overlaps most, if by more than
    ``iou``, or starts a new one. A cluster's box is the average of its
    boxes, weighted by their scores. Source: Solovyev, Wang and Gabruseva,
    Weighted boxes fusion: Ensembling boxes from different object detection
    models, 2021, section 3.

    Args:
        boxes (Sequence): (n, 4) x1, y1, x2, y2 in pixels, of all readers.
        readers (int): How many looked at the image.
        iou (float): Least overlap of two boxes of one finding. Defaults to
            0.4, the threshold of VinDr-CXR's challenge.
        scores (Sequence, optional): (n,) weights above 0. Defaults to None:
            all 1.

    Returns:
        tuple[np.ndarray, np.ndarray]: Fused boxes float64 (m, 4), best score
        first; their scores float64 (m,): the mean score of the cluster times
        the fraction of the readers that drew it (1 at most).

    Raises:
        UserError: If ``iou`` is not in 0..1.
    """
    if not 0 <= iou <= 1:
        raise UserError(f'The overlap of fused boxes is in 0..1, not {iou}.')
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    given: np.ndarray = np.ones(len(corners))
    if scores is not None:
        given = np.asarray(scores, np.float64)
    # of the boxes of a cluster times their scores
    sums: np.ndarray = np.zeros((0, 4))
    weights: np.ndarray = np.zeros(0)
    counts: np.ndarray = np.zeros(0)
    for i in np.argsort(-given, kind='stable'):
        overlaps = _overlaps(corners[i], sums / weights[:, None])
        if (overlaps > iou).any():
            best = overlaps.argmax()
            sums[best] += corners[i] * given[i]
            weights[best] += given[i]
            counts[best] += 1
        else:
            sums = np.vstack([sums, corners[i] * given[i]])
            weights = np.append(weights, given[i])
            counts = np.append(counts, 1)
    fused = sums / weights[:, None]
    shared = weights / counts * np.minimum(counts / readers, 1)
    order = np.argsort(-shared, kind='stable')
    return fused[order], shared[order]


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box with each of (n, 4)."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(0).prod(1)
    union = (box[2:] - box[:2]).prod() - shared
    union = union + (others[:, 2:] - others[:, :2]).prod(1)
    return shared / np.maximum(union, 1e-9)
