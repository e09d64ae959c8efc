"""Vectors of a trained model's images, to learn something small on."""

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fx_mm.datasets.collate import collate_batch
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.models import MeanTeacher, build_model
from fx_mm.models.loading import fill_model
from fx_mm.tasks import SPLITS, ClassificationKind, Task, TaskTable
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.checks import check_choice, check_number
from fx_mm.utils.device import find_device
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.log import log_once
from fx_mm.utils.model_weights import model_weights

BATCH_SIZE = 32
LAYERS = ('pooled', 'projected')
FORMAT = 'fx_mm embeddings'
VERSION = 1


@dataclass
class Embeddings:
    """Vectors with what is known of their images.

    Attributes:
        vectors (np.ndarray): float32 (N, D).
        labels (np.ndarray): float32 (N, C), NaN where unknown or where the
            image's dataset does not have the class.
        classes (list[str]): C names.
        names (np.ndarray): (N,) of the images in their annotation files.
        splits (np.ndarray): (N,) train, val or test.
        datasets (np.ndarray): (N,).
        patients (np.ndarray): (N,), the image's own name where unknown.
        meta (dict): layer, predict_on, config, checkpoint; by dataset its
            ``classes``.
    """

    vectors: np.ndarray
    labels: np.ndarray
    classes: list[str]
    names: np.ndarray
    splits: np.ndarray
    datasets: np.ndarray
    patients: np.ndarray
    meta: dict[str, Any]

    def save(self, file: str | Path) -> Path:
        """Write an ``.npz`` without pickled objects."""
        meta = dict(
            self.meta, format=FORMAT, version=VERSION, classes=self.classes
        )
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            embeddings=self.vectors,
            labels=self.labels,
            classes=np.array(self.classes),
            names=self.names,
            split=self.splits,
            dataset=self.datasets,
            patient=self.patients,
            meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        )
        return write_whole(file, stream.getvalue())

    @classmethod
    def load(cls, file: str | Path) -> 'Embeddings':
        """Read what :meth:`save` wrote.

        Raises:
            UserError: If it is another file.
        """
        try:
            with np.load(file, allow_pickle=False) as content:
                meta = json.loads(content['meta'].tobytes())
                if meta.pop('format') != FORMAT:
                    raise ValueError('another format')
                if meta.pop('version') > VERSION:
                    raise ValueError('a later version')
                keys = ('embeddings', 'labels', 'names', 'split', 'dataset')
                vectors, labels, names, splits, datasets = (
                    content[key] for key in keys
                )
                patients = content['patient']
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise UserError(
                f'{file} holds no embeddings ({error}); write them with '
                'tools/analysis_tools/embed.py.'
            ) from error
        classes = meta.pop('classes')
        return cls(
            *(vectors, labels, classes, names, splits, datasets, patients),
            meta,
        )


def load_encoder(
    cfg: Config,
    checkpoint: str,
    device: str | torch.device | None = None,
    trust: bool = False,
    predict_on: str | None = None,
) -> MeanTeacher:
    """Build a model for its pooled vectors; heads need not be there.

    So a dataset can be embedded that the checkpoint does not know.

    Args:
        cfg (Config): Its only tasks have labels.
        checkpoint (str): A file or URL.
        device (str or torch.device, optional): Defaults to None: a GPU if
            there is one.
        trust (bool): Unpickle anything in it. Defaults to False.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None: as the checkpoint says.

    Returns:
        MeanTeacher: In eval mode.

    Raises:
        UserError: If backbone, norm or projector are not in the checkpoint.
    """
    where = find_device(device)
    model = build_model(cfg)
    loaded = load_source(checkpoint, trust)
    found = model_weights(loaded, checkpoint, predict_on)
    own = [group for group in model.student.param_groups() if group.task]

    # pretrained on images alone: its norms are as at the start, 1 and 0
    unlabelled = not any('classification.' in k for k in found.state_dict)
    if unlabelled:
        log_once(
            f'{checkpoint} has no classification branch: the vectors are '
            "pooled from the backbone's stages with untrained norms.",
            logging.WARNING,
        )

    def is_head(name: str) -> bool:
        name = name.removeprefix('student.').removeprefix('teacher.')
        if unlabelled and name.startswith('classification.norms.'):
            return True
        return any(group.owns(name) for group in own)

    kept = {k: v for k, v in found.state_dict.items() if not is_head(k)}
    found = replace(found, state_dict=kept)
    fill_model(model, found, checkpoint, optional=is_head)
    return model.to(where).eval()


