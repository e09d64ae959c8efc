"""Tasks without annotation that take another task's head: pseudo-labels."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from fx_mm.utils.errors import UserError

PSEUDO = 'pseudo'
OWN_KEYS = (
    PSEUDO,
    *('splits', 'reader', 'batch_size', 'train_pipeline'),
    *('img_ids', 'few_shot'),
)
"""What the entry of such a task may say; the rest is its source's."""
OF_THE_ANNOTATION = ('splits', 'reader', 'img_ids', 'few_shot', 'rehearsal')
"""What it does not take of its source's entry."""
TEACHER_VIEW = 'TeacherView'
STRONG: tuple[dict[str, Any], ...] = (
    dict(
        type='RandomBrightnessContrast',
        brightness_limit=0.4,
        contrast_limit=0.4,
        prob=0.8,
    ),
    dict(type='RandomGamma', gamma_range=(0.5, 1.5), prob=0.5),
    dict(
        type='mmdet.CutOut',
        n_holes=(0, 3),
        cutout_ratio=[(0.05, 0.05), (0.1, 0.1), (0.15, 0.15)],
    ),
)
"""What the student's image goes through behind the teacher's: grey values
alone, so that boxes and masks of the teacher's fit it."""


def inherit_entry(
    where: str,
    entry: Mapping[str, Any],
    source: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """Fill the entry of a task that takes another one's head.

    Args:
        where (str): The entry's place in the config, for messages.
        entry (dict): What the dataset says of the task.
        source (dict): The entry of the task with the head.
        defaults (dict): The config's ``task_defaults`` of the kind.

    Returns:
        dict: An entry as of any other task.

    Raises:
        UserError: If a key is not this task's to say, or the teacher would
            see the student's view.
    """
    for key in entry:
        if key not in OWN_KEYS:
            raise UserError(
                f'{where}.{key} is for a task with a head of its own; this '
                f'one takes it from {entry[PSEUDO]}, so remove it.'
            )
    given = {k: v for k, v in source.items() if k not in OF_THE_ANNOTATION}
    merged = copy.deepcopy({**given, **entry})
    merged.setdefault('reader', dict(type='ImageReader'))
    if entry.get('train_pipeline') is None:
        steps = given.get('train_pipeline', defaults.get('train_pipeline'))
        merged['train_pipeline'] = add_strong_view(steps)
    elif not any(map(_is_teacher_view, entry['train_pipeline'])):
        raise UserError(
            f'{where}.train_pipeline has no TeacherView, so the teacher '
            "would label the student's view; put dict(type='TeacherView') in "
            'front of the strong transforms.'
        )
    return merged


def add_strong_view(
    steps: Sequence[Mapping[str, Any]] | None,
) -> list[Any] | None:
    """Return a training pipeline with a strong view for the student.

    Args:
        steps (Sequence[dict], optional): Of the task with the head; the last
            one packs.

    Returns:
        list[dict], optional: The teacher's view is where it was, or in front
        of the strong steps.
    """
    if not steps:
        return None if steps is None else []
    *before, pack = copy.deepcopy(list(steps))
    if not any(map(_is_teacher_view, before)):
        before.append(dict(type=TEACHER_VIEW))
    return [*before, *copy.deepcopy(STRONG), pack]


def _is_teacher_view(step: Any) -> bool:
    name = str(step.get('type')) if isinstance(step, Mapping) else ''
    return name.rsplit('.', 1)[-1] == TEACHER_VIEW
