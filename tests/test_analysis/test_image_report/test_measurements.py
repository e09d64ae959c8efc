"""Measurements against the drawn truth, and masks that cannot be measured."""

import math

import numpy as np
import pytest
from drawn_chests import as_result, draw_chest, plain_chest

from fx_mm.analysis.image_report.heart_and_lungs import RATIO
from fx_mm.analysis.image_report.measurements import measure
from fx_mm.apis import ImageResult, LocResult, SegResult
from fx_mm.image_io.dicom_geometry import Geometry
from fx_mm.tasks import Task
from fx_mm.visualization.measurements.chest_frame import make_frame

MIRRORED = Geometry(left_at='left')
NODULE = np.zeros((100, 100), bool)
NODULE[22:30, 70:82] = True


def chest_values(found):
    return {each.quantity: each for each in found.chest}


def places(found):
    return [f.place[:2] for f in found.findings if not f.organ]


def test_nothing_to_measure():
    """As of most chest X-rays: no finding, and here no lungs either."""
    found = measure(ImageResult('x', size=(50, 40)))
    assert (found.chest, found.findings) == ((), ())
    assert found.frame.refusal == 'no task draws the lungs'


def test_empty_masks_give_no_numbers():
    found = measure(as_result(np.zeros((3, 100, 100), bool)))
    for each in found.chest:
        assert math.isnan(each.value)
        assert 'has no pixels' in each.reason
    assert found.findings == ()


def test_drawn_truth():
    """Ratio, sides and zones of 60 phantoms."""
    errors, sides, zones = [], [], []
    for number in range(60):
        drawn = draw_chest(number)
        found = measure(as_result(drawn.organs, drawn.findings))
        ratio = chest_values(found)[RATIO]
        if not ratio.reason:
            errors.append(abs(ratio.value - drawn.ratio))
        for each in found.findings:
            if not each.organ:
                _, side, zone = drawn.findings[int(each.name.split()[1])]
                sides.append(each.place.side == side)
                zones.append(each.place.zone == zone)
    assert len(errors) > 45 and np.mean(errors) <= 0.02
    assert len(sides) > 150 and all(sides)
    assert np.mean(zones) >= 0.95


def test_numbers_of_a_plain_chest():
    found = chest_values(measure(as_result(plain_chest())))
    values = {name: each.value for name, each in found.items()}
    assert values == {
        RATIO: 0.5,
        'heart_width': 40,
        'thoracic_width': 80,
        'left_lung_area': 1800,
        'right_lung_area': 1200,
        'lung_asymmetry': 0.2,
    }
    assert found['heart_width'].unit == 'px'
    assert found['left_lung_area'].unit == 'px2'


def test_millimetres_are_by_row_and_column():
    geometry = Geometry((0.5, 0.2), 'ImagerPixelSpacing')
    found = measure(as_result(plain_chest(), [NODULE]), geometry)
    values = chest_values(found)
    assert values[RATIO].value == 0.5
    assert values['heart_width'].value == pytest.approx(8)
    assert values['heart_width'].unit == 'mm'
    assert values['left_lung_area'].value == pytest.approx(180)
    assert values['left_lung_area'].unit == 'mm2'
    (mask,) = [f for f in found.findings if f.form == 'mask' and not f.organ]
    assert mask.size('width') == pytest.approx(2.4)
    assert mask.size('height') == pytest.approx(4)
    assert mask.size('area') == pytest.approx(9.6)


def test_the_patients_left_is_the_images_right():
    found = measure(as_result(plain_chest(), [NODULE, NODULE[:, ::-1]]))
    assert places(found) == 2 * [('left', 'upper'), ('right', 'upper')]
    assert not found.frame.said


def test_a_mirrored_image_has_its_sides_by_the_header():
    """Also where one mask is of both lungs, and where there is none."""
    organs = plain_chest()[:, :, ::-1]
    result = as_result(organs, [NODULE[:, ::-1]])
    assert places(measure(result, MIRRORED)) == 2 * [('left', 'upper')]
    both = organs[0] | organs[1]
    lungs = SegResult(Task('b', 'seg', ('Lung',)), both[None])
    result.predictions = {'b/seg': lungs} | {
        'a/loc': result.predictions['a/loc']
    }
    found = measure(result, MIRRORED)
    assert places(found) == [('left', 'upper')]
    assert chest_values(found)['left_lung_area'].value == 1800
    del result.predictions['b/seg']
    assert places(measure(result, MIRRORED)) == [('left', 'unknown')]
    assert places(measure(result)) == [('right', 'unknown')]


def test_masks_on_the_wrong_side_leave_sides_unknown():
    """Of a mirrored image that does not say so, or of wrong masks."""
    result = as_result(plain_chest()[:, :, ::-1], [NODULE])
    found = measure(result)
    assert places(found) == 2 * [('unknown', 'unknown')]
    assert "left lung is not at the image's right" in found.frame.unusable
    assert math.isnan(chest_values(found)[RATIO].value)


