"""Dice against a plain implementation and by hand."""

import math

import numpy as np
import pytest
import torch

from fx_mm.evaluation import SegMetric
from fx_mm.evaluation.statistics.surface import (
    boundary_iou,
    hausdorff95,
    outline_distances,
    surface_dice,
)
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


@pytest.mark.parametrize('per_class', [False, True])
@pytest.mark.parametrize('size', ['original', 'training'])
def test_ignored_pixels_are_in_no_figure(per_class, size):
    rng = np.random.default_rng(0)
    truth, pred = rng.random((2, 5, 2, 16, 12)) < 0.5
    ignore = rng.random((5, 2 if per_class else 1, 16, 12)) < 0.3
    ignore = ignore.repeat(2, 2).repeat(2, 3)
    truth, pred = (x.repeat(2, 2).repeat(2, 3) for x in (truth, pred))
    outside = np.broadcast_to(~ignore, truth.shape)

    def figures(truth, pred, ignore):
        metric = SegMetric(size=size)
        metric.dataset_meta = dict(task='x/seg', classes=('a', 'b'))
        metric.keep_masks = True
        metric.kept = []
        for number, pair in enumerate(zip(truth, pred)):
            made = sample(*pair, str(number))
            made['img_shape'] = (16, 12)
            if ignore is not None:
                held = torch.as_tensor(ignore[number])
                made['gt_sem_seg']['ignore'] = held
            metric.process(None, [made])
        return metric.results

    wanted = figures(truth & outside, pred & outside, None)
    for noise in (0, 1, None):
        said = pred if noise is None else np.where(outside, pred, noise)
        found = figures(truth, said, ignore)
        for one, other in zip(found, wanted):
            np.testing.assert_array_equal(one.pixels, other.pixels)
            np.testing.assert_array_equal(one.outlines, other.outlines)
            assert one.codes == other.codes


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


def details(pairs, classes='ab', shape=None, **kwargs):
    metric = SegMetric(**kwargs)
    metric.dataset_meta = dict(task='x/seg', classes=tuple(classes))
    metric.kept = []
    for index, (truth, pred) in enumerate(pairs):
        entry = sample(truth, pred, f'{index:03}')
        metric.process(None, [dict(entry, img_shape=shape)])
    metric.evaluate(len(pairs))
    ((records, found),) = metric.kept
    return metric, records, {**found, **metric.details(records)}


COUNTS = ('n_present', 'n_missed', 'n_false', 'n_empty')


@pytest.mark.parametrize('n', [0, 3])
def test_details_of_empty_masks(n):
    _, _, found = details([(empty(), empty())] * n)
    outlines = ('HD95', 'NSD_pos', 'BIoU_pos')
    for key in ('Dice_pos', 'IoU_pos', 'Dice_pooled', *outlines):
        for name in (key, f'{key}/a'):
            assert math.isnan(found[name])
    assert [found[key] for key in COUNTS] == [0, 0, 0, 2 * n]
    for key in ('Dice', 'Dice/a', 'IoU', 'IoU/b'):
        assert found[key] == 1 if n else math.isnan(found[key])


def test_a_mask_of_one_pixel_and_what_is_counted():
    truth, near, far = empty(), empty(), empty()
    truth[0, 0, 0] = 1
    near[0, 0, :2] = 1
    far[1, 3, 3] = 1
    pairs = [(truth, near), (truth, far), (empty(), empty())]
    found = details(pairs)[2]
    assert found['HD95/a'] == pytest.approx(np.percentile([0, 1], 95))
    assert math.isnan(found['HD95/b'])
    assert found['HD95'] == found['HD95/a']
    # near: all three pixels agree within 2; far: none of two
    assert found['NSD_pos/a'] == 0.5 and math.isnan(found['NSD_pos/b'])
    assert found['BIoU_pos/a'] == 0.25 and math.isnan(found['BIoU_pos/b'])
    assert [found[f'{k}/a'] for k in COUNTS] == [2, 1, 0, 1]
    assert [found[f'{k}/b'] for k in COUNTS] == [0, 0, 1, 2]
    assert found['IoU_pos/a'] == pytest.approx((0.5 + 0) / 2)
    assert found['Dice_pooled/a'] == pytest.approx(2 / 4)


def test_details_equal_plain_implementations():
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(10):
        shape = (2, *rng.integers(5, 20, 2))
        truth = rng.random(shape) < 0.2
        truth &= (rng.random(2) < 0.7)[:, None, None]
        # some are missed
        pred = rng.random(shape) < 0.3 * (rng.random() < 0.8)
        pairs.append((truth, pred))
    metric, records, found = details(
        pairs, nsd_tolerance=1, boundary_width=1e-9
    )
    for c, name in enumerate('ab'):
        iou, distances, near, bands, both, total = [], [], [], [], 0, 0
        for truth, pred in ((t[c], p[c]) for t, p in pairs):
            both += 2 * (truth & pred).sum()
            total += truth.sum() + pred.sum()
            if truth.any():
                iou.append((truth & pred).sum() / (truth | pred).sum())
                gaps = outline_distances(truth, pred)
                near.append(surface_dice(gaps, 1))
                bands.append(boundary_iou(truth, pred, 1))
                if gaps is not None:
                    distances.append(hausdorff95(gaps))
        assert found[f'IoU_pos/{name}'] == pytest.approx(np.mean(iou))
        assert found[f'HD95/{name}'] == pytest.approx(np.mean(distances))
        assert found[f'NSD_pos/{name}'] == pytest.approx(np.mean(near))
        assert found[f'BIoU_pos/{name}'] == pytest.approx(np.mean(bands))
        assert found[f'Dice_pooled/{name}'] == pytest.approx(both / total)
    for key in ('IoU_pos', 'HD95', 'Dice_pooled', 'Dice'):
        pair = [found[f'{key}/{name}'] for name in 'ab']
        assert found[key] == pytest.approx(np.mean(pair))
    weights = rng.integers(0, 3, (2, len(records))).astype(np.uint16)
    drawn = metric.statistics(records)(weights)
    for row, weight in enumerate(weights):
        repeated = [p for p, n in zip(pairs, weight) for _ in range(n)]
        expected = details(repeated, nsd_tolerance=1, boundary_width=1e-9)[2]
        for key, values in drawn.items():
            assert values[row] == pytest.approx(expected[key]), key


def test_training_size_takes_the_nearest_pixels():
    truth, pred = np.zeros((2, 2, 8, 8), np.uint8)
    truth[0, :4], pred[0, :5] = 1, 1
    assert details([(truth, pred)])[2]['Dice_pos'] == pytest.approx(64 / 72)
    found = details([(truth, pred)], shape=(2, 2), size='training')[2]
    assert found['Dice_pos'] == 1 and found['HD95'] == 0
    # a truth that was resized with the image
    found = details(
        [(truth[:, ::4, ::4], pred)], 'ab', (2, 2), size='training'
    )
    assert found[2]['Dice_pos'] == 1
    with pytest.raises(UserError, match='must be|use one of'):
        SegMetric(size='large')
    for option in (dict(nsd_tolerance=-1), dict(boundary_width=2)):
        with pytest.raises(UserError, match='must be a number'):
            SegMetric(**option)
