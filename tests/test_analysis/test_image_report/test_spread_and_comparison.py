"""Readings of one image, and of an image and a prior one."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_chests import as_result, plain_chest

from fx_mm.analysis.image_report.comparison import compare
from fx_mm.analysis.image_report.heart_and_lungs import RATIO
from fx_mm.analysis.image_report.measurements import measure
from fx_mm.analysis.image_report.spread import add_spread
from fx_mm.apis import ClsResult, ImageResult
from fx_mm.image_io.dicom_geometry import Geometry
from fx_mm.tasks import Task
from fx_mm.visualization.measurements.chest_frame import overlap


def nodule(x=70, y=22, width=12, height=8):
    mask = np.zeros((100, 100), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def with_nodule(*masks, organs=None):
    organs = plain_chest() if organs is None else organs
    result = as_result(organs, masks)
    del result.predictions['a/loc']
    return measure(result)


def kinds(changes):
    return [change.kind for change in changes]


def test_nothing_in_any_reading():
    found = add_spread(with_nodule(), [with_nodule(), with_nodule()])
    assert [f for f in found.findings if not f.organ] == []
    assert {m.readings for m in found.chest} == {3}


def test_spread_is_the_least_and_the_greatest():
    wider = plain_chest()
    wider[2, 50:80, 26:70] = True
    found = add_spread(
        with_nodule(nodule()),
        [with_nodule(nodule(width=14), organs=wider), with_nodule()],
    )
    (ratio,) = [m for m in found.chest if m.quantity == RATIO]
    assert (ratio.value, ratio.spread) == (0.5, (0.5, 0.55))
    (finding,) = [f for f in found.findings if not f.organ]
    assert (finding.seen, finding.readings) == (2, 3)
    width, height, _ = finding.sizes
    assert width.spread == (12, 14) and height.spread == (8, 8)


def test_a_reading_without_a_number_does_not_count():
    empty = measure(as_result(np.zeros((3, 100, 100), bool)))
    found = add_spread(with_nodule(), [empty])
    assert {m.readings for m in found.chest} == {1}
    found = add_spread(empty, [empty])
    assert {(m.readings, m.spread) for m in found.chest} == {(0, None)}


def test_probabilities_have_a_spread():
    def read(value):
        task = Task('a', 'cls', ('Nodule',))
        scores = np.array([value], np.float32)
        return measure(
            ImageResult('x', None, (9, 9), {'a/cls': ClsResult(task, scores)})
        )

    found = add_spread(read(0.5), [read(0.25), read(0.75)])
    assert found.probabilities['a/cls']['Nodule'].spread == (0.25, 0.75)


def test_a_finding_has_one_partner():
    found = add_spread(
        with_nodule(nodule(70), nodule(70, 50)),
        [with_nodule(nodule(71), nodule(71))],
    )
    seen = [f.seen for f in found.findings if not f.organ]
    assert seen == [2, 1]
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_no_finding_in_either_image():
    assert compare(with_nodule(), with_nodule()) == []


def test_new_gone_larger_smaller():
    small, large = nodule(width=10, height=8), nodule(width=13, height=10)
    none = with_nodule()
    assert kinds(compare(with_nodule(small), none)) == ['new']
    assert kinds(compare(none, with_nodule(small))) == ['gone']
    (change,) = compare(with_nodule(large), with_nodule(small))
    assert change.kind == 'larger'
    assert change.ratio == pytest.approx((130 / 80) ** 0.5)
    assert kinds(compare(with_nodule(small), with_nodule(large))) == [
        'smaller'
    ]
    assert kinds(compare(with_nodule(small), with_nodule(small))) == [
        'unchanged'
    ]


def test_a_change_within_the_spread_is_none():
    small, large = nodule(width=10, height=8), nodule(width=13, height=10)
    unsure = add_spread(with_nodule(small), [with_nodule(large)])
    assert kinds(compare(with_nodule(large), unsure)) == ['unchanged']


def test_images_are_compared_in_the_frame_of_the_lungs():
    """The prior is twice as large and lies elsewhere."""
    prior = np.pad(
        np.kron(
            np.concatenate([plain_chest(), nodule()[None]]),
            np.ones((1, 2, 2), bool),
        ),
        ((0, 0), (30, 10), (5, 95)),
    )
    before = measure(as_result(prior[:3], [prior[3]]))
    now = measure(as_result(plain_chest(), [nodule()]))
    changes = compare(now, before)
    assert kinds(changes) == ['unchanged', 'unchanged']
    assert [c.ratio for c in changes] == pytest.approx([1, 1])


def test_millimetres_count_where_both_images_have_them():
    """Half as large a pixel makes half as large a nodule."""
    fine = Geometry((0.5, 0.5), 'PixelSpacing')
    coarse = Geometry((1.0, 1.0), 'PixelSpacing')
    result = as_result(plain_chest(), [nodule()])
    now, before = measure(result, coarse), measure(result, fine)
    assert {c.ratio for c in compare(now, before)} == {2.0}
    other = replace(before, geometry=replace(fine, spacing_from='x'))
    assert {c.ratio for c in compare(now, other)} == {1.0}
