"""Average precision against pycocotools and by hand."""

import math
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fx_mm.evaluation import LocMetric
from fx_mm.utils.errors import UserError

KEYS = {'mAP_40', 'mAP_50', 'mAP', 'AP_40/a', 'AP_40/b'}


def sample(truth, predictions, img_id='im'):
    """``truth``: (box, label); ``predictions``: (box, label, score)."""
    return dict(
        img_id=img_id,
        gt_instances=dict(
            bboxes=torch.tensor([t[0] for t in truth]).reshape(-1, 4),
            labels=torch.tensor([t[1] for t in truth], dtype=torch.int64),
        ),
        pred_instances=dict(
            bboxes=torch.tensor([p[0] for p in predictions]).reshape(-1, 4),
            labels=torch.tensor(
                [p[1] for p in predictions], dtype=torch.int64
            ),
            scores=torch.tensor([p[2] for p in predictions]),
        ),
    )


def evaluate(samples, classes='ab', **kwargs):
    metric = LocMetric(**kwargs)
    metric.dataset_meta = dict(task='x/loc', classes=tuple(classes))
    metric.process(None, samples)
    return metric.evaluate(len(samples))


BOX = [10.0, 10.0, 30.0, 30.0]


@pytest.mark.parametrize(
    'samples',
    [
        [],
        [sample([], [])],
        [sample([], [(BOX, 0, 0.9)]), sample([], [], 'im2')],
    ],
    ids=['no image', 'nothing', 'predictions only'],
)
def test_without_true_boxes_all_is_nan(samples):
    result = evaluate(samples)
    assert set(result) == KEYS
    assert all(math.isnan(value) for value in result.values())


def test_truth_without_predictions_is_zero_and_other_classes_nan():
    result = evaluate([sample([(BOX, 0)], [])])
    assert set(result) == KEYS
    assert result.pop('AP_40/b') != result.get('AP_40/b')
    assert all(value == 0 for value in result.values())


def test_wrong_class_only_is_zero():
    result = evaluate([sample([(BOX, 0)], [(BOX, 1, 0.9)])])
    assert result['AP_40/a'] == 0
    assert math.isnan(result['AP_40/b'])


def test_thresholds_by_hand():
    # IoU 9/20 = .45 .. overlap 20x9 of union 20x20
    shorter = [10.0, 10.0, 30.0, 19.0]
    result = evaluate([sample([(BOX, 0)], [(shorter, 0, 0.9)])])
    assert result['mAP_40'] == result['AP_40/a'] == pytest.approx(1)
    assert result['mAP_50'] == result['mAP'] == 0
    # IoU .62: hit at .50, .55, .60 of the ten thresholds
    longer = [10.0, 10.0, 30.0, 22.4]
    result = evaluate([sample([(BOX, 0)], [(longer, 0, 0.9)])])
    assert result['mAP_50'] == pytest.approx(1)
    assert result['mAP'] == pytest.approx(0.3)


def test_false_alarm_before_the_hit_halves_the_precision():
    far = [60.0, 60.0, 80.0, 80.0]
    result = evaluate([sample([(BOX, 0)], [(BOX, 0, 0.5), (far, 0, 0.9)])])
    assert result['mAP_40'] == pytest.approx(0.5)


def test_false_alarms_on_normal_images_count():
    samples = [
        sample([(BOX, 0)], [(BOX, 0, 0.5)]),
        sample([], [(BOX, 0, 0.9)], 'normal'),
    ]
    assert evaluate(samples)['mAP_40'] == pytest.approx(0.5)


def test_box_structures_repeats_and_non_finite_predictions():
    good = sample([(BOX, 0)], [(BOX, 0, 0.9)])
    good['gt_instances']['bboxes'] = HorizontalBoxes(
        good['gt_instances']['bboxes']
    )
    broken = [float('nan'), 0.0, 1.0, 1.0]
    again = sample([(BOX, 0)], [(broken, 0, 0.9)])
    assert evaluate([good, again])['mAP_40'] == pytest.approx(1)
    other = sample([(BOX, 0)], [(broken, 0, 0.9)], 'im2')
    assert evaluate([good, other])['mAP_40'] == pytest.approx(
        51 / 101  # recall reaches 1/2: the points 0, .01, ..., .50
    )


