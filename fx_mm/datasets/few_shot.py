"""Few training images, each draw within every larger one."""

import hashlib
from collections import Counter
from collections.abc import Sequence


def draw_few(
    names: Sequence[str],
    n: int,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> list[int]:
    """Choose images by a fixed order, whose first ``n`` are taken.

    The order depends on the seed and on the names alone, not on their
    sequence: it is the same for the boxes and the masks of the same images.
    Each patient's first image comes before anyone's second, since images of a
    patient are alike.

    Args:
        names (Sequence[str]): Names of the images, distinct.
        n (int): How many, at most ``len(names)``.
        seed (int): Of the order. Defaults to 0.
        patients (Sequence[str], optional): Patient of each image. Defaults
            to None: each image is of another one.

    Returns:
        list[int]: ``n`` numbers of images, ascending.
    """
    owners = names if patients is None else patients
    drawn = [draw_key(seed, name) for name in names]
    rounds = [0] * len(names)
    seen: Counter[str] = Counter()
    for i in sorted(range(len(names)), key=drawn.__getitem__):
        rounds[i] = seen[owners[i]]
        seen[owners[i]] += 1
    order = sorted(
        range(len(names)),
        key=lambda i: (rounds[i], draw_key(seed, owners[i]), drawn[i]),
    )
    return sorted(order[:n])


def draw_share(
    names: Sequence[str],
    share: float,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> list[int]:
    """Choose patients by a fixed order, with all of their images.

    The order depends on the seed and on the patients alone: a share is part
    of every larger one, and the same for all tasks of the same patients.

    Args:
        names (Sequence[str]): Names of the images, distinct.
        share (float): Of the patients, above 0 and at most 1; at least one
            is taken.
        seed (int): Of the order. Defaults to 0.
        patients (Sequence[str], optional): Patient of each image. Defaults
            to None: each image is of another one.

    Returns:
        list[int]: Numbers of images, ascending.
    """
    owners = names if patients is None else patients
    order = sorted(set(owners), key=lambda owner: draw_key(seed, owner))
    chosen = set(order[: max(1, round(share * len(order)))])
    return [i for i, owner in enumerate(owners) if owner in chosen]


def draw_key(seed: int, name: str) -> bytes:
    """Return what a name is sorted by for a random order."""
    return hashlib.sha256(f'{seed}:{name}'.encode()).digest()