def embed(
    cfg: Config,
    checkpoint: str,
    layer: str = 'pooled',
    predict_on: str | None = None,
    splits: Sequence[str] = SPLITS,
    batch_size: int = BATCH_SIZE,
    device: str | torch.device | None = None,
    trust: bool = False,
) -> Embeddings:
    """Compute the vectors of all images of a config's label tasks.

    They come from the test pipeline (of a larger image for crops, the middle
    one) in full precision.

    Args:
        cfg (Config): The experiment's config; tasks without labels are
            skipped.
        checkpoint (str): A file or URL.
        layer (str): ``pooled``, or ``projected`` where the model has a
            projector. Defaults to ``pooled``.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None: as the checkpoint says.
        splits (Sequence[str]): Defaults to all.
        batch_size (int): Defaults to 32.
        device (str or torch.device, optional): Defaults to None: a GPU if
            there is one.
        trust (bool): Unpickle anything in the checkpoint. Defaults to False.

    Returns:
        Embeddings: In the order of tasks, splits and annotation files.

    Raises:
        UserError: If there are no labels, or no such layer.
    """
    check_choice('layer', layer, LAYERS)
    for split in splits:
        check_choice('splits', split, SPLITS)
    check_number('batch_size', batch_size, 1, whole=True)
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    tasks = [
        task
        for task in TaskTable.from_cfg(cfg)
        if task.kind is ClassificationKind
    ]
    if not tasks:
        raise UserError(
            f'The config has no task with labels ({ClassificationKind.name})'
            '; embeddings are the '
            'pooled vectors of the classification branch.'
        )
    cfg.tasks = [task.name for task in tasks]
    model = load_encoder(cfg, checkpoint, device, trust, predict_on)
    branch = model.active.classification
    plain = isinstance(branch.projector, nn.Identity)
    if layer == 'projected' and plain:
        raise UserError(
            'layer is "projected", but the model has no projector '
            '(model.student.classification.projector); use "pooled".'
        )
    if layer == 'pooled':
        branch.projector = nn.Identity()
    classes = list(dict.fromkeys(c for t in tasks for c in t.classes))
    workers = (cfg.get('loader') or {}).get('num_workers', 2)
    parts = []
    for task in tasks:
        pattern = cfg.datasets[task.dataset].get('patient')
        for split in splits:
            dataset = TaskDataset(
                task, split, test_mode=True, pipeline=task.pipeline('test')
            )
            loader: DataLoader[dict[str, Any]] = DataLoader(
                dataset,
                batch_size,
                num_workers=workers,
                collate_fn=collate_batch,
            )
            vectors, found, names = _run(model, task, loader)
            labels = np.full((len(names), len(classes)), np.nan, np.float32)
            labels[:, [classes.index(c) for c in task.classes]] = found
            patients = find_patients(task, dataset.ann_file, names, pattern)
            parts.append(
                (vectors, labels, names, split, task.dataset, patients)
            )
    return _join(
        parts,
        classes,
        dict(
            layer=layer,
            predict_on=model.predict_on,
            config=Path(cfg.filename or '').name,
            checkpoint=Path(checkpoint).name,
            datasets={t.dataset: list(t.classes) for t in tasks},
        ),
    )


@torch.inference_mode()
def _run(
    model: MeanTeacher, task: Task, loader: DataLoader[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return vectors, labels and names of one split."""
    vectors, labels = [], []
    names: list[str] = []
    for batch in loader:
        batch = model.data_preprocessor(batch, False)
        inputs, samples = batch['inputs'], batch['data_samples']
        images = _middle(inputs, task.config['img_size'])
        pyramid = model.extract_feat(images, task)
        state = model.active.classification.encode(pyramid, samples)
        vectors.append(state['pooled'].float().cpu().numpy())
        labels += [sample.gt_score.cpu().numpy() for sample in samples]
        names += [sample.img_id for sample in samples]
    return np.concatenate(vectors), np.stack(labels), names


def _middle(images: Tensor, size: int) -> Tensor:
    """Return the centres of images, squares of at most ``size`` pixels."""
    height, width = images.shape[-2:]
    top, left = max(height - size, 0) // 2, max(width - size, 0) // 2
    return images[..., top : top + size, left : left + size]


def _join(
    parts: list[tuple[Any, ...]], classes: list[str], meta: dict[str, Any]
) -> Embeddings:
    vectors, labels, names, splits, datasets, known = zip(*parts)
    lengths = [len(each) for each in names]
    patients = [found or each for found, each in zip(known, names)]
    return Embeddings(
        np.concatenate(vectors),
        np.concatenate(labels),
        classes,
        np.array([name for each in names for name in each]),
        np.repeat(splits, lengths),
        np.repeat(datasets, lengths),
        np.array([patient for each in patients for patient in each]),
        meta,
    )
