"""Dice against a plain implementation and by hand."""

import math

import numpy as np
import pytest
import torch

from fx_mm.evaluation import SegMetric
from fx_mm.utils.errors import UserError


def sample(truth, pred, img_id):
    return dict(
        img_id=img_id,
        gt_sem_seg=dict(data=torch.as_tensor(truth)),
        pred_sem_seg=dict(data=torch.as_tensor(pred)),
    )


def evaluate(pairs, classes='ab', **kwargs):
    metric = SegMetric(**kwargs)
    metric.dataset_meta = dict(task='x/seg', classes=tuple(classes))
    for index, (truth, pred) in enumerate(pairs):
        metric.process(None, [sample(truth, pred, str(index))])
    return metric.evaluate(len(pairs))


def empty(n_classes=2):
    return np.zeros((n_classes, 4, 4), np.uint8)


def test_nothing_anywhere_is_one_but_undefined_where_present():
    result = evaluate([(empty(), empty())] * 3)
    assert result['Dice'] == 1
    for key in ('Dice_pos', 'Dice_pos/a', 'Dice_pos/b'):
        assert math.isnan(result[key])


def test_no_images():
    result = evaluate([])
    assert set(result) == {'Dice', 'Dice_pos', 'Dice_pos/a', 'Dice_pos/b'}
    assert all(math.isnan(value) for value in result.values())


def test_by_hand():
    truth, pred = empty(), empty()
    truth[0, :2] = 1  # 8 pixels
    pred[0, 1:4] = 255  # 12 pixels, 4 of them shared: 8 / 20
    alarm = empty()
    alarm[1, 0, 0] = 1
    result = evaluate([(truth, pred), (empty(), alarm)])
    assert result['Dice_pos/a'] == result['Dice_pos'] == pytest.approx(0.4)
    assert math.isnan(result['Dice_pos/b'])
    # image 1: a .4, b 1; image 2: a 1, b 0
    assert result['Dice'] == pytest.approx(2.4 / 4)


def test_predicting_nothing_scores_high_only_with_empty_as_one():
    pairs = [(empty(), empty()) for _ in range(9)]
    truth = empty()
    truth[:, :2] = 1
    result = evaluate([*pairs, (truth, empty())])
    assert result['Dice'] == pytest.approx(0.9)
    assert result['Dice_pos'] == 0


def test_equals_a_plain_implementation_with_groups():
    rng = np.random.default_rng(0)
    classes = ('lungs', 'heart', 'nodule', 'mass')
    groups = dict(organs=('lungs', 'heart'), findings=('nodule', 'mass'))
    pairs = []
    for _ in range(12):
        shape = (4, *rng.integers(5, 20, 2))
        truth = rng.random(shape) < 0.4
        truth &= (rng.random(4) < 0.6)[:, None, None]
        truth[3] = False
        pairs.append((truth, rng.random(shape) < 0.5))
    result = evaluate(pairs, classes, class_groups=groups)

    def dice(a, b):
        both = a.sum() + b.sum()
        return 2 * (a * b).sum() / both if both else 1.0

    per_class = {}
    for i, name in enumerate(classes[:3]):
        values = [dice(t[i], p[i]) for t, p in pairs if t[i].any()]
        per_class[name] = np.mean(values)
        assert result[f'Dice_pos/{name}'] == pytest.approx(per_class[name])
    assert math.isnan(result['Dice_pos/mass'])
    everything = [dice(t[i], p[i]) for t, p in pairs for i in range(4)]
    assert result['Dice'] == pytest.approx(np.mean(everything))
    assert result['Dice_pos'] == pytest.approx(
        np.mean(list(per_class.values()))
    )
    assert result['Dice_pos/organs'] == pytest.approx(
        (per_class['lungs'] + per_class['heart']) / 2
    )
    assert result['Dice_pos/findings'] == pytest.approx(per_class['nodule'])


def test_no_mask_is_kept():
    metric = SegMetric()
    metric.dataset_meta = dict(task='x/seg', classes=('a', 'b'))
    metric.process(None, [sample(empty(), empty(), 'x')])
    assert metric.results[0][1].shape == (3, 2)


def test_repeated_images_count_once():
    truth = empty()
    truth[0] = 1
    metric = SegMetric()
    metric.dataset_meta = dict(task='x/seg', classes=('a', 'b'))
    for img_id, pred in (('x', truth), ('y', empty()), ('y', empty())):
        metric.process(None, [sample(truth, pred, img_id)])
    assert metric.evaluate(3)['Dice_pos/a'] == 0.5


@pytest.mark.parametrize(
    'groups, message',
    [
        (dict(a=('b',)), "group 'a' has the name of a class"),
        (dict(organs=('liver',)), "'liver', which is not a class"),
    ],
)
def test_bad_groups_are_refused(groups, message):
    metric = SegMetric(class_groups=groups)
    with pytest.raises(UserError, match=message):
        metric.dataset_meta = dict(task='x/seg', classes=('a', 'b'))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match='0: masks of shape'):
        evaluate([(empty(), np.zeros((2, 3, 3), np.uint8))])
