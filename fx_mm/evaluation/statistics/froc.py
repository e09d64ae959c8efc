"""Share of the true boxes found at a number of false alarms per image."""

from collections.abc import Sequence

import numpy as np

from fx_mm.evaluation.statistics.box_matches import LocRecord
from fx_mm.evaluation.statistics.ranking import RankedScores

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per image (LUNA16, NODE21)."""


class Froc:
    """Free-response ROC curve of one class.

    A true box is found from the highest score on of the boxes that overlap
    it; a predicted box that overlaps no true box and no crowd is a false
    positive. Further boxes on a finding are neither right nor wrong (as in
    LUNA16), and the curve does not depend on the order of equal
    scores.

    Args:
        images (Sequence[LocRecord]): All images.
        label (int): The class.
        overlap (float): Least IoU of a hit.
        max_boxes (int): Boxes with the highest scores that count, per image.
    """

    def __init__(
        self,
        images: Sequence[LocRecord],
        label: int,
        overlap: float,
        max_boxes: int,
    ) -> None:
        self._n_truth = np.zeros(len(images), np.int64)
        found, scores, owners = [], [], []
        for number, image in enumerate(images):
            crowd, own, overlaps = image.of_class(label, max_boxes)
            self._n_truth[number] = np.count_nonzero(~crowd)
            hit = overlaps >= overlap
            wrong = own[~hit.any(axis=1)]
            # scores descend, so the first hit is the highest
            best = [
                own[column.argmax()]
                for column in hit.T[~crowd]
                if column.any()
            ]
            found += [1] * len(best) + [0] * len(wrong)
            scores += [*best, *wrong]
            owners += [number] * (len(best) + len(wrong))
        self._ranked = RankedScores(
            np.array(found, np.float64),
            np.array(scores, np.float64),
            np.array(owners, np.int64),
        )

    def curve(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return false positives per image and sensitivities.

        Args:
            weights (np.ndarray): uint16 (R, N), how often each image counts.

        Returns:
            tuple[np.ndarray, np.ndarray]: (R, T), rising; NaN without an
            image, or without a true box.
        """
        true, false = self._ranked.counts(weights)
        exact = weights.astype(np.float64)
        images, boxes = exact.sum(axis=1), exact @ self._n_truth
        with np.errstate(invalid='ignore', divide='ignore'):
            return false / images[:, None], true / boxes[:, None]

    def threshold(self, rate: float) -> float:
        """Return the lowest score with at most so many false positives.

        Args:
            rate (float): False positives per image.

        Returns:
            float: NaN without a true box, or where no score has it.
        """
        rates, _ = self.curve(np.ones((1, len(self._n_truth)), np.uint16))
        last = np.count_nonzero(rates <= rate)
        if not last or not self._n_truth.any():
            return float('nan')
        return float(self._ranked.thresholds[last - 1])

    def best_f1(self) -> tuple[float, float]:
        """Return the score with the best F1 of boxes, and this F1.

        Of equally good ones the highest.

        Returns:
            tuple[float, float]: NaN and 0 where no true box is found.
        """
        true, false = self._ranked.counts(
            np.ones((1, len(self._n_truth)), np.uint16)
        )
        if not true.size or not true[0, -1]:
            return float('nan'), 0.0
        f1 = 2 * true[0] / (true[0] + false[0] + self._n_truth.sum())
        best = int(f1.argmax())
        return float(self._ranked.thresholds[best]), float(f1[best])

    def sensitivity(self, weights: np.ndarray) -> np.ndarray:
        """Return the sensitivity at each of the :data:`RATES`.

        It is that of the lowest threshold with no more false positives, and
        0 where there is none.

        Returns:
            np.ndarray: (R, 7), NaN without a true box.
        """
        rates, curve = self.curve(weights)
        boxes = weights.astype(np.float64) @ self._n_truth
        padded = np.pad(curve, ((0, 0), (1, 0)))
        found = np.empty((len(weights), len(RATES)))
        for i, rate in enumerate(RATES):
            last = np.count_nonzero(rates <= rate, axis=1)
            found[:, i] = np.take_along_axis(padded, last[:, None], 1)[:, 0]
        found[boxes == 0] = np.nan
        return found
