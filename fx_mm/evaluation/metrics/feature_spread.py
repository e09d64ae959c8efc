"""How far apart the features of different images are."""

import logging

import numpy as np
import torch
import torch.nn.functional as F

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


def warn_of_collapse(
    task: str, found: float, images: int, bound: float = MIN_SPREAD
) -> None:
    """Warn if a model says nearly the same of all images.

    Args:
        task (str): The task, for the message.
        found (float): The spread.
        images (int): Number of images; of one nothing can be said.
        bound (float): Warn below it.
    """
    if images > 1 and found < bound:
        log(
            f'{task}: the features of {images} images are nearly the same '
            f'(spread {found:.4f}, below {bound:g}): the backbone may have '
            'collapsed; lower the learning rate or the consistency weight.',
            logging.WARNING,
        )
