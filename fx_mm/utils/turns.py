"""Choose a few of many so that each kind is among them."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import islice, zip_longest
from typing import TypeVar

Member = TypeVar('Member', bound=Hashable)


def take_turns(
    groups: Mapping[tuple[str, str], Sequence[Member]], number: int
) -> list[Member]:
    """Choose from groups in turn, each member once.

    Kinds take turns first and their groups after that: however few are
    chosen, no kind waits until another has had all its groups.

    Args:
        groups (Mapping): Kind and name of a group to its members.
        number (int): How many to choose at most.
    """
    kinds: dict[str, list[Sequence[Member]]] = {}
    for (kind, _), members in groups.items():
        kinds.setdefault(kind, []).append(members)
    queues = [
        queue for row in zip_longest(*kinds.values()) for queue in row if queue
    ]
    rounds = zip_longest(*queues)
    chosen: dict[Member, None] = {}
    for row in rounds:
        chosen.update((each, None) for each in row if each is not None)
        if len(chosen) >= number:
            break
    return list(islice(chosen, number))
