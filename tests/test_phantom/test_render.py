"""What is drawn, and what is said of it."""

import cv2
import numpy as np
import pytest

from fx_mm.phantom import FINDINGS, ORGANS, render_phantom
from fx_mm.phantom.anatomy import sample_anatomy
from fx_mm.phantom.canvas import LEFT, RIGHT
from fx_mm.phantom.render import mask_box, plan_findings


def phantoms_with(name, number, hospital='a', **options):
    """The first images of a hospital that have a finding."""
    indices = (
        i for i in range(999) if name in plan_findings(0, hospital, 'val', i)
    )
    for _, index in zip(range(number), indices):
        yield render_phantom(0, hospital, 'val', index, **options)


def lesion_contrast(phantom, name):
    """Grey value of a finding above that of the lung around it."""
    mask = phantom.masks[name]
    lungs = phantom.masks['Left lung'] | phantom.masks['Right lung']
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    ring = wide & ~mask & lungs
    image = phantom.image.astype(float)
    return image[mask].mean() - image[ring].mean()


def test_same_arguments_same_pixels():
    first = render_phantom(3, 'b', 'train', 7)
    second = render_phantom(3, 'b', 'train', 7)
    assert np.array_equal(first.image, second.image)
    assert first.boxes == second.boxes


@pytest.mark.parametrize(
    'other',
    [(4, 'b', 'train', 7), (3, 'c', 'train', 7), (3, 'b', 'val', 7),
     (3, 'b', 'train', 8)],
)  # fmt: skip
def test_each_argument_counts(other):
    first = render_phantom(3, 'b', 'train', 7).image
    assert not np.array_equal(first, render_phantom(*other).image)


def test_the_cardiothoracic_ratio_is_what_the_outlines_measure():
    gaps = []
    for index in range(16):
        phantom = render_phantom(0, 'c', 'val', index)
        (ratio,) = phantom.values.values()
        heart = phantom.masks['Heart']
        thorax = phantom.masks['Left lung'] | phantom.masks['Right lung']
        widths = [
            np.ptp(np.flatnonzero(mask.any(axis=0)))
            for mask in (heart, thorax | heart)
        ]
        gaps.append(abs(widths[0] / widths[1] - ratio))
        enlarged = bool(phantom.labels[FINDINGS.index('Cardiomegaly')])
        assert (ratio > 0.55) == enlarged
    # the film is tilted by a few degrees
    assert np.mean(gaps) < 0.015 and max(gaps) < 0.05


def test_bones_on_demand_without_a_change_of_the_image():
    plain = render_phantom(0, 'a', 'val', 3)
    outlined = render_phantom(0, 'a', 'val', 3, bones=True)
    assert plain.bones == {}
    assert np.array_equal(plain.image, outlined.image)
    bones = outlined.bones
    assert len(bones) == 22
    assert all(mask.dtype == bool for mask in bones.values())

    def middle(name):
        return np.argwhere(bones[name]).mean(0)

    # The patient's left is on the image's right; ribs count downwards.
    assert middle('Left clavicle')[1] > middle('Right clavicle')[1]
    for side in 'RL':
        rows = [middle(f'{side}{number}')[0] for number in range(1, 11)]
        assert rows == sorted(rows)
    assert middle('L5')[1] > middle('R5')[1]
    # Bone is brighter than the lung between the ribs.
    lung = outlined.masks['Right lung']
    rib = bones['R5'] & lung
    gap = lung & ~np.logical_or.reduce(list(bones.values()))
    near = cv2.dilate(rib.astype(np.uint8), np.ones((7, 7))) > 0
    image = outlined.image.astype(float)
    assert image[rib].mean() > image[gap & near].mean()


@pytest.mark.parametrize('hospital', 'abc')
def test_prevalence(hospital):
    plans = [plan_findings(0, hospital, 'train', i) for i in range(1000)]
    lengths = np.array([len(plan) for plan in plans])
    assert 0.45 < (lengths == 0).mean() < 0.51
    assert 0.12 < (lengths == 2).mean() < 0.16
    assert lengths.max() == 2
    for name in FINDINGS:
        assert 0.10 < np.mean([name in plan for plan in plans]) < 0.12
        # A small validation split has its share of every class.
        assert sum(name in plan for plan in plans[:200]) >= 18


