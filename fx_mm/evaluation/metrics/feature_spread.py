"""How far apart the features of different images are."""

import logging
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import unweighted
from fx_mm.utils.checks import check_number
from fx_mm.utils.log import log

MIN_SPREAD = 0.01


def direction_of(feature: torch.Tensor) -> np.ndarray:
    """Return a vector (C,) at length 1, as float32."""
    return F.normalize(feature.float(), dim=0).cpu().numpy()


def spread(directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean square distance of directions from their mean.

    Args:
        directions (np.ndarray): (N, C), each of length 1.
        weights (np.ndarray): (R, N), how often each counts.

    Returns:
        np.ndarray: (R,), 0 where all are the same, at most 1.
    """
    exact = weights.astype(np.float64)
    mean = exact @ directions / exact.sum(1, keepdims=True)
    return np.sqrt(np.maximum(1 - (mean**2).sum(1), 0))


class FeatureMetric(TaskMetric):
    """Metrics of features, with a warning where they hardly differ.

    Args:
        min_spread (float): The log warns of a smaller ``spread``. Defaults to
            0.01.
        **kwargs: See :class:`TaskMetric`.
    """

    def __init__(self, min_spread: float = MIN_SPREAD, **kwargs: Any) -> None:
        check_number("the metric's min_spread", min_spread, 0, 1)
        super().__init__(**kwargs)
        self.min_spread = min_spread

    def compute_unique(self, records: list[Any]) -> dict[str, float]:
        """Compute the statistics; of one image nothing is said of spread.

        Args:
            records (list): One per image.

        Returns:
            dict[str, float]: See the class; NaN where undefined.
        """
        found = unweighted(self.statistics(records), len(records))
        if len(records) > 1 and found['spread'] < self.min_spread:
            log(
                f'{self.task}: the features of {len(records)} images are '
                f'nearly the same (spread {found["spread"]:.4f}, below '
                f'{self.min_spread:g}): the backbone may have collapsed; '
                'lower the learning rate or the consistency weight.',
                logging.WARNING,
            )
        return found

    def details(
        self, records: list[Any], thresholds: Any = None
    ) -> dict[str, float]:
        """Compute nothing else."""
        return {}
