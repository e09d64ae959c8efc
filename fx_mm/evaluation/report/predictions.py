"""Predictions and truth of a task in a file, to evaluate them again.

An ``.npz`` without pickled objects: ``meta`` is JSON (UTF-8 bytes), the rest
are arrays. docs/evaluation.md lists them.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

FORMAT = 'fx_mm predictions'
VERSION = 1
FIELDS = ('task', 'predict_on', 'split', 'patients', 'config', 'checkpoint')


@dataclass
class TaskPredictions:
    """What a model predicted for the images of one task, with the truth.

    Attributes:
        task (dict): The task's meta: ``task``, ``dataset``, ``kind``,
            ``classes``, ``label_type``.
        predict_on (str): ``teacher`` or ``student``.
        split (str): ``val`` or ``test``.
        records (list[tuple]): What the metric of the kind keeps, one per
            image.
        patients (list[str], optional): Patient of each record.
        config (str): Name of the config.
        checkpoint (str): Name of the checkpoint.
        metrics (dict[str, float]): Headline metrics of the task.
        sha256 (str): Hash of the checkpoint; empty if it is not known.
    """

    task: dict[str, Any]
    predict_on: str
    split: str
    records: list[Any] = field(repr=False)
    patients: list[str] | None = field(default=None, repr=False)
    config: str = ''
    checkpoint: str = ''
    metrics: dict[str, float] = field(default_factory=dict, repr=False)
    sha256: str = ''

    @property
    def name(self) -> str:
        """str: Name of the task."""
        return self.task['task']

    def save(self, folder: str | Path, metric: TaskMetric) -> Path:
        """Write ``<folder>/<split>/<predict_on>/<dataset>_<kind>.npz``.

        Args:
            folder (str | Path): Folder of all predictions.
            metric (TaskMetric): The task's metric, which packs its records.
        """
        meta = dict(
            format=FORMAT,
            version=VERSION,
            task=self.task,
            predict_on=self.predict_on,
            split=self.split,
            config=self.config,
            checkpoint=self.checkpoint,
            sha256=self.sha256,
            img_ids=[record[0] for record in self.records],
            patients=self.patients,
        )
        text = json.dumps(meta, ensure_ascii=False).encode()
        columns: dict[str, Any] = dict(metric.pack(self.records))
        columns['meta'] = np.frombuffer(text, np.uint8)
        stream = io.BytesIO()
        np.savez_compressed(stream, **columns)
        name = f'{self.name.replace("/", "_")}.npz'
        path = Path(folder) / self.split / self.predict_on / name
        return write_whole(path, stream.getvalue())


def read_predictions(
    file: str | Path, metric_of: Callable[[dict[str, Any]], TaskMetric | None]
) -> TaskPredictions | None:
    """Read a file and evaluate each image again with the task's metric.

    Args:
        file (str | Path): As :meth:`TaskPredictions.save` writes it.
        metric_of (Callable): Returns the metric of a task from its meta; or
            None to skip the file.

    Returns:
        TaskPredictions, optional: With the records and headline metrics of
        that metric.

    Raises:
        UserError: If the file does not hold predictions.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            columns = {key: content[key] for key in content.files}
        meta = json.loads(columns.pop('meta').tobytes())
        if meta['format'] != FORMAT:
            raise ValueError(f'format {meta["format"]}')
        version = meta['version']
    except (
        *(OSError, EOFError, BadZipFile),
        *(ValueError, KeyError, TypeError, AttributeError),
    ) as error:
        raise UserError(
            f'{file} holds no predictions ({error}); give a file or folder '
            'that tools/test.py --save-predictions wrote.'
        ) from error
    if version != VERSION:
        raise UserError(
            f'{file} has version {version} of the predictions, this fx_mm '
            f'reads {VERSION}; write it again with this version.'
        )
    try:
        fields = {key: meta[key] for key in FIELDS}
        fields['sha256'] = meta.get('sha256', '')
        metric = metric_of(meta['task'])
        if metric is None:
            return None
        samples = list(metric.unpack(columns, meta['img_ids']))
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f'{file} lacks a part ({type(error).__name__}: {error}); write '
            'it again with tools/test.py --save-predictions.'
        ) from error
    metric.kept = []
    for sample in samples:
        metric.process(None, [sample])
    metric.evaluate(len(meta['img_ids']))
    records, metrics = metric.kept.pop()
    return TaskPredictions(
        records=records,
        metrics=metrics,
        **fields,
    )


def find_files(path: str | Path) -> list[Path]:
    """Return the prediction files of a folder, or the one file.

    Raises:
        UserError: If there is none.
    """
    path = Path(path)
    files = sorted(path.rglob('*.npz')) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise UserError(
            f'{path} has no predictions; write them with tools/test.py '
            '--save-predictions.'
        )
    return files