def random_samples(rng, n_images, n_classes):
    samples = []
    for index in range(n_images):
        truth, predictions = [], []
        for _ in range(rng.integers(0, 4)):
            x, y = rng.uniform(0, 400, 2)
            w, h = rng.uniform(1, 100, 2)
            label = int(rng.integers(n_classes - 1))  # the last has none
            truth.append(([x, y, x + w, y + h], label))
            for _ in range(rng.integers(0, 3)):
                dx, dy = rng.normal(0, 0.15, 2) * (w, h)
                box = [x + dx, y + dy, x + dx + w, y + dy + h]
                predictions.append((box, label, round(rng.random(), 2)))
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 400, 2)
            label = int(rng.integers(n_classes))
            predictions.append(([x, y, x + 9, y + 9], label, rng.random()))
        samples.append(sample(truth, predictions, f'im{index:03}'))
    return samples


def reference(samples, n_classes):
    """Plain pycocotools with its own loader, one run per threshold set."""
    images = [dict(id=i + 1) for i in range(len(samples))]
    truth, predictions = [], []
    for index, entry in enumerate(samples, start=1):
        for key, out in (
            ('gt_instances', truth),
            ('ignored_instances', truth),
            ('pred_instances', predictions),
        ):
            part = entry.get(key, dict(bboxes=torch.zeros(0, 4)))
            for i, box in enumerate(part['bboxes'].double().tolist()):
                x1, y1, x2, y2 = box
                w, h = x2 - x1, y2 - y1
                out.append(
                    dict(
                        id=len(out) + 1,
                        image_id=index,
                        category_id=int(part['labels'][i]),
                        bbox=[x1, y1, w, h],
                        area=w * h,
                        iscrowd=int(key == 'ignored_instances'),
                    )
                )
                if 'scores' in part:
                    out[-1]['score'] = float(part['scores'][i])
    results = {}
    with redirect_stdout(StringIO()):
        gt = COCO()
        gt.dataset = dict(
            images=images,
            annotations=truth,
            categories=[dict(id=i) for i in range(n_classes)],
        )
        gt.createIndex()
        dt = gt.loadRes(predictions)
        for name, thresholds in (
            ('mAP', np.linspace(0.5, 0.95, 10)),
            ('mAP_40', np.array([0.4])),
            ('mAP_50', np.array([0.5])),
        ):
            coco = COCOeval(gt, dt, 'bbox')
            coco.params.iouThrs = thresholds
            coco.evaluate()
            coco.accumulate()
            values = coco.eval['precision'][:, :, :, 0, 2]
            results[name] = values[values > -1].mean()
            for i in range(n_classes):
                one = values[:, :, i]
                one = one[one > -1]
                key = f'{name.removeprefix("m")}/{i}'
                results[key] = one.mean() if one.size else np.nan
    return results


@pytest.mark.parametrize('seed', range(3))
def test_equals_pycocotools(seed, capsys):
    samples = random_samples(np.random.default_rng(seed), 30, 4)
    result = evaluate(samples, classes='0123')
    expected = reference(samples, 4)
    headlines = {k for k in expected if not k.startswith(('AP/', 'AP_50/'))}
    assert set(result) == headlines
    for key, value in result.items():
        assert value == pytest.approx(expected[key], abs=1e-12, nan_ok=True)
    assert 0 < result['mAP'] < result['mAP_50'] < result['mAP_40'] < 1
    assert capsys.readouterr().out == ''


def test_only_the_best_boxes_count():
    far = [60.0, 60.0, 80.0, 80.0]
    samples = [sample([(BOX, 0)], [(BOX, 0, 0.5), (far, 0, 0.9)])]
    assert evaluate(samples, max_boxes=1)['mAP_40'] == 0


def details(samples, classes='ab', **kwargs):
    metric = LocMetric(**kwargs)
    metric.dataset_meta = dict(task='x/loc', classes=tuple(classes))
    metric.kept = []
    metric.process(None, samples)
    metric.evaluate(len(samples))
    ((records, found),) = metric.kept
    return metric, records, {**found, **metric.details(records)}


DETAILS = {'FROC', 'FROC/a', 'FROC/b', 'AP/a', 'AP/b', 'AP_50/a', 'AP_50/b'}
RATES = ('0.125', '0.25', '0.5', '1', '2', '4', '8')