def test_a_lateral_view_has_no_sides():
    geometry = Geometry(refusal='its view is LL, not a frontal one')
    found = measure(as_result(plain_chest(), [NODULE]), geometry)
    assert places(found) == 2 * [('unknown', 'unknown')]
    assert {m.reason for m in found.chest} == {geometry.refusal}


def test_what_spans_the_middle_is_on_both_sides():
    wide = np.zeros((100, 100), bool)
    wide[60:75, 35:75] = True
    found = measure(as_result(plain_chest(), [wide]))
    assert places(found) == 2 * [('both', 'lower')]


def test_without_lungs_sides_are_by_image_halves():
    organs = plain_chest()
    organs[0] = False
    found = measure(as_result(organs, [NODULE]))
    place = found.findings[-1].place
    assert place[:3] == ('left', 'unknown', 'image halves')
    assert 'the left lung has no pixels' in place.reason


def cut_off(organs):
    organs[0, 20:80, 60:] = True


def in_pieces(organs):
    organs[1] = False
    organs[1, 20:40, 10:30] = True
    organs[1, 50:70, 10:30] = True


def specks(organs):
    organs[1] = False
    organs[1, 5:8, 5:8] = True


def wide_heart(organs):
    organs[2, 50:80, 2:70] = True


def small_lung(organs):
    organs[1] = False
    organs[1, 20:32, 10:30] = True


@pytest.mark.parametrize(
    'spoil, why',
    [
        (cut_off, 'the left lung reaches the edge of the image'),
        (in_pieces, 'the right lung is in pieces, the largest 50%'),
        (specks, 'the right lung has 0.1% of the image'),
        (wide_heart, 'the heart reaches beyond the lungs'),
        (small_lung, 'one lung is less than a fifth of the other'),
    ],
)
def test_masks_that_fail_a_check_give_a_reason(spoil, why):
    organs = plain_chest()
    spoil(organs)
    ratio = chest_values(measure(as_result(organs)))[RATIO]
    assert math.isnan(ratio.value) and why in ratio.reason


def test_a_heart_without_lungs_to_lie_between_is_not_measured():
    organs = plain_chest()
    in_pieces(organs)
    found = chest_values(measure(as_result(organs)))
    assert 'in pieces' in found['heart_width'].reason
    assert math.isnan(found['heart_width'].value)
    assert math.isnan(found['thoracic_width'].value)


def test_pieces_of_a_finding_are_measured_apart():
    """Specks below a ten-thousandth of the image are counted alone."""
    mask = NODULE.copy()
    mask[60:70, 15:25] = True
    large = np.kron(mask, np.ones((4, 4), bool))
    large[399, 399] = True
    organs = np.kron(plain_chest(), np.ones((1, 4, 4), bool))
    found = measure(as_result(organs, [large]))
    areas = [f.size('area') for f in found.findings if f.form == 'mask']
    assert areas[-2:] == [100 * 16, 96 * 16]
    assert found.dropped == {'a/seg Finding 0': 1}
    assert places(found)[:2] == [('right', 'lower'), ('left', 'upper')]


def test_boxes_below_the_score_are_left_out():
    result = as_result(plain_chest(), [NODULE])
    found = measure(result, least=lambda task, name: 0.95)
    assert [f.form for f in found.findings if not f.organ] == ['mask']


def test_of_boxes_that_overlap_the_best_is_measured():
    result = as_result(plain_chest(), [NODULE])
    found = result.predictions['a/loc']
    corners = [[60, 20, 70, 30], [61, 20, 71, 30], [61, 60, 71, 70]]
    result.predictions['a/loc'] = LocResult(
        found.task,
        np.array([*corners, [np.nan, 0, 1, 1]], np.float32),
        np.array([0.5, 0.9, 0.4, 0.8], np.float32),
        np.zeros(4, int),
    )
    boxes = [f for f in measure(result).findings if f.form == 'box']
    assert [(f.number, round(f.score, 1)) for f in boxes] == [
        (1, 0.9), (2, 0.4),
    ]  # fmt: skip


def test_the_first_task_whose_lungs_can_be_used_gives_the_sides():
    result = as_result(np.zeros((3, 100, 100), bool), [NODULE])
    good = as_result(plain_chest()).predictions['a/seg']
    task = Task('b', 'seg', good.classes)
    result.predictions['b/seg'] = SegResult(task, good.masks)
    found = measure(result)
    assert found.frame.task == 'b/seg'
    assert places(found)[0] == ('left', 'upper')
    reasons = {m.task: m.reason for m in found.chest if m.quantity == RATIO}
    assert reasons['b/seg'] == '' and reasons['a/seg']


def test_two_lungs_in_one_piece_are_not_parted():
    frame = make_frame(
        (100, 100), Geometry(), {'lung': np.ones((100, 100), bool)}
    )
    assert frame.refusal == 'the mask of the lungs is not in two pieces'
