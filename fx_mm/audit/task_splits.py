"""What an audit looks at: each split of each task, with its patients."""

import os.path as osp
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from mmengine.config import Config

from fx_mm.audit.findings import Finding
from fx_mm.datasets.readers.patient_ids import PATIENT, unify_patients
from fx_mm.datasets.readers.patients import match_patient, reader_of
from fx_mm.datasets.records import Records
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.tasks import SPLITS, Task, TaskTable, all_kinds
from fx_mm.utils.errors import UserError

FACTS = (PATIENT, 'sex', 'age', 'view', 'source')
"""Columns of prepared tables that are no classes."""


@dataclass
class TaskSplit:
    """One split of one task.

    Attributes:
        task (Task): The task.
        split (str): ``train``, ``val`` or ``test``.
        ann_file (str): Its annotation file.
        records (Records): What the reader returned.
        names (list[str]): The images' names in the annotation file.
        paths (list[str]): Absolute, normalised paths of the images.
        patients (list[str]): The image's name where nothing is known.
        known_patients (bool): Whether anything is known.
        annotated (bool): Whether the reader took the file; if not, only the
            images' names and patients are known.
    """

    task: Task
    split: str
    ann_file: str
    records: Records
    names: list[str]
    paths: list[str]
    patients: list[str]
    known_patients: bool = False
    annotated: bool = True

    @property
    def name(self) -> str:
        """str: ``dataset/kind/split``."""
        return f'{self.task.name}/{self.split}'

    @property
    def place(self) -> str:
        """str: ``dataset/split``."""
        return f'{self.task.dataset}/{self.split}'


def task_table(cfg: Config, tasks: Sequence[str] | None = None) -> TaskTable:
    """Return the tasks of an experiment, or of the file of a dataset.

    Args:
        cfg (Config): A config; it is not changed.
        tasks (Sequence[str], optional): Names of the tasks to keep. Defaults
            to None: those that the config keeps.

    Raises:
        UserError: If the config has no datasets, or an unknown task.
    """
    plain = cfg.to_dict()
    if not plain.get('datasets'):
        plain['datasets'] = {
            name: entry
            for name, entry in plain.items()
            if isinstance(entry, dict) and isinstance(entry.get('tasks'), dict)
        }
        # What the file of a dataset leaves to the experiment.
        entry = dict(img_size=1, batch_size=1)
        plain['task_defaults'] = {
            kind.name: dict(entry) for kind in all_kinds()
        }
    for kind in plain.get('task_defaults') or {}:
        # No sample is loaded, so what they ask for need not be there.
        plain['task_defaults'][kind].update(
            train_pipeline=[], test_pipeline=[]
        )
    for dataset in plain['datasets'].values():
        if isinstance(dataset, dict):
            for entry in (dataset.get('tasks') or {}).values():
                if entry.get('pseudo') is None:
                    entry.update(train_pipeline=[], test_pipeline=[])
                # what was learned counts, not what is rehearsed of it
                entry.pop('rehearsal', None)
    if tasks:
        plain['tasks'] = list(tasks)
    return TaskTable.from_cfg(plain)


def open_splits(
    cfg: Config,
    table: TaskTable,
    built: Iterable[TaskDataset] = (),
    others: Sequence[TaskSplit] = (),
) -> tuple[list[TaskSplit], list[Finding]]:
    """Read the splits of all tasks.

    Args:
        cfg (Config): Gives the datasets' ``patient`` patterns.
        table (TaskTable): The tasks.
        built (Iterable[TaskDataset]): Datasets that need not be read again.
            Defaults to none.
        others (Sequence[TaskSplit]): Further splits to be looked at, whose
            patients are filled in too. Defaults to none.

    Images that are missing on disk stay in. Of a split that its reader
    refuses, the images and patients are taken all the same, so that one wrong
    row does not hide a leak.

    Returns:
        tuple: The splits; an ``unread-split`` finding for each one that its
        reader refuses, and a note for each that is not there.

    Raises:
        UserError: If a pattern is wrong.
    """
    records = {(d.task.name, d.ann_file): d.data_list for d in built}
    splits: list[TaskSplit] = []
    findings: list[Finding] = []
    for task in table.in_cycle():
        for split in SPLITS:
            place = (f'{task.name}/{split}',)
            if (task.config['splits']).get(split) is None:
                message = f'The task has no {split} split.'
                findings.append(
                    Finding('no-split', place, 'note', message, count=0)
                )
                continue
            try:
                splits.append(_open(task, split, records))
            except UserError as error:
                findings.append(
                    Finding('unread-split', place, 'error', str(error))
                )
                splits += open_names(task, split)
    splits += others
    datasets = cfg.get('datasets') or cfg
    for dataset in dict.fromkeys(each.task.dataset for each in splits):
        own = [each for each in splits if each.task.dataset == dataset]
        findings += _find_patients(own, datasets[dataset].get('patient'))
    return splits, findings