def test_labels_boxes_and_masks_agree():
    for hospital in 'abc':
        for index in range(25):
            phantom = render_phantom(0, hospital, 'test', index)
            assert phantom.image.shape == (128, 128)
            assert phantom.image.dtype == np.uint8
            named = {n for n, v in zip(FINDINGS, phantom.labels) if v}
            assert named == set(plan_findings(0, hospital, 'test', index))
            assert named == {name for name, _ in phantom.boxes}
            assert set(phantom.masks) == named | set(ORGANS)
            for (_, box), mask in zip(phantom.boxes, phantom.instances):
                assert mask_box(mask) == box
            for name in named:
                boxes = np.array([b for n, b in phantom.boxes if n == name])
                hull = (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))
                assert hull == mask_box(phantom.masks[name])
                assert min(hull) >= 0 and max(hull) <= 128


def test_organs_lie_where_they_belong():
    for index in range(12):
        masks = render_phantom(0, 'c', 'train', index).masks
        left, right = masks['Left lung'], masks['Right lung']
        # The patient's left is on the image's right.
        assert np.nonzero(left)[1].mean() > np.nonzero(right)[1].mean() + 20
        assert not (left & right).any()
        # Pixels that are half and half may belong to both.
        shared = masks['Heart'] & (left | right)
        assert shared.sum() < 0.03 * masks['Heart'].sum()
        assert 0.03 < left.mean() < 0.35 and 0.03 < right.mean() < 0.35
        assert 0.02 < masks['Heart'].mean() < 0.25


def test_findings_lie_in_the_lungs():
    for name in FINDINGS[:-1]:
        for phantom in phantoms_with(name, 3):
            lungs = phantom.masks['Left lung'] | phantom.masks['Right lung']
            mask = phantom.masks[name]
            assert (mask & lungs).sum() > 0.55 * mask.sum(), name


@pytest.mark.parametrize('enlarged', [False, True])
def test_cardiothoracic_ratio(enlarged):
    for seed in range(40):
        anatomy = sample_anatomy(np.random.default_rng(seed), enlarged)
        thorax = (
            anatomy.lungs[LEFT][:, 0].max() - anatomy.lungs[RIGHT][:, 0].min()
        )
        ratio = np.ptp(anatomy.heart[:, 0]) / thorax
        assert ratio > 0.55 if enlarged else ratio < 0.5


def test_easy_lesions_are_large_and_bright():
    for name, low, high in (('Nodule', 4, 10.5), ('Mass', 8, 18)):
        for phantom in phantoms_with(name, 6):
            boxes = [box for n, box in phantom.boxes if n == name]
            for x1, y1, x2, y2 in boxes:
                radius = ((x2 - x1) * (y2 - y1)) ** 0.5 / 2
                assert low < radius < high
            assert lesion_contrast(phantom, name) > 12


def test_difficulty_is_a_dial():
    def mean(level):
        group = list(phantoms_with('Mass', 8, difficulty=level))
        area = np.mean([p.masks['Mass'].sum() for p in group])
        contrast = np.mean([lesion_contrast(p, 'Mass') for p in group])
        return area, contrast

    easy, medium, hard = mean(0.0), mean(0.5), mean(1.0)
    assert easy[0] > medium[0] > hard[0]
    assert easy[1] > medium[1] > hard[1] > 0


def test_pneumothorax_is_darker_than_the_lung():
    for phantom in phantoms_with('Pneumothorax', 5):
        air = phantom.masks['Pneumothorax']
        lungs = phantom.masks['Left lung'] | phantom.masks['Right lung']
        side = max(
            ('Left lung', 'Right lung'),
            key=lambda name: (phantom.masks[name] & air).sum(),
        )
        rest = phantom.masks[side] & ~air
        assert rest.any() and (air & lungs).sum() > 60
        image = phantom.image.astype(float)
        assert np.median(image[air]) < np.median(image[rest])


def test_size_changes_the_pixels_not_the_chest():
    small = render_phantom(0, 'c', 'train', 5, size=64)
    large = render_phantom(0, 'c', 'train', 5, size=192)
    assert large.image.shape == (192, 192)
    for name in ORGANS:
        shrunk = cv2.resize(
            large.masks[name].astype(np.uint8) * 255,
            (64, 64),
            interpolation=cv2.INTER_AREA,
        )
        both = (shrunk > 127) & small.masks[name]
        either = (shrunk > 127) | small.masks[name]
        assert both.sum() > 0.85 * either.sum()


def test_hospitals_look_different():
    """Grey levels alone tell film from digital rooms."""
    mean = {
        h: np.mean([render_phantom(0, h, 'val', i).image for i in range(20)])
        for h in 'abc'
    }
    assert mean['c'] > mean['a'] + 25
    assert mean['c'] > mean['b'] + 25
