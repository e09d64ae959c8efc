"""Metrics of a task of masked images."""

import math
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
from fx_mm.registry import METRICS

COLUMNS = ('error', 'flat_error', 'direction')


class MaskedImageRecord(NamedTuple):
    """What is kept of an image.

    Attributes:
        img_id (str): Its name.
        error (float): Mean absolute error over its hidden pixels.
        flat_error (float): The same of the mean of what was seen.
        direction (np.ndarray): float32 (C,), its features at length 1.
    """

    img_id: str
    error: float
    flat_error: float
    direction: np.ndarray


@METRICS.register_module()
class MaskedImageMetric(FeatureMetric):
    """How well hidden pixels are reconstructed, and whether features differ.

    Headline keys, of all images together:

    - ``skill``: 1 less the error by that of a grey square, the mean of what
      is seen of each image. 0 is no better than that, 1 without error.
    - ``L1``: mean absolute error over hidden pixels of the normalised image,
      averaged over images.
    - ``spread``: how far apart the pooled features of the images are, in
      0..1: the root mean square distance of their directions from their
      mean. 0: the backbone says the same of every image, it has collapsed.

    Args:
        **kwargs: See :class:`FeatureMetric`.
    """

    record = MaskedImageRecord

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep the errors and the features of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``pred_error`` and ``gt_flat_error`` (scalars), and
                ``pred_feature`` (C,).
        """
        for sample in data_samples:
            self.results.append(
                MaskedImageRecord(
                    sample['img_id'],
                    sample['pred_error'].item(),
                    sample['gt_flat_error'].item(),
                    direction_of(sample['pred_feature']),
                )
            )

    def statistics(
        self, records: list[MaskedImageRecord], thresholds: Any = None
    ) -> Statistics:
        """Return all metrics as functions of the images' weights."""
        errors = np.array([r.error for r in records])
        flat = np.array([r.flat_error for r in records])
        directions = np.stack([r.direction for r in records])
        columns = np.stack([errors, flat], axis=1)

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            exact = weights.astype(np.float64)
            with np.errstate(invalid='ignore', divide='ignore'):
                means = exact @ columns / exact.sum(1, keepdims=True)
                skill = 1 - means[:, 0] / means[:, 1]
            return {
                'skill': skill,
                'L1': means[:, 0],
                'spread': spread(directions, weights),
                **self.by_class('skill', [skill]),
            }

        return compute

    def pack(self, records: list[MaskedImageRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        return {
            key: np.array([getattr(r, key) for r in records])
            for key in COLUMNS
        }

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        rows = zip(img_ids, *(columns[key] for key in COLUMNS), strict=True)
        for img_id, error, flat_error, direction in rows:
            yield dict(
                img_id=img_id,
                pred_error=error,
                gt_flat_error=flat_error,
                pred_feature=torch.from_numpy(direction),
            )

    def same_truth(
        self, own: MaskedImageRecord, other: MaskedImageRecord
    ) -> bool:
        """Whether the same pixels were hidden of the same image."""
        return math.isclose(own.flat_error, other.flat_error, rel_tol=1e-4)

    def notes(
        self,
        records: list[MaskedImageRecord],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Say what the error is relative to, and how far features differ."""
        return [
            f'The skill compares the masked L1 of the {predict_on}, '
            f'{values["L1"]:.3f}, with that of a grey square (the mean of '
            'what is seen of each image), '
            f'{np.mean([r.flat_error for r in records]):.3f}; its features '
            f'differ by a spread of {values["spread"]:.3f} (0: the same for '
            'all images).'
        ]
