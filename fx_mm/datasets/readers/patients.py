"""Look up patient IDs."""

import logging
from collections.abc import Callable, Sequence

from mmengine.registry import DefaultScope

from fx_mm.datasets.readers.base import BaseReader
from fx_mm.datasets.readers.patient_ids import unify_patients
from fx_mm.registry import READERS, SCOPE
from fx_mm.tasks import Task
from fx_mm.utils.checks import compile_patient
from fx_mm.utils.log import log_once


def find_patients(
    task: Task, ann_file: str, img_ids: Sequence[str], pattern: str | None
) -> list[str] | None:
    """Look up the patient IDs of images.

    In the annotation file, as :meth:`BaseReader.patients` reads it; else by
    the dataset's pattern in the image's name. IDs that differ only as
    :func:`patient_key` says become one, and the log tells so.

    Args:
        task (Task): Its reader is asked.
        ann_file (str): Annotation file that the images are from.
        img_ids (Sequence[str]): Names of the images.
        pattern (str, optional): See :func:`match_patient`.

    Returns:
        list[str], optional: One per image; images whose patient is unknown
        are patients of their own. None if no patient is known.

    Raises:
        UserError: If the pattern is not a regular expression.
    """
    known = reader_of(task).patients(ann_file, task)
    match = match_patient(pattern, task.dataset)
    found = [known.get(img_id) or match(img_id) for img_id in img_ids]
    if not any(found):
        return None
    unified = unify_patients(filter(None, found))
    if unified.variants:
        log_once(f'{ann_file}: {unified.describe()}.', logging.WARNING)
    # a name of its own, which no patient has
    pairs = zip(found, img_ids, strict=True)
    return [
        unified.names[patient] if patient else f'image {img_id}'
        for patient, img_id in pairs
    ]


def match_patient(
    pattern: str | None, dataset: str
) -> Callable[[str], str | None]:
    """Return a function from an image's name to its patient ID.

    Args:
        pattern (str, optional): Regular expression that finds the patient in
            a name: its first group that took part, or all of it. None finds
            none.
        dataset (str): For the message.

    Raises:
        UserError: If the pattern is not a regular expression.
    """
    if pattern is None:
        return lambda name: None
    search = compile_patient(pattern, dataset).search

    def find(name: str) -> str | None:
        match = search(name)
        return match and match[match.lastindex or 0]

    return find


def reader_of(task: Task) -> BaseReader:
    """Build the reader of a task."""
    with DefaultScope.overwrite_default_scope(SCOPE):
        return READERS.build(
            dict(task.config['reader'], data_root=task.data_root or None)
        )
