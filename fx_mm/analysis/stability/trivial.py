"""Models that know next to nothing: a claim must beat them.

- ``prevalence``: the same answer for every image, of the training images: the
  share of each class; for boxes each class's mean box, scored by that share;
  for masks the pixels that most of the class's training images have.
- ``pixels``: a logistic regression on 32 x 32 grey values, its penalty chosen
  on validation images; for boxes it scores the mean box.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.analysis.probing import probe_dataset
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.registry import METRICS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.errors import UserError

SIDE = 32
SPLITS = ('train', 'val', 'test')
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)
KINDS = ('cls', 'loc', 'seg')
PREVALENCE, PIXELS = 'prevalence', f'logistic regression, {SIDE} px'


def task_metric(task: Task) -> TaskMetric:
    """Build the metric of a task."""
    init_default_scope('fx_mm')
    metric = build_part(METRICS, task.metric_cfg())
    if not isinstance(metric, TaskMetric):
        raise UserError(
            f"{task.name} has a metric that is not fx_mm's own, whose images "
            'cannot be looked at one by one.'
        )
    metric.dataset_meta = task.meta
    return metric


def trivial_results(task: Task, key: str) -> dict[str, float]:
    """Fit the trivial models of a task and test them.

    Args:
        task (Task): Of labels, boxes or masks.
        key (str): The metric, such as ``AUC``.

    Returns:
        dict[str, float]: Model to metric on the test images.

    Raises:
        UserError: If the kind has none, or the metric is unknown.
    """
    if task.kind.name not in KINDS:
        raise UserError(
            f'{task.name}: there are trivial models of {", ".join(KINDS)} '
            'tasks only.'
        )
    data = {split: list(_samples(task, split)) for split in SPLITS}
    truth = {s: _present(task, samples) for s, samples in data.items()}
    share = np.nanmean(truth['train'], axis=0)
    test = data['test']
    scores = {PREVALENCE: np.tile(share, (len(test), 1))}
    if task.kind.name != 'seg':
        fitted = _fit_pixels(task, data, truth)
        scores[PIXELS] = np.where(np.isnan(fitted), share, fitted)
    answer = dict(cls=_labels, loc=_boxes, seg=_masks)[task.kind.name]
    predict = answer(task, data['train'])
    found = {}
    for name, values in scores.items():
        metric = task_metric(task)
        metric.kept = []
        for (sample, _), row in zip(test, values):
            predict(sample, row)
            metric.process(None, [sample.to_dict()])
        metric.evaluate(len(test))
        records, headlines = metric.kept.pop()
        found[name] = value_of(metric, records, headlines, key)
    return found


def value_of(
    metric: TaskMetric,
    records: list[Any],
    headlines: dict[str, float],
    key: str,
) -> float:
    """Return a metric of records by its name.

    Raises:
        UserError: If it is unknown.
    """
    if key in headlines:
        return float(headlines[key])
    details = metric.details(records)
    if key not in details:
        raise UserError(
            f'{metric.task} has no metric "{key}"; it has '
            f'{", ".join([*headlines, *details])}.'
        )
    return float(details[key])


def _samples(
    task: Task, split: str
) -> Iterator[tuple[FXDataSample, np.ndarray]]:
    """Yield each image's sample, without pixels, and its 32 x 32 greys."""
    dataset = TaskDataset(task, split, True, task.pipeline('test'))
    for index in range(len(dataset)):
        packed = dataset[index]
        image = packed['inputs'][None, :1].float()
        small = F.interpolate(image, (SIDE, SIDE), mode='area')
        sample = packed['data_samples']
        samplelist_boxtype2tensor([sample])
        yield sample, small.numpy().ravel()


def _present(
    task: Task, samples: list[tuple[FXDataSample, np.ndarray]]
) -> np.ndarray:
    """Return which classes are in which image, (N, C), NaN = unknown."""
    rows = []
    for sample, _ in samples:
        if task.kind.name == 'cls':
            row = sample.gt_score.numpy().astype(float)
            row = np.where(np.isin(row, (0, 1)), row, np.nan)
        elif task.kind.name == 'loc':
            row = np.zeros(len(task.classes))
            row[sample.gt_instances.labels.numpy()] = 1
        else:
            row = sample.gt_sem_seg.data.flatten(1).any(dim=1).numpy()
        rows.append(row)
    return np.asarray(rows, float)


def _fit_pixels(
    task: Task,
    data: dict[str, list[tuple[FXDataSample, np.ndarray]]],
    truth: dict[str, np.ndarray],
) -> np.ndarray:
    """Return probabilities of the test images, NaN where none is fitted."""
    names: list[str] = []
    patients: list[str] = []
    splits: list[str] = []
    for split, samples in data.items():
        own = [sample.img_id for sample, _ in samples]
        names += own
        patients += (
            find_patients(
                task, task.ann_file(split), own, task.config.get('patient')
            )
            or own
        )
        splits += [split] * len(own)
    embeddings = Embeddings(
        np.stack([pixels for s in data.values() for _, pixels in s]),
        np.concatenate(list(truth.values())),
        list(task.classes),
        np.array(names),
        np.array(splits),
        np.full(len(names), task.dataset),
        np.array(patients),
        dict(datasets={task.dataset: list(task.classes)}),
    )
    return probe_dataset(embeddings, task.dataset, STRENGTHS, 1).scores


def _labels(task: Task, _: Any) -> Any:
    def predict(sample: FXDataSample, scores: np.ndarray) -> None:
        sample.pred_score = torch.from_numpy(np.asarray(scores))

    return predict


def _boxes(task: Task, train: list[tuple[FXDataSample, np.ndarray]]) -> Any:
    """Predict the mean box of each class, relative to the image."""
    boxes: dict[int, list[np.ndarray]] = {}
    for sample, _ in train:
        height, width = sample.ori_shape
        scale = np.array([width, height, width, height])
        truth = sample.gt_instances
        for box, label in zip(truth.bboxes.numpy(), truth.labels.tolist()):
            boxes.setdefault(label, []).append(box / scale)
    labels = sorted(boxes)
    means = np.stack([np.mean(boxes[label], axis=0) for label in labels])

    def predict(sample: FXDataSample, scores: np.ndarray) -> None:
        height, width = sample.ori_shape
        scale = np.array([width, height, width, height])
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(means * scale),
            labels=torch.tensor(labels),
            scores=torch.from_numpy(scores[labels]),
        )

    return predict


def _masks(task: Task, train: list[tuple[FXDataSample, np.ndarray]]) -> Any:
    """Predict the pixels that most images with a class have, at 32 x 32."""
    total = np.zeros((len(task.classes), SIDE, SIDE))
    count = np.zeros(len(task.classes))
    for sample, _ in train:
        mask = sample.gt_sem_seg.data.float()
        small = F.interpolate(mask[None], (SIDE, SIDE), mode='area')[0]
        total += small.numpy()
        count += mask.flatten(1).any(dim=1).numpy()
    mean = total / np.maximum(count, 1)[:, None, None]
    # a class that most images lack is best left out
    mean[count < len(train) / 2] = 0

    def predict(sample: FXDataSample, scores: np.ndarray) -> None:
        shape = sample.gt_sem_seg.data.shape[1:]
        large = F.interpolate(
            torch.from_numpy(mean)[None], shape, mode='bilinear'
        )[0]
        sample.pred_sem_seg = PixelData(data=(large > 0.5).to(torch.uint8))

    return predict
