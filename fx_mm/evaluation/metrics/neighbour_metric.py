"""Labels of an image's nearest neighbours, as features place them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fx_mm.evaluation.metrics.feature_spread import (
    FeatureMetric,
    direction_of,
    spread,
)
from fx_mm.evaluation.statistics.bootstrap import Statistics
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.ranking import auc_statistics
from fx_mm.registry import METRICS
from fx_mm.utils.checks import check_number


class NeighbourRecord(NamedTuple):
    """What is kept of an image.

    Attributes:
        img_id (str): Its name.
        direction (np.ndarray): float32 (D,), its features at length 1.
        labels (np.ndarray): float64 (C,), NaN where unknown.
        path (str): Its file, for the picture.
    """

    img_id: str
    direction: np.ndarray
    labels: np.ndarray
    path: str


@METRICS.register_module()
class NeighbourMetric(FeatureMetric):
    """How well the labels of its nearest neighbours tell an image's own.

    Each evaluated image is left out, and its labels are guessed as the
    weighted mean of its ``k`` nearest others', by cosine, as in DINO. The
    labels are of a reader that reads some; nothing is learned from them.

    Headline keys:

    - ``skill``: 2 ``kNN_AUC`` - 1: 0 is no better than chance, 1 perfect.
    - ``kNN_AUC`` and ``kNN_AUC/<class>``: AUC of the guesses, since an X-ray
      may have several labels; the mean is over classes with both outcomes.
      NaN without labels.
    - ``spread``: as of :class:`MaskedImageMetric`.

    Args:
        k (int): Neighbours, at most half of the other images. Defaults to
            20.
        temperature (float): A neighbour weighs ``exp(cosine / temperature)``.
            Defaults to 0.07.
        **kwargs: See :class:`FeatureMetric`.
    """

    record = NeighbourRecord

    def __init__(
        self,
        k: int = 20,
        temperature: float = 0.07,
        **kwargs: Any,
    ) -> None:
        check_number("the metric's k", k, 1, whole=True)
        check_number("the metric's temperature", temperature, 1e-3)
        super().__init__(**kwargs)
        self.k = int(k)
        self.temperature = temperature

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep features and labels of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``pred_feature`` (D,) and, where they are known, ``gt_score``
                (C,) and ``img_path``.
        """
        unknown = np.full(len(self.classes), np.nan)
        for sample in data_samples:
            labels = sample.get('gt_score')
            self.results.append(
                NeighbourRecord(
                    sample['img_id'],
                    direction_of(sample['pred_feature']),
                    unknown
                    if labels is None
                    else labels.cpu().double().numpy(),
                    sample.get('img_path') or '',
                )
            )

    def statistics(
        self, records: list[NeighbourRecord], thresholds: Any = None
    ) -> Statistics:
        """Return all metrics as functions of the images' weights.

        The neighbours are those among all images, whatever their weights.
        """
        directions = np.stack([r.direction for r in records])
        labels = np.stack([r.labels for r in records])
        guesses = self.guess(directions, labels)
        aucs = auc_statistics(
            {
                name: (labels[:, c], guesses[:, c])
                for c, name in enumerate(self.classes)
            }
        )

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            found = aucs(weights)
            values = np.stack([found[name] for name in self.classes], axis=1)
            mean = nan_mean(values, axis=1)
            return {
                'skill': 2 * mean - 1,
                'kNN_AUC': mean,
                'spread': spread(directions, weights),
                **self.by_class('skill', 2 * values.T - 1),
                **self.by_class('kNN_AUC', values.T),
            }

        return compute

    def neighbours(self, directions: np.ndarray) -> np.ndarray:
        """Return the nearest others of each image, the nearest first.

        Args:
            directions (np.ndarray): (N, D), each of length 1.

        Returns:
            np.ndarray: int64 (N, k), fewer where there are fewer others.
        """
        # of all others the guess would be the opposite of the own label
        others = len(directions) - 1
        count = min(self.k, max(others // 2, min(others, 1)))
        found = np.zeros((len(directions), count), np.int64)
        for start in range(0, len(directions), 1024):
            block = directions[start : start + 1024] @ directions.T
            rows = np.arange(len(block))
            block[rows, start + rows] = -np.inf
            found[start : start + 1024] = np.argsort(
                -block, axis=1, kind='stable'
            )[:, :count]
        return found

    def guess(self, directions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the mean of the neighbours' known labels.

        Args:
            directions (np.ndarray): (N, D), each of length 1.
            labels (np.ndarray): (N, C), NaN where unknown.

        Returns:
            np.ndarray: (N, C), NaN where no neighbour's is known.
        """
        near = self.neighbours(directions)
        cosines = np.einsum('nd,nkd->nk', directions, directions[near])
        weights = np.exp((cosines - 1) / self.temperature)[..., None]
        theirs = labels[near]
        known = ~np.isnan(theirs)
        with np.errstate(invalid='ignore', divide='ignore'):
            return (weights * np.where(known, theirs, 0)).sum(1) / (
                weights * known
            ).sum(1)

    def pack(self, records: list[NeighbourRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        return dict(
            direction=np.stack([r.direction for r in records]),
            labels=np.stack([r.labels for r in records]),
        )

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        rows = zip(
            img_ids, columns['direction'], columns['labels'], strict=True
        )
        for img_id, direction, labels in rows:
            yield dict(
                img_id=img_id,
                pred_feature=torch.from_numpy(direction),
                gt_score=torch.from_numpy(labels),
            )

    def same_truth(self, own: NeighbourRecord, other: NeighbourRecord) -> bool:
        """Whether the labels are the same, unknown ones too."""
        return np.array_equal(own.labels, other.labels, equal_nan=True)

    def notes(
        self,
        records: list[NeighbourRecord],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Say what neighbours are, and what is undefined."""
        notes = [
            f'The features of the {predict_on} differ by a spread of '
            f'{values["spread"]:.3f} (0: the same for all images).'
        ]
        if all(np.isnan(r.labels).all() for r in records):
            notes.append(
                'There are no labels to compare neighbours by; give the task '
                'classes and a reader of labels.'
            )
        else:
            notes.append(
                f'The skill compares the kNN AUC, {values["kNN_AUC"]:.3f}, '
                f'with chance: labels guessed from the {self.k} nearest '
                'other images of the split (half of them, if they are '
                'fewer), which may be of the same patient.'
            )
        return notes
