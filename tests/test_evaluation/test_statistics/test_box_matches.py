"""Average precision of weighted images against COCO's on repeated ones."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fx_mm.evaluation.metrics.loc_metric import IOU_THRESHOLDS
from fx_mm.evaluation.statistics.box_matches import (
    ClassMatches,
    LocRecord,
    sides,
)

MAX_BOXES = 5


def boxes(img_id='im', truth=(), crowd=(), pred=(), scores=()):
    """Boxes of class 0."""
    truth, pred = (np.array(b, float).reshape(-1, 4) for b in (truth, pred))
    return LocRecord(
        img_id,
        truth,
        np.zeros(len(truth), np.int64),
        np.array(crowd or [False] * len(truth), bool),
        pred,
        np.zeros(len(pred), np.int64),
        np.array(scores, float),
    )


def random_images(seed, n=25, ties=False):
    """Crowds, boxes of one pixel, several boxes on one finding."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(n):
        truth = rng.integers(0, 40, (rng.integers(0, 4), 4)).astype(float)
        side = rng.integers(2, 30, (len(truth), 2))
        side[rng.random(len(truth)) < 0.2] = 1
        truth[:, 2:] = truth[:, :2] + side
        near = np.repeat(truth, rng.integers(0, 4, len(truth)), axis=0)
        near[:, 2:] += rng.integers(0, 7, (len(near), 2))
        far = rng.integers(0, 40, (rng.integers(0, 3), 4)).astype(float)
        far[:, 2:] = far[:, :2] + 1
        pred = np.concatenate([near, far])
        scores = rng.random(len(pred))
        if ties:  # between images only: one may order its own either way
            scores = rng.permutation(8)[: len(pred)] / 8
            pred = pred[: len(scores)]
        crowd = rng.random(len(truth)) < 0.25
        images.append(boxes(f'{number:02}', truth, list(crowd), pred, scores))
    return images


def coco_ap(images, max_boxes=MAX_BOXES):
    """AP of each threshold by pycocotools, one id per image."""
    truth, pred = [], []
    for number, image in enumerate(images, start=1):
        for out, corners in ((truth, image.truth), (pred, image.pred)):
            for i, box in enumerate(sides(corners).tolist()):
                entry = dict(
                    id=len(out) + 1,
                    image_id=number,
                    category_id=1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
                if out is truth:
                    entry['iscrowd'] = int(image.crowd[i])
                else:
                    entry['score'] = float(image.scores[i])
                out.append(entry)
    with redirect_stdout(StringIO()):
        sets = []
        for annotations in (truth, pred):
            coco = COCO()
            coco.dataset = dict(
                images=[dict(id=i + 1) for i in range(len(images))],
                annotations=annotations,
                categories=[dict(id=1)],
            )
            coco.createIndex()
            sets.append(coco)
        run = COCOeval(*sets, 'bbox')
        run.params.iouThrs = IOU_THRESHOLDS
        run.params.maxDets = [max_boxes]
        run.params.areaRng = [[0, 1e10]]
        run.params.areaRngLbl = ['all']
        run.evaluate()
        run.accumulate()
    precision = run.eval['precision'][:, :, 0, 0, 0]
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))


def weighted(images, weights):
    matches = ClassMatches(images, 0, IOU_THRESHOLDS, MAX_BOXES)
    return matches.average_precision(np.asarray(weights, np.uint16))


BOX = [10, 10, 30, 30]


@pytest.mark.parametrize(
    'images',
    [
        [],
        [boxes()],
        [boxes(pred=[BOX], scores=[0.9])],
        [boxes(truth=[BOX], crowd=[True], pred=[BOX], scores=[0.9])],
    ],
    ids=['no image', 'nothing', 'predictions only', 'crowd only'],
)
def test_without_true_boxes_all_is_nan(images):
    found = weighted(images, np.ones((2, len(images))))
    assert found.shape == (2, 12) and np.isnan(found).all()


def test_truth_without_predictions_is_zero():
    assert (weighted([boxes(truth=[BOX])], [[1]]) == 0).all()
    assert np.isnan(weighted([boxes(truth=[BOX])], [[0]])).all()


def test_one_pixel():
    image = boxes(truth=[[5, 5, 6, 6]], pred=[[5, 5, 6, 6]], scores=[0.1])
    assert (weighted([image], [[1]]) == 1).all()


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_once_each_equals_pycocotools(seed, ties):
    images = random_images(seed, ties=ties)
    found = weighted(images, np.ones((1, len(images))))[0]
    assert found == pytest.approx(coco_ap(images), abs=1e-12)
    assert 0 < found[0] < 1


@pytest.mark.parametrize('ties', [False, True])
def test_a_resample_equals_a_run_on_repeated_images(ties):
    images = random_images(9, ties=ties)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, (5, len(images)))
    for row, found in zip(weights, weighted(images, weights)):
        repeated = [
            image._replace(img_id=f'{image.img_id}-{copy}')
            for image, times in zip(images, row)
            for copy in range(times)
        ]
        assert found == pytest.approx(coco_ap(repeated), abs=1e-12)


def test_other_classes_are_left_alone():
    image = boxes(truth=[BOX], pred=[BOX], scores=[0.9])
    other = image._replace(pred_labels=np.array([1]))
    assert (weighted([image], [[1]]) == 1).all()
    assert (weighted([other], [[1]]) == 0).all()
