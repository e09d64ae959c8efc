"""Losses that keep a model's outputs or features near another model's."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fx_mm.models.param_groups import FeatureGroups


def consistency_loss(student: FeatureGroups, teacher: FeatureGroups) -> Tensor:
    """Mean squared error, averaged over the maps of a group and the groups.

    Args:
        student (tuple[tuple[Tensor]]): Groups of features, with gradient.
        teacher (tuple[tuple[Tensor]]): The same, without.

    Returns:
        Tensor: Scalar in float32.
    """
    groups = []
    for ours, theirs in zip(student, teacher):
        errors = [
            F.mse_loss(a.float(), b.float()) for a, b in zip(ours, theirs)
        ]
        groups.append(torch.stack(errors).mean())
    return torch.stack(groups).mean()


def soft_label_loss(
    logits: Tensor,
    target: Tensor,
    temperature: float,
    exclusive: bool = False,
) -> Tensor:
    """Distil logits: ``T^2 * KL(target / T || logits / T)``.

    Hinton et al. 2015, Li and Hoiem 2016 (Learning without Forgetting); as a
    divergence, not a cross-entropy, so that it is 0 where both agree. The
    gradient is the same.

    Args:
        logits (Tensor): (B, C, ...), with gradient.
        target (Tensor): The other model's logits, of the same shape.
        temperature (float): ``T``, above 0.
        exclusive (bool): Whether the classes, dimension 1, exclude each
            other: a softmax. Defaults to False: each is a yes or no.

    Returns:
        Tensor: Scalar in float32, the mean over what is predicted: images,
        or images, classes and pixels.
    """
    ours, theirs = logits.float() / temperature, target.float() / temperature
    if exclusive:
        divergence = F.kl_div(
            ours.log_softmax(1),
            theirs.log_softmax(1),
            reduction='none',
            log_target=True,
        ).sum(1)
    else:
        chance = theirs.sigmoid()
        divergence = F.binary_cross_entropy_with_logits(
            ours, chance, reduction='none'
        ) - F.binary_cross_entropy_with_logits(
            theirs, chance, reduction='none'
        )
    return temperature**2 * divergence.mean()
