"""Whose image is whose."""

import csv
import json
from collections.abc import Sequence

from fx_mm.datasets.readers.tables import read_lines
from fx_mm.tasks import Task
from fx_mm.utils.checks import compile_patient

COLUMN = 'patient'


def find_patients(
    task: Task, ann_file: str, img_ids: Sequence[str], pattern: str | None
) -> list[str] | None:
    """Look up the patients of images.

    In the column ``patient`` of a table, or the entry ``patient`` of a COCO
    file's images; else by the dataset's pattern in the image's name.

    Args:
        task (Task): Its reader says which column names the images.
        ann_file (str): Annotation file that the images are from.
        img_ids (Sequence[str]): Names of the images.
        pattern (str, optional): Regular expression that finds the patient in
            a name: its first group that took part, or all of it.

    Returns:
        list[str], optional: One an image; images whose patient is unknown
        are patients of their own. None if no patient is known.

    Raises:
        UserError: If the pattern is no regular expression.
    """
    known = _read(task, ann_file)
    find = None
    if pattern is not None:
        find = compile_patient(pattern, task.dataset).search
    found = []
    for img_id in img_ids:
        patient = known.get(img_id)
        if not patient and find is not None:
            match = find(img_id)
            patient = match and match[match.lastindex or 0]
        found.append(patient or None)
    if not any(found):
        return None
    # a name of its own, which no patient has
    pairs = zip(found, img_ids, strict=True)
    return [patient or f'image {img_id}' for patient, img_id in pairs]


def _read(task: Task, ann_file: str) -> dict[str, str]:
    if ann_file.endswith('.json'):
        content = json.loads(''.join(read_lines(ann_file, task.name)))
        images = content.get('images', ()) if type(content) is dict else ()
        return {
            str(entry.get('file_name')): str(entry[COLUMN])
            for entry in images
            if entry.get(COLUMN)
        }
    if not ann_file.endswith('.csv'):
        return {}
    rows = csv.reader(read_lines(ann_file, task.name))
    header = [name.strip() for name in next(rows, [])]
    if COLUMN not in header:
        return {}
    name = task.config['reader'].get('image_column')
    image = header.index(name) if name in header else 0
    patient = header.index(COLUMN)
    return {
        row[image].strip(): row[patient].strip()
        for row in rows
        if len(row) > max(image, patient)
    }
