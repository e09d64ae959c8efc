"""Mixed orders: how often each task comes in a pass over several."""

from collections.abc import Mapping, Sequence

import numpy as np

from fx_mm.tasks import all_kinds, split_name
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

EXPONENTS = dict(proportional=1.0, sqrt=0.5, uniform=0.0)
"""Power of a task's images that its share of the steps goes with."""
WALKED = ('cyclic', 'shuffled')
"""Orders that walk one task after the other."""
ORDERS = (*WALKED, 'concurrent', *EXPONENTS)


def check_order(
    order: str | Mapping[str, float], tasks: Sequence[str]
) -> None:
    """Refuse an unknown order, or ratios that do not fit the tasks.

    Args:
        order (str or dict): One of ``ORDERS``, or task or kind to weight.
        tasks (list[str]): Active tasks, ``dataset/kind``.

    Raises:
        UserError: If the order or a name in it is unknown, a task has no
            weight, or a weight is not above 0.
    """
    if isinstance(order, str):
        if order not in ORDERS:
            raise UserError(
                f'cycle.order is "{order}"; it must be one of '
                f'{", ".join(ORDERS)}, or a dict of task to weight.'
            )
        return
    if not isinstance(order, Mapping):
        raise UserError(
            f'cycle.order is {order!r}; it must be one of '
            f'{", ".join(ORDERS)}, or a dict of task to weight.'
        )
    known = (*tasks, *(kind.name for kind in all_kinds()))
    for name, weight in order.items():
        if name not in known:
            raise UserError(
                f'cycle.order names the task "{name}", which is not active; '
                f'{suggest(name, known)}.'
            )
        number = isinstance(weight, int | float)
        if not number or not 0 < weight < float('inf'):
            raise UserError(
                f'cycle.order gives "{name}" the weight {weight!r}; it must '
                'be a number above 0 (leave a task out by "tasks").'
            )
    for task in tasks:
        if _weight(order, task) is None:
            raise UserError(
                f'cycle.order has no weight for the task "{task}"; add it '
                f'or "{split_name(task)[1]}" for all of its kind.'
            )


def is_mixed(order: str | Mapping[str, float]) -> bool:
    """Return whether a pass of an order holds several tasks."""
    return not isinstance(order, str) or order not in WALKED


def mix_steps(
    steps: Mapping[str, int],
    order: str | Mapping[str, float],
    images: Mapping[str, int],
) -> dict[str, int]:
    """Share the steps of a mixed pass among its tasks.

    Args:
        steps (dict): Task to the steps it would walk in the cyclic order,
            capped where the config caps; their sum is the pass's length.
        order (str or dict): ``concurrent`` keeps these steps. Otherwise the
            sum is shared anew, by the task's images to a power (see
            ``EXPONENTS``) or by its weight.
        images (dict): Task to its number of training images.

    Returns:
        dict: Task to steps, at least one each, with the same sum.
    """
    if order == 'concurrent':
        return dict(steps)
    if isinstance(order, str):
        weights = [images[task] ** EXPONENTS[order] for task in steps]
    else:
        weights = [_weight(order, task) for task in steps]
    counts = apportion(sum(steps.values()), weights)
    return dict(zip(steps, counts))


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Split a number by weights: largest remainders, at least 1 each.

    Args:
        total (int): At least as many as there are weights.
        weights (list[float]): Above 0.

    Returns:
        list[int]: Their sum is ``total``.
    """
    # the division first: a sum of large weights may overflow
    shares = np.asarray(weights, np.float64) / np.max(weights)
    quotas = total * shares / shares.sum()
    counts = np.floor(quotas).astype(int)
    order = np.argsort(counts - quotas, kind='stable')
    counts[order[: total - counts.sum()]] += 1
    while counts.min() < 1:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts.tolist()


def _weight(ratios: Mapping[str, float], task: str) -> float | None:
    return ratios.get(task, ratios.get(split_name(task)[1]))
