"""Made-up predictions of all three kinds of tasks."""

import numpy as np
import torch

from fx_mm.evaluation import ClsMetric, LocMetric, SegMetric
from fx_mm.evaluation.report.predictions import TaskPredictions

CLASSES = ('a', 'b')
KINDS = dict(cls=ClsMetric, loc=LocMetric, seg=SegMetric)


def meta(kind):
    """Meta of the task ``x/<kind>``."""
    return dict(
        task=f'x/{kind}',
        dataset='x',
        kind=kind,
        classes=list(CLASSES),
        label_type='multi-label' if kind == 'cls' else None,
    )


def metric_of(task, keep_masks=True):
    """A metric that keeps its records."""
    metric = KINDS[task['kind']]()
    metric.dataset_meta = task
    metric.kept = []
    metric.keep_masks = keep_masks
    return metric


def samples_of(kind, n=20, seed=0, skill=1.0):
    """Samples with truth of seed 0 and predictions of ``seed``."""
    for number in range(n):
        rng = np.random.default_rng([number, 0])
        own = np.random.default_rng([number, seed + 1])
        # names that are not ASCII stay whole
        sample = dict(img_id=f'im_{number:03}_é.png', img_shape=(4, 3))
        if kind == 'cls':
            labels = (rng.random(2) < 0.4).astype(np.float32)
            scores = (0.3 * skill * labels + own.random(2)) / (1 + skill)
            labels[rng.random(2) < 0.1] = np.nan
            sample['gt_score'] = torch.from_numpy(labels)
            sample['pred_score'] = torch.from_numpy(scores.astype(np.float32))
        elif kind == 'loc':
            truth = _boxes(rng, rng.integers(0, 3))
            crowd = _boxes(rng, rng.integers(0, 2))
            pred = np.concatenate([truth, _boxes(own, 2)])
            pred += own.normal(0, 3 / skill, pred.shape)
            sample['gt_instances'] = _instances(truth, rng)
            sample['ignored_instances'] = _instances(crowd, rng)
            sample['pred_instances'] = dict(
                _instances(pred, np.random.default_rng([number, 0])),
                scores=torch.from_numpy(own.random(len(pred))),
            )
        else:
            shape = (2, *rng.integers(3, 9, 2))
            truth = rng.random(shape) < 0.4
            truth &= (rng.random(2) < 0.7)[:, None, None]
            pred = truth ^ (own.random(shape) < 0.3 / skill)
            for key, mask in (('gt', truth), ('pred', pred)):
                data = torch.from_numpy(mask.astype(np.uint8))
                sample[f'{key}_sem_seg'] = dict(data=data)
        yield sample


def predict(kind, predict_on='teacher', split='test', patients=None, **kwargs):
    """Predictions of a task, as a test collects them."""
    metric = metric_of(meta(kind))
    for sample in samples_of(kind, **kwargs):
        metric.process(None, [sample])
    metric.evaluate(0)
    ((records, metrics),) = metric.kept
    return TaskPredictions(
        meta(kind),
        predict_on,
        split,
        records,
        patients,
        config='made_up.py',
        checkpoint='iter_1.pth',
        metrics=metrics,
    )


def _boxes(rng, n):
    corners = rng.uniform(0, 60, (n, 2))
    return np.concatenate([corners, corners + rng.uniform(1, 40, (n, 2))], 1)


def _instances(boxes, rng):
    labels = rng.integers(0, 2, len(boxes))
    return dict(
        bboxes=torch.from_numpy(boxes.astype(np.float32)),
        labels=torch.from_numpy(labels),
    )
