"""Predictions and truth of a task in a file, to evaluate them again.

An ``.npz`` without pickled objects: ``meta`` is JSON (UTF-8 bytes), the rest
are arrays. docs/evaluation.md lists them.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.metrics.mask_codes import decode
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

FORMAT = 'fx_mm predictions'
VERSION = 1
FIELDS = ('task', 'weights', 'split', 'patients', 'config', 'checkpoint')


@dataclass
class Predictions:
    """What a model answered to the images of one task.

    Attributes:
        task (dict): The task's meta: ``task``, ``dataset``, ``kind``,
            ``classes``, ``labels``.
        weights (str): ``teacher`` or ``student``.
        split (str): ``val`` or ``test``.
        records (list[tuple]): What the metric of the kind keeps of an image.
        patients (list[str], optional): Patient of each record.
        config (str): Name of the config.
        checkpoint (str): Name of the checkpoint.
        metrics (dict[str, float]): Headline metrics of the task.
    """

    task: dict
    weights: str
    split: str
    records: list = field(repr=False)
    patients: list | None = field(default=None, repr=False)
    config: str = ''
    checkpoint: str = ''
    metrics: dict = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """str: Name of the task."""
        return self.task['task']

    def save(self, folder: str | Path) -> Path:
        """Write ``<folder>/<split>/<weights>/<dataset>_<kind>.npz``."""
        meta = dict(
            format=FORMAT,
            version=VERSION,
            task=self.task,
            weights=self.weights,
            split=self.split,
            config=self.config,
            checkpoint=self.checkpoint,
            img_ids=[record[0] for record in self.records],
            patients=self.patients,
        )
        text = json.dumps(meta, ensure_ascii=False).encode()
        pack = PACKERS[self.task['kind']][0]
        columns = pack(self.records, len(self.task['classes']))
        stream = io.BytesIO()
        np.savez_compressed(
            stream, meta=np.frombuffer(text, np.uint8), **columns
        )
        name = f'{self.name.replace("/", "_")}.npz'
        path = Path(folder) / self.split / self.weights / name
        return write_whole(path, stream.getvalue())


def read_predictions(
    file: str | Path, metric_of: Callable[[dict], TaskMetric | None]
) -> Predictions | None:
    """Read a file and let the task's metric look at each image again.

    Args:
        file (str | Path): As :meth:`Predictions.save` writes it.
        metric_of (Callable): Gives the metric of a task from its meta; or
            None to skip the file.

    Returns:
        Predictions, optional: With what that metric made of them.

    Raises:
        UserError: If the file is none of predictions.
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
    if version > VERSION:
        raise UserError(
            f'{file} has version {version} of the predictions, this '
            f'fx_mm reads up to {VERSION}; update it.'
        )
    try:
        fields = {key: meta[key] for key in FIELDS}
        metric = metric_of(meta['task'])
        if metric is None:
            return None
        unpack = PACKERS[meta['task']['kind']][1]
        samples = list(unpack(columns, meta['img_ids']))
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
    return Predictions(
        records=records,
        metrics=metrics,
        **fields,
    )


def find_files(path: str | Path) -> list[Path]:
    """List the prediction files of a folder, or give the one file.

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


def _pack_scores(records: list, n_classes: int) -> dict:
    shape = (len(records), n_classes)
    return dict(
        labels=np.array([r.labels for r in records]).reshape(shape),
        scores=np.array([r.scores for r in records]).reshape(shape),
    )


def _unpack_scores(columns: dict, img_ids: list) -> Iterator[dict]:
    rows = zip(img_ids, columns['labels'], columns['scores'], strict=True)
    for img_id, labels, scores in rows:
        yield dict(
            img_id=img_id,
            gt_score=torch.from_numpy(labels),
            pred_score=torch.from_numpy(scores),
        )


def _pack_boxes(records: list, n_classes: int) -> dict:
    def join(values: list, like) -> np.ndarray:
        return np.concatenate([*values, like])

    none, no_boxes = np.zeros(0, np.int64), np.zeros((0, 4))
    return dict(
        true_counts=np.array([len(r.truth) for r in records], np.int64),
        true_boxes=join([r.truth for r in records], no_boxes),
        true_labels=join([r.labels for r in records], none),
        true_crowd=join([r.crowd for r in records], none.astype(bool)),
        pred_counts=np.array([len(r.pred) for r in records], np.int64),
        pred_boxes=join([r.pred for r in records], no_boxes),
        pred_labels=join([r.pred_labels for r in records], none),
        pred_scores=join([r.scores for r in records], np.zeros(0)),
    )


def _unpack_boxes(columns: dict, img_ids: list) -> Iterator[dict]:
    parts = {}
    for side in ('true', 'pred'):
        ends = np.cumsum(columns[f'{side}_counts'])[:-1]
        for key in ('boxes', 'labels', 'crowd', 'scores'):
            if f'{side}_{key}' in columns:
                values = np.split(columns[f'{side}_{key}'], ends)
                parts[side, key] = list(map(torch.from_numpy, values))

    def instances(side: str, i: int, keep=slice(None)) -> dict:
        found = dict(
            bboxes=parts[side, 'boxes'][i][keep],
            labels=parts[side, 'labels'][i][keep],
        )
        if side == 'pred':
            found['scores'] = parts[side, 'scores'][i]
        return found

    for i, img_id in enumerate(img_ids):
        crowd = parts['true', 'crowd'][i]
        yield dict(
            img_id=img_id,
            gt_instances=instances('true', i, ~crowd),
            ignored_instances=instances('true', i, crowd),
            pred_instances=instances('pred', i),
        )


def _pack_masks(records: list, n_classes: int) -> dict:
    codes = [record.codes for record in records]
    columns = dict(
        sizes=np.array(
            [c['truth'][0]['size'] for c in codes], np.int64
        ).reshape(-1, 2),
        pred_sizes=np.array(
            [c['pred'][0]['size'] for c in codes], np.int64
        ).reshape(-1, 2),
        img_shapes=np.array([c['img_shape'] for c in codes], np.int64).reshape(
            -1, 2
        ),
    )
    for side, key in (('true', 'truth'), ('pred', 'pred')):
        runs = [mask['counts'] for code in codes for mask in code[key]]
        columns[f'{side}_lengths'] = np.array(
            list(map(len, runs)), np.int64
        ).reshape(-1, n_classes)
        columns[f'{side}_runs'] = np.frombuffer(b''.join(runs), np.uint8)
    return columns


def _unpack_masks(columns: dict, img_ids: list) -> Iterator[dict]:
    sides = {}
    for side, sizes in (('true', 'sizes'), ('pred', 'pred_sizes')):
        lengths = columns[f'{side}_lengths']
        ends = np.cumsum(lengths).reshape(lengths.shape)
        sides[side] = (columns[f'{side}_runs'], lengths, ends, columns[sizes])

    def masks(side: str, i: int) -> torch.Tensor:
        runs, lengths, ends, sizes = sides[side]
        return decode(
            [
                dict(
                    size=sizes[i].tolist(),
                    counts=runs[end - length : end].tobytes(),
                )
                for length, end in zip(lengths[i], ends[i])
            ]
        )

    for i, img_id in enumerate(img_ids):
        yield dict(
            img_id=img_id,
            img_shape=tuple(columns['img_shapes'][i].tolist()),
            gt_sem_seg=dict(data=masks('true', i)),
            pred_sem_seg=dict(data=masks('pred', i)),
        )


PACKERS = dict(
    cls=(_pack_scores, _unpack_scores),
    loc=(_pack_boxes, _unpack_boxes),
    seg=(_pack_masks, _unpack_masks),
)
