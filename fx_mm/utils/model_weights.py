"""The weights in a checkpoint file, and which model they let predict."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fx_mm.utils.adapted_weights import merge_adapters
from fx_mm.utils.checks import check_choice
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

TEACHER, STUDENT = PREDICTORS
ONLY = 'only'
CONTAINERS = {
    # mmengine's "ema_state_dict" is not here: its EMAHook writes the average
    # to "state_dict" and what is averaged to "ema_state_dict".
    TEACHER: (
        'teacher',
        'teacher_model',
        'state_dict_ema',
        'model_ema',
        'ema_model',
        'ema',
    ),
    STUDENT: (
        'student',
        'student_model',
        'state_dict',
        'model_state_dict',
        'model_state',
        'model',
        'net',
        'network',
        'module',
        'weights',
        'params',
    ),
}
"""Keys under which projects save weights, by whose they are."""
WRAPPERS = ('module.', 'model.', 'net.')
"""Prefixes of DataParallel, of averages and of Lightning modules."""
COMPILED = '_orig_mod.'
"""What ``torch.compile`` puts before the names of a module, anywhere."""
SHOWN = 5


def plain_name(name: str) -> str:
    """Return a weight's name without what wrappers put before it."""
    name = name.replace(COMPILED, '')
    while name.startswith(WRAPPERS):
        name = name.partition('.')[2]
    return name


def find_sets(loaded: object, source: str) -> dict[str, dict[str, Tensor]]:
    """Find the sets of weights in what a checkpoint file holds.

    Args:
        loaded: The content of the file.
        source (str): Its path, for messages.

    Returns:
        dict[str, dict]: Weights by plain name, under ``'teacher'`` and
        ``'student'`` or, of a file with one set, ``'only'``.

    Raises:
        UserError: If there are none, or names of two models are mixed.
    """
    if not isinstance(loaded, dict):
        raise UserError(
            f'Checkpoint "{source}" holds a {type(loaded).__name__} and not '
            'weights by name; save model.state_dict().'
        )
    found: dict[str, dict[str, Tensor]] = {}
    for role, keys in CONTAINERS.items():
        for key in keys:
            weights = _tensors(loaded.get(key), source)
            if weights:
                found.setdefault(role, weights)
    if TEACHER in found:
        return found
    weights = found.get(STUDENT) or _tensors(loaded, source)
    if not weights:
        others = [str(key) for key in loaded][:SHOWN]
        raise UserError(
            f'Checkpoint "{source}" holds no weights (but '
            f'{", ".join(others) or "nothing"}); give a file with a '
            'state dict.'
        )
    return {ONLY: weights}


def _tensors(value: object, source: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of the one inside of it."""
    if not isinstance(value, dict):
        return {}
    tensors = {
        name: each
        for name, each in value.items()
        if isinstance(name, str) and isinstance(each, Tensor)
    }
    if not tensors:
        inner = (
            _tensors(value.get(key), source) for key in CONTAINERS[STUDENT]
        )
        return next(filter(None, inner), {})
    plain: dict[str, str] = {}
    for name in tensors:
        other = plain.setdefault(plain_name(name), name)
        if other != name:
            raise UserError(
                f'Checkpoint "{source}" holds weights of two models, such as '
                f'"{other}" and "{name}"; save the state dict of one.'
            )
    if list(plain) == list(value):
        return value  # with what torch keeps beside: versions of modules
    return {name: tensors[old] for name, old in plain.items()}


def read_weights(loaded: object, source: str) -> dict[str, Tensor]:
    """Return all weights under the names that a ``MeanTeacher`` has.

    Args:
        loaded: The content of a checkpoint file.
        source (str): Its path, for messages.

    Returns:
        dict[str, Tensor]: Of a file with two sets with ``teacher.`` and
        ``student.`` in front; else as they are.

    Raises:
        UserError: As :func:`find_sets`.
    """
    sets = find_sets(loaded, source)
    if ONLY in sets:
        return sets[ONLY]
    return {
        f'{role}.{name}': value
        for role, weights in sets.items()
        for name, value in weights.items()
    }


@dataclass(frozen=True)
class ModelWeights:
    """The weights of a checkpoint, for a model that predicts.

    Attributes:
        state_dict (dict[str, Tensor]): For a ``MeanTeacher``.
        held (tuple[str]): Whose weights they are, ``'teacher'``,
            ``'student'`` or both.
        predict_on (str): Which of them predicts.
    """

    state_dict: dict[str, Tensor]
    held: tuple[str, ...]
    predict_on: str

    @property
    def chosen(self) -> dict[str, Tensor]:
        """dict[str, Tensor]: Those that predict, under plain names."""
        prefix = f'{self.predict_on}.'
        chosen = {
            name.removeprefix(prefix): value
            for name, value in self.state_dict.items()
            if name.startswith(prefix)
        }
        others = tuple(f'{name}.' for name in PREDICTORS)
        return chosen or {
            name: value
            for name, value in self.state_dict.items()
            if not name.startswith(others)
        }


def model_weights(
    loaded: Mapping[str, Any],
    source: str,
    predict_on: str | None = None,
    merge: bool = True,
) -> ModelWeights:
    """Find the weights of a checkpoint, and which model predicts.

    The one place that decides it for every tool: who is asked for, else who
    the checkpoint's meta names, else the first of ``PREDICTORS`` that it
    holds. Adapters are merged into their layers.

    Args:
        loaded (Mapping): The content of a checkpoint file.
        source (str): Its path, for messages.
        predict_on (str, optional): ``'teacher'`` or ``'student'``. Defaults
            to None: see above.
        merge (bool): Merge adapters. Defaults to True.

    Raises:
        UserError: If the checkpoint does not hold the model that is asked
            for or was measured, does not say whose its weights are, or has
            none.
    """
    if predict_on is not None:
        check_choice('predict_on', predict_on, PREDICTORS)
    state_dict = read_weights(loaded, source)
    if merge:
        state_dict = merge_adapters(state_dict, source)
    meta = loaded.get('meta')
    stated = meta.get('predict_on') if isinstance(meta, dict) else None
    held = _held(state_dict, stated)
    if predict_on is not None:
        if not held:
            raise UserError(
                f'Checkpoint "{source}" does not separate student and '
                'teacher; leave out --predict-on (predict_on).'
            )
        if predict_on not in held:
            raise UserError(
                f'Checkpoint "{source}" has no {predict_on}, it holds the '
                f'{held[0]} alone; leave out --predict-on (predict_on).'
            )
    held = held or (STUDENT,)
    if predict_on is None:
        if stated in PREDICTORS and stated not in held:
            raise UserError(
                f'Checkpoint "{source}" was measured as the {stated}, but '
                f'holds the {held[0]} alone; give the whole file, or ask for '
                f'what it holds with --predict-on {held[0]} (predict_on).'
            )
        predict_on = stated if stated in held else held[0]
    return ModelWeights(state_dict, held, predict_on)


def _held(names: Iterable[str], stated: str | None) -> tuple[str, ...]:
    """Return whose weights these are; nobody's if that is not known.

    Those without ``student.`` or ``teacher.`` in front are one model's.
    """
    heads = {name.partition('.')[0] for name in names}
    held = heads & {*PREDICTORS}
    if STUDENT not in heads and heads - {*PREDICTORS, 'data_preprocessor'}:
        held.add(STUDENT if held else stated or '')
    return tuple(name for name in PREDICTORS if name in held)
