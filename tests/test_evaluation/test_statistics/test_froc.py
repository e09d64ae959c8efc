"""FROC against a loop over thresholds."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from test_box_matches import BOX, boxes, random_images

from fx_mm.evaluation.statistics.box_matches import sides
from fx_mm.evaluation.statistics.froc import RATES, Froc


def sensitivity(images, weights=None, overlap=0.2, max_boxes=100):
    weights = np.ones((1, len(images))) if weights is None else weights
    froc = Froc(images, 0, overlap, max_boxes)
    return froc.sensitivity(np.asarray(weights, np.uint16))


def by_hand(images, overlap):
    """Try every threshold, from the highest on."""
    best = np.zeros(len(RATES))
    n_truth = sum(np.count_nonzero(~image.crowd) for image in images)
    for threshold in sorted({s for i in images for s in i.scores})[::-1]:
        hits = alarms = 0
        for image in images:
            kept = image.pred[image.scores >= threshold]
            near = np.zeros((len(kept), len(image.truth)))
            if near.size:
                crowd = image.crowd.astype(np.uint8)
                near = coco_mask.iou(sides(kept), sides(image.truth), crowd)
            near = near >= overlap
            hits += near[:, ~image.crowd].any(axis=0).sum()
            alarms += len(kept) - near.any(axis=1).sum()
        for i, rate in enumerate(RATES):
            if alarms / len(images) <= rate:
                best[i] = max(best[i], hits / n_truth)
    return best


def test_without_true_boxes_all_is_nan():
    for images in ([], [boxes()], [boxes(pred=[BOX], scores=[0.9])]):
        assert np.isnan(sensitivity(images)).all()


def test_nothing_predicted_finds_nothing():
    assert (sensitivity([boxes(truth=[BOX])]) == 0).all()


def test_by_hand_two_boxes_on_one_finding_and_a_false_alarm():
    far = [60, 60, 80, 80]
    image = boxes(truth=[BOX], pred=[far, BOX, BOX], scores=[0.9, 0.8, 0.7])
    # One false alarm comes before the hit; the second box on it is none.
    assert sensitivity([image]).tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    with_normals = [image, *(boxes(str(i)) for i in range(7))]
    assert sensitivity(with_normals).tolist() == [[1] * 7]


def test_equal_scores_are_one_threshold():
    far = [60, 60, 80, 80]
    image = boxes(truth=[BOX], pred=[BOX, far], scores=[0.9, 0.9])
    assert sensitivity([image]).tolist() == [[0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize('overlap', [0.2, 0.5])
@pytest.mark.parametrize('seed', range(4))
def test_equals_a_loop_over_thresholds(seed, overlap):
    images = random_images(seed, ties=bool(seed % 2))
    found = sensitivity(images, overlap=overlap)[0]
    assert found == pytest.approx(by_hand(images, overlap), abs=1e-12)


def test_a_resample_is_the_images_repeated():
    images = random_images(5)
    weights = np.random.default_rng(0).integers(0, 3, (4, len(images)))
    for row, found in zip(weights, sensitivity(images, weights)):
        repeated = [i for i, n in zip(images, row) for _ in range(n)]
        assert found == pytest.approx(by_hand(repeated, 0.2), abs=1e-12)
