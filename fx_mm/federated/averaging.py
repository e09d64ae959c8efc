"""The average of what the sites sent."""

from collections.abc import Collection, Mapping

from torch import Tensor

from fx_mm.federated.exchange import Update, Weights


def average(
    current: Weights, groups: Mapping[str, str], updates: Collection[Update]
) -> Weights:
    """Average weights over the sites whose images taught them.

    ``w = sum_i n_i w_i / sum_i n_i`` with ``n_i`` the images that site i
    showed to the group of parameters while it learned (FedAvg, McMahan et al.
    2017, with the count by group): of an encoder for boxes, only sites with
    boxes count. Running statistics of norms likewise. In float64, so the
    average of equal values is that value.

    Args:
        current (Weights): The server's; what no site taught stays.
        groups (Mapping[str, str]): Name of a weight to that of its group.
        updates (Collection[Update]): Of at least one site.

    Returns:
        Weights: All that ``current`` has.
    """
    return {
        name: _mean(
            value,
            [
                (update.weights[name], update.images.get(groups[name], 0))
                for update in updates
                if name in update.weights
            ],
        )
        for name, value in current.items()
    }


def _mean(current: Tensor, parts: list[tuple[Tensor, int]]) -> Tensor:
    total = sum(count for _, count in parts)
    if not total:
        return current
    mean = sum(
        value.double() * (count / total) for value, count in parts if count
    )
    return mean.to(current.dtype)  # type: ignore[union-attr]
