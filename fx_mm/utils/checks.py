"""Refuse values that make no sense before they do harm."""

from collections.abc import Sequence
from numbers import Real

from .errors import UserError


def check_number(
    where: str,
    value,
    low: float,
    high: float = float('inf'),
    whole: bool = False,
) -> None:
    """Refuse what is no number from ``low`` to ``high``.

    Args:
        where (str): The config's key, for the message.
        value: What the config says.
        low (float): Smallest value allowed.
        high (float): Largest value allowed. Defaults to infinity.
        whole (bool): Whether it must be a whole number. Defaults to False.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and low <= value <= high
        and (not whole or value == int(value))
    ):
        return
    limits = f'at least {low}' if high == float('inf') else f'in {low}..{high}'
    kind = 'whole number' if whole else 'number'
    raise UserError(f'{where} is {value!r}; it must be a {kind}, {limits}.')


def check_choice(where: str, value, known: Sequence) -> None:
    """Refuse a value that is not among those known.

    Args:
        where (str): The config's key, for the message.
        value: What the config says.
        known (Sequence): What it may say.

    Raises:
        UserError: Says where, what and what would be right.
    """
    if value not in known:
        raise UserError(
            f'{where} is {value!r}; use one of {", ".join(map(str, known))}.'
        )
