"""How far several models agree on each image."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from fx_mm.evaluation.statistics.box_matches import LocRecord, sides
from fx_mm.evaluation.statistics.nan_mean import nan_mean


def decision_agreement(decisions: np.ndarray) -> tuple[float, np.ndarray]:
    """Compare the decisions of several models pair by pair.

    Args:
        decisions (np.ndarray): bool (M, N, C) of M models, N images and C
            classes.

    Returns:
        tuple[float, np.ndarray]: Cohen's kappa, mean over pairs and classes,
        a class that two models decide all alike one way left out; and of each
        image the share of pairs and classes that agree, (N,).
    """
    kappas, same = [], []
    for a, b in combinations(decisions, 2):
        equal = a == b
        same.append(equal.mean(axis=1))
        p, q = a.mean(axis=0), b.mean(axis=0)
        chance = p * q + (1 - p) * (1 - q)
        with np.errstate(invalid='ignore', divide='ignore'):
            kappas.append(
                np.where(
                    chance < 1,
                    (equal.mean(axis=0) - chance) / (1 - chance),
                    np.nan,
                )
            )
    return float(nan_mean(np.ravel(kappas))), np.mean(same, axis=0)


def matched_iou(a: LocRecord, b: LocRecord, least: float) -> float:
    """Compare the boxes that two models predict in an image.

    Boxes of a class are matched one to one so that the sum of their IoU is
    largest; a box without a partner counts as 0.

    Args:
        a (LocRecord): Of one model.
        b (LocRecord): Of the other.
        least (float): Boxes of lower scores do not count.

    Returns:
        float: Sum of IoU over the larger number of boxes, the classes
        together; 1 where neither has a box.
    """
    total, boxes = 0.0, 0
    chosen = [record.scores >= least for record in (a, b)]
    labels = [r.pred_labels[c] for r, c in zip((a, b), chosen)]
    found = [r.pred[c] for r, c in zip((a, b), chosen)]
    for label in np.union1d(*labels):
        first, second = (f[own == label] for f, own in zip(found, labels))
        boxes += max(len(first), len(second))
        if len(first) and len(second):
            iou = coco_mask.iou(
                sides(first), sides(second), np.zeros(len(second), np.uint8)
            )
            total += iou[linear_sum_assignment(-iou)].sum()
    return float(total / boxes) if boxes else 1.0


def mask_dice(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Return the Dice of two models' masks of an image, mean over classes.

    Args:
        a (Sequence[np.ndarray]): C masks (H, W).
        b (Sequence[np.ndarray]): The same of the other.

    Returns:
        float: A class without a pixel in both counts as 1.
    """
    values = []
    for own, other in zip(a, b, strict=True):
        own, other = np.asarray(own, bool), np.asarray(other, bool)
        total = own.sum() + other.sum()
        values.append(2 * (own & other).sum() / total if total else 1.0)
    return float(np.mean(values))