@pytest.mark.parametrize('samples', [[], [sample([], [(BOX, 0, 0.9)])]])
def test_details_without_true_boxes(samples):
    _, _, found = details(samples)
    counts = {'n_boxes', 'n_boxes/a', 'n_boxes/b'}
    rates = {f'FROC_{rate}' for rate in RATES}
    limits = {'threshold/a', 'threshold/b'}
    assert set(found) == KEYS | DETAILS | counts | rates | limits
    assert all(found[key] == 0 for key in counts)
    assert all(math.isnan(found[key]) for key in set(found) - counts)


def with_crowds(samples, rng):
    """Turn some true boxes into crowds, which mmdet keeps apart."""
    for entry in samples:
        truth = entry['gt_instances']
        crowd = torch.from_numpy(rng.random(len(truth['labels'])) < 0.3)
        entry['ignored_instances'] = {k: v[crowd] for k, v in truth.items()}
        entry['gt_instances'] = {k: v[~crowd] for k, v in truth.items()}
    return samples


@pytest.mark.parametrize('seed', range(3))
def test_details_with_crowds_equal_pycocotools(seed):
    rng = np.random.default_rng(seed)
    samples = with_crowds(random_samples(rng, 25, 3), rng)
    metric, records, found = details(samples, '012')
    every = np.ones((1, len(records)), np.uint16)
    drawn = metric.statistics(records)(every)
    beside = ('n_boxes', 'threshold')
    assert {key for key in found if not key.startswith(beside)} == set(drawn)
    for key, (value,) in drawn.items():
        assert value == pytest.approx(found[key], abs=0, nan_ok=True), key
    for key, value in reference(samples, 3).items():
        assert found[key] == pytest.approx(value, abs=1e-12, nan_ok=True), key
    assert 0 <= found['FROC_0.125'] <= found['FROC_1'] <= found['FROC_8'] < 1


def test_a_looser_overlap_finds_more():
    samples = random_samples(np.random.default_rng(0), 25, 3)
    loose = details(samples, '012', froc_iou=0.05)[2]['FROC']
    assert loose > details(samples, '012', froc_iou=0.6)[2]['FROC']
    with pytest.raises(UserError, match='froc_iou of a loc task is 0'):
        LocMetric(froc_iou=0)
    with pytest.raises(UserError, match='"max_box" in the metric LocMetric'):
        LocMetric(max_box=10)


def test_a_threshold_holds_the_false_positives():
    far = [60.0, 60.0, 80.0, 80.0]
    samples = [
        sample([(BOX, 0)], [(BOX, 0, 0.75), (far, 0, 0.5)], 'a'),
        sample([(BOX, 0)], [(BOX, 0, 0.375), (far, 0, 0.25)], 'b'),
        sample([], [], 'c'),
        sample([], [], 'd'),
    ]
    metric, records, found = details(samples, false_positives=0.25)
    assert math.isnan(found['threshold/a'])
    chosen = metric.choose_thresholds(records)
    found = metric.details(records, chosen)
    assert found['threshold/a'] == 0.375
    assert math.isnan(found['threshold/b'])
    for rate, limit in ((0, 0.75), (0.5, 0.25)):
        metric.false_positives = rate
        assert metric.choose_thresholds(records).point[0] == limit
    assert np.isnan(metric.choose_thresholds([]).point).all()


def test_a_box_in_a_crowd_counts_for_nothing():
    entry = sample([(BOX, 0)], [(BOX, 0, 0.5), ([60.0, 60, 70, 70], 0, 0.9)])
    assert details([entry])[2]['mAP_40'] == pytest.approx(0.5)
    entry['ignored_instances'] = dict(
        bboxes=torch.tensor([[50.0, 50, 90, 90]]), labels=torch.tensor([0])
    )
    found = details([entry])[2]
    assert found['mAP_40'] == pytest.approx(1)
    assert found['FROC'] == pytest.approx(1)
    assert found['n_boxes'] == 1


def test_order_of_the_images_changes_nothing():
    samples = random_samples(np.random.default_rng(2), 30, 4)
    for entry in samples:  # many ties
        entry['pred_instances']['scores'] = (
            entry['pred_instances']['scores'].mul(4).round() / 4
        )
    there, back = (
        details(each, '0123')[2] for each in (samples, samples[::-1])
    )
    assert there == pytest.approx(back, abs=0, nan_ok=True)
