"""Checkpoints of a run that trains an adapter: without the base."""

from collections.abc import Container
from typing import Any

from fx_mm.models.foundation_x import FoundationX
from fx_mm.utils.adapted_weights import (
    META,
    base_of,
    check_merged,
    describe_base,
    merge_adapters,
)
from fx_mm.utils.checkpoint import with_base
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import model_weights
from fx_mm.utils.predictors import PREDICTORS

STUDENT = 'student.'


def start_on_base(
    checkpoint: dict[str, Any], student: FoundationX, source: str
) -> dict[str, Any] | None:
    """Make a loaded checkpoint one that a run may start from.

    Adapters in it are merged. For a model with an adapter, its model that
    predicts becomes the base of student and teacher.

    Args:
        checkpoint (dict): A loaded checkpoint, changed in place.
        student (FoundationX): The model that will load it.
        source (str): Its path.

    Returns:
        dict: What the run's checkpoints say of their base; None if the model
        has no adapter.

    Raises:
        UserError: If it cannot be the base.
    """
    adapted = base_of(checkpoint) is not None
    if not student.base:
        whole = with_base(checkpoint, source)['state_dict']
        merged = merge_adapters(whole, source)
        if student.adapter is None:
            check_merged(merged, source)
        checkpoint['state_dict'] = merged
        return None
    if adapted:
        raise UserError(
            f'load_from "{source}" holds an adapter, and an adapter needs a '
            'whole model as its base; merge it with '
            'tools/model_converters/publish.py first.'
        )
    weights = model_weights(checkpoint, source).chosen
    check_merged(weights, source)
    _check_complete(student, weights, source)
    checkpoint['state_dict'] = weights
    return describe_base(source, weights, student.base_weights)


def _check_complete(
    student: FoundationX, names: Container[str], source: str
) -> None:
    """Refuse a base that lacks what would then stay random."""
    base = set(student.base_weights)
    missing = [
        name
        for name, _ in student.named_parameters()
        if name in base and name not in names
    ]
    if missing:
        raise UserError(
            f'The base of the adapter, from "{source}", lacks {len(missing)} '
            f'weights that the adapter does not train, such as {missing[0]}; '
            'name their part in model.student.adapter.train, or choose '
            'another base.'
        )


def resume_on_base(
    checkpoint: dict[str, Any], student: FoundationX, source: str
) -> dict[str, Any] | None:
    """Add its base to a checkpoint that a run goes on from.

    Args:
        checkpoint (dict): A loaded checkpoint, changed in place.
        student (FoundationX): The model that will load it.
        source (str): Its path.

    Returns:
        dict: As of :func:`start_on_base`.

    Raises:
        UserError: If only one of checkpoint and model has an adapter, they
            differ in what learns, or the base is missing or another one.
    """
    entry = base_of(checkpoint)
    if (entry is None) != (not student.base):
        which = 'no adapter' if entry is None else 'an adapter'
        raise UserError(
            f'The checkpoint to resume from, "{source}", has {which}, unlike '
            'the config (model.student.adapter); start from its weights with '
            '--cfg-options load_from=CHECKPOINT.'
        )
    if entry is None:
        return None
    whole = with_base(checkpoint, source)
    checkpoint['state_dict'] = whole['state_dict']
    base = set(student.base_weights)
    learning = [name for name in student.state_dict() if name not in base]
    wrong = set(learning) & set(entry['weights'])
    if wrong:
        raise UserError(
            f'The checkpoint to resume from, "{source}", did not train '
            f'{min(wrong)}, which the config does; use its '
            'model.student.adapter.train, or start from its weights.'
        )
    names = [name.removeprefix(STUDENT) for name in whole['state_dict']]
    _check_complete(student, names, source)
    return entry


def leave_out_base(checkpoint: dict[str, Any], entry: dict[str, Any]) -> None:
    """Remove what a checkpoint's base has.

    Args:
        checkpoint (dict): One that is about to be saved, changed in place.
        entry (dict): Of :func:`start_on_base`.
    """
    checkpoint['meta'][META] = entry
    state_dict = checkpoint['state_dict']
    for name in entry['weights']:
        for role in PREDICTORS:
            state_dict.pop(f'{role}.{name}', None)


def check_base(student: FoundationX, entry: dict[str, Any] | None) -> None:
    """Refuse to train an adapter on random weights.

    Raises:
        UserError: If there is no base.
    """
    if student.base and entry is None:
        raise UserError(
            'model.student.adapter trains beside a base that stays as it is, '
            'but load_from is not set; name a trained checkpoint of fx_mm.'
        )
