"""Predictions beside the truth."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import GAP, UNKNOWN
from fx_mm.visualization.prediction_sheet import draw_prediction_sheet
from fx_mm.visualization.results import result_class
from fx_mm.visualization.text import BACKGROUND
from fx_mm.visualization.tiles import (
    PREDICTION,
    SEAM,
    TRUTH,
    draw_probabilities,
    save_picture,
)

CLASSES = ('nodule', 'mass', 'effusion')


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'im.png'
    cv2.imwrite(str(path), np.full((100, 80), 60, np.uint8))
    return str(path)


def sample_of(kind, path):
    sample = FXDataSample(
        metainfo=dict(task=f'x/{kind}', kind=kind, img_id='im', img_path=path)
    )
    if kind == 'cls':
        sample.gt_score = torch.tensor([1.0, 0.0, float('nan')])
        sample.pred_score = torch.tensor([0.8, 0.3, 0.5])
    elif kind == 'loc':
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[10.0, 40.0, 50.0, 80.0]]),
            labels=torch.tensor([1]),
        )
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(
                [[12.0, 42.0, 52.0, 82.0], [0.0, 0.0, 79.0, 99.0]]
            ),
            labels=torch.tensor([1, 0]),
            scores=torch.tensor([0.9, 0.2]),
        )
    else:
        truth = torch.zeros(3, 100, 80, dtype=torch.uint8)
        truth[0, 20:60, 20:60] = 1
        pred = torch.zeros_like(truth)
        pred[0, 20:60, 30:70] = 1
        sample.gt_sem_seg = PixelData(data=truth)
        sample.pred_sem_seg = PixelData(data=pred)
    return sample


def draw_pair(sample, size=256):
    """Truth beside prediction, as the sheet draws it."""
    task = Task('x', sample.kind, CLASSES)
    image = cv2.imread(sample.img_path, cv2.IMREAD_GRAYSCALE)
    return result_class(task).draw_beside_truth(task, sample, image, 0.3, size)


def count(tile, color):
    return int((tile == np.array(color)).all(-1).sum())


def test_boxes_green_beside_orange_above_the_threshold(image):
    tile = draw_pair(sample_of('loc', image))
    assert tile.shape == (256 + 15, 512 + SEAM, 3)
    # 40 pixels are 102 in the tile; its four sides, less the name on one
    sides = 4 * 102
    left, right = tile[:256, :256], tile[:256, 256 + SEAM :]
    assert (tile[:, 256 : 256 + SEAM] == BACKGROUND).all(), 'they touch'
    assert 0.8 * sides < count(left, TRUTH) < 1.3 * sides
    assert count(left, PREDICTION) == 0
    assert 0.8 * sides < count(right, PREDICTION) < 1.3 * sides
    assert count(right, TRUTH) == 0


def test_no_box_at_all(image):
    sample = sample_of('loc', image)
    sample.gt_instances = sample.gt_instances[:0]
    sample.pred_instances = sample.pred_instances[:0]
    tile = draw_pair(sample)
    assert count(tile[20:256], TRUTH) == count(tile[20:256], PREDICTION) == 0


def test_masks_have_one_colour_a_class_on_both_sides(image):
    tile = draw_pair(sample_of('seg', image), size=200)
    # smoothed lines blend the colour with the grey image
    red = tile[20:200, :, 0].astype(int) - tile[20:200, :, 1] > 60
    left, right = np.argwhere(red[:, :200]), np.argwhere(red[:, 200 + SEAM :])
    assert len(left) and len(right)
    # the prediction is 10 pixels further right, 20 in the tile
    assert right[:, 1].max() - left[:, 1].max() == pytest.approx(20, abs=2)


def test_probabilities_stand_beside_the_labels(image):
    tile = draw_pair(sample_of('cls', image))
    assert tile.shape == (256 + 15, 512 + SEAM, 3)
    bars = tile[20:68, 256 + SEAM :]
    green = np.array(TRUTH) // 3
    assert 0.6 * 252 * 14 < count(bars[:16], green) <= 0.8 * 252 * 14
    assert count(bars[16:], green) == 0
    assert count(bars[16:32], np.array(PREDICTION) // 3) > 0


def test_with_many_classes_the_true_one_stays():
    scores = np.linspace(1, 0.5, 40)
    truth = np.zeros(40)
    truth[39] = 1
    panel = draw_probabilities(
        scores, [str(i) for i in range(40)], truth, (100, 200)
    )
    assert panel.shape == (100, 200, 3)
    assert count(panel[84:], np.array(TRUTH) // 3) > 0


def test_sheet_of_all_kinds(image, tmp_path):
    samples = [sample_of(kind, image) for kind in ('cls', 'loc', 'seg')]
    tasks = [Task('x', kind, CLASSES) for kind in ('cls', 'loc', 'seg')]
    out = tmp_path / 'deep' / 'predictions.png'
    assert draw_prediction_sheet(samples, tasks, out, title='held out') == out
    assert cv2.imread(str(out)).shape[1] == 2 * (512 + SEAM + GAP) + GAP
    assert [p.name for p in out.parent.iterdir()] == ['predictions.png']


def test_pictures_keep_their_colours(tmp_path):
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[..., 0] = 200
    out = save_picture(picture, tmp_path / 'red.png')
    assert cv2.imread(str(out))[0, 0].tolist() == [0, 0, 200]


def test_ignored_pixels_are_striped_and_in_no_dice(image):
    sample = sample_of('seg', image)
    ignore = torch.zeros(1, 100, 80, dtype=torch.uint8)
    ignore[0, :, 50:] = 1
    plain = draw_pair(sample)
    sample.gt_sem_seg.set_data(dict(ignore=ignore))
    tile = draw_pair(sample)
    assert count(plain[:256, :256], UNKNOWN) == 0
    assert count(tile[:256, :256], UNKNOWN) > 1000
    assert count(tile[:256, 256 + SEAM :], UNKNOWN) == 0
    # what is left of prediction and truth differs, and so does Dice
    assert (plain[256:] != tile[256:]).any()


def test_truth_of_a_contact_sheet(image):
    def marks(kind, sample):
        task = Task('x', kind, CLASSES)
        return result_class(task).mark_truth(task, sample, CLASSES)

    cls = sample_of('cls', image)
    assert marks('cls', cls).lines == ['nodule, 1 unknown']
    cls.gt_score = torch.tensor([0.0, 0.55, 0.0])
    assert marks('cls', cls).lines == ['mass 0.55']
    cls.gt_score = torch.zeros(3)
    assert marks('cls', cls).lines == ['no finding']

    loc = sample_of('loc', image)
    assert [box[4] for box in marks('loc', loc).boxes] == ['mass']
    loc.gt_instances = loc.gt_instances[:0]
    assert marks('loc', loc).lines == ['no box']

    seg = sample_of('seg', image)
    ((name, color),) = marks('seg', seg).lines[0]
    assert name == 'nodule' and marks('seg', seg).masks[0][1] == color
    seg.gt_sem_seg = PixelData(
        data=torch.zeros(3, 100, 80), ignore=torch.ones(3, 100, 80)
    )
    empty = marks('seg', seg)
    assert empty.ignored.all() and empty.lines == [[('ignored', UNKNOWN)]]
    seg.gt_sem_seg = PixelData(data=torch.zeros(3, 100, 80))
    assert marks('seg', seg).lines == ['no mask']