def _open(task: Task, split: str, known: dict[Any, Any]) -> TaskSplit:
    ann_file = task.ann_file(split)
    records = known.get((task.name, ann_file))
    if records is None:
        reader = dict(task.config['reader'], max_missing=1.0)
        lenient = replace(task, config=dict(task.config, reader=reader))
        records = TaskDataset(lenient, split, test_mode=False).data_list
        known[task.name, ann_file] = records
    return _of_records(task, split, ann_file, records)


def open_names(task: Task, split: str) -> list[TaskSplit]:
    """Open what can be known of a split without its annotation.

    Args:
        task (Task): The task.
        split (str): ``val``, for example.

    Returns:
        list[TaskSplit]: One, or none if nothing can be read.
    """
    ann_file, reader = task.ann_file(split), reader_of(task)
    images = reader.images(ann_file, task.image_folder)
    try:
        names = dict.fromkeys(reader.names(ann_file, task))
    except UserError:
        return []
    for number, name in enumerate(names):
        # a name that leads out of the data is refused
        with suppress(UserError):
            images.add(name, number)
    if not images.names:
        return []
    records = Records.of_columns(img_path=images.paths, img_id=images.names)
    return [_of_records(task, split, ann_file, records, annotated=False)]


def _of_records(
    task: Task,
    split: str,
    ann_file: str,
    records: Records,
    annotated: bool = True,
) -> TaskSplit:
    names = column(records, 'img_id')
    paths = list(map(_absolute, column(records, 'img_path')))
    return TaskSplit(
        task,
        split,
        ann_file,
        records,
        names,
        paths,
        list(names),
        annotated=annotated,
    )


def column(records: Records, key: str) -> list[Any]:
    """Return one field of all records."""
    return list(records.column(key))


def _absolute(path: str) -> str:
    # most need no work, and abspath takes 3 seconds for a million
    if path.startswith('/') and '//' not in path and '/.' not in path:
        return path
    return osp.abspath(path)


def _find_patients(
    splits: list[TaskSplit], pattern: str | None
) -> list[Finding]:
    """Fill in the patients of a dataset.

    From ``patient`` in its tables and COCO files, which also tell the
    patients of its other tasks; else from the names by the config's pattern.
    IDs of all splits that differ only as :func:`patient_key` says are one.
    """
    dataset = splits[0].task.dataset
    known: dict[Any, Any] = {}
    for split in sorted(splits, key=lambda split: split.task.kind.name):
        # Labels come first: of most images, boxes need not be asked.
        if not known.keys() >= set(split.paths):
            known.update(_stated_patients(split))
    if not known and pattern is None:
        return [
            Finding(
                'unknown-patients',
                (dataset,),
                'note',
                'No annotation file tells the patients and the config has no '
                '"patient" pattern: each image counts as one.',
                len(set().union(*(split.names for split in splits))),
            )
        ]
    match = match_patient(pattern, dataset)
    found = [
        [known.get(path) or match(name) for path, name in pairs]
        for pairs in (zip(split.paths, split.names) for split in splits)
    ]
    unified = unify_patients(p for each in found for p in each if p)
    strangers: dict[Any, Any] = {}
    for split, patients in zip(splits, found):
        split.known_patients = True
        for index, (name, patient) in enumerate(zip(split.names, patients)):
            if patient:
                split.patients[index] = unified.names[patient]
            else:
                strangers[name] = None
    findings = []
    if strangers:
        findings.append(
            Finding(
                'unknown-patients',
                (dataset,),
                'warning',
                f'The patient of {len(strangers)} images is unknown; each '
                'counts as a patient of its own.',
                len(strangers),
                list(strangers),
            )
        )
    if unified.variants:
        findings.append(
            Finding(
                'patient-spellings',
                (dataset,),
                'warning',
                f'Of {dataset}, {unified.describe()}.',
                len(unified.variants),
                [' = '.join(texts) for texts in unified.variants.values()],
            )
        )
    return findings


def _stated_patients(split: TaskSplit) -> dict[Any, Any]:
    """Map image paths to the patients that a split's file tells."""
    by_name = reader_of(split.task).patients(split.ann_file, split.task)
    pairs = zip(split.paths, map(by_name.get, split.names))
    return {path: patient for path, patient in pairs if patient}


def reads_coco(task: Task) -> bool:
    """Whether a task's annotation is a COCO file."""
    return str(task.config['reader']['type']).endswith('CocoReader')
