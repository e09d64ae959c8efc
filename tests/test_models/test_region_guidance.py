import math

import model_helpers as h
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_mm.models.layers import RegionGuidance

STRIDES = (4, 8, 16, 32)


def slow_mask(boxes, image, stride, shape):
    """Cell by cell, from the formulas.

    Args:
        boxes: cxcywh in pixels.
        image: Height and width of the image in pixels, without padding.
        stride: Pixels per cell.
        shape: Rows and columns of the map.
    """
    total = np.zeros(shape)
    for cx, cy, w, hgt in boxes:
        if w * hgt < 10:
            w = hgt = 10
        w, hgt = w * math.sqrt(1.5), hgt * math.sqrt(1.5)
        left, right = max(cx - w / 2, 0), min(cx + w / 2, image[1])
        top, bottom = max(cy - hgt / 2, 0), min(cy + hgt / 2, image[0])
        left, right = left / stride, right / stride
        top, bottom = top / stride, bottom / stride
        sigma = min(
            1.5 * max(right - left, bottom - top),
            image[1] / stride,
            image[0] / stride,
        )
        mask = np.zeros(shape)
        for row in range(shape[0]):
            for column in range(shape[1]):
                x = min(column + 0.5, image[1] / stride)
                y = min(row + 0.5, image[0] / stride)
                dx = left - x if x < left else x - right if x > right else 0
                dy = top - y if y < top else y - bottom if y > bottom else 0
                distance = math.hypot(dx, dy)
                mask[row, column] = math.exp(-(distance**2) / (2 * sigma**2))
        total = np.maximum(total, mask / mask.max())
    return total if len(boxes) else np.ones(shape)


def fast_mask(boxes, image, stride, shape):
    """The mask of one image by RegionGuidance; boxes cxcywh in pixels."""
    guidance = RegionGuidance(STRIDES)
    size = torch.tensor([image[::-1]], dtype=torch.float64)
    boxes = torch.from_numpy(np.array(boxes, float).reshape(1, -1, 4))
    logits = torch.full((1, max(boxes.shape[1], 1), 2), -9.0).double()
    if boxes.shape[1]:
        logits[..., 1] = 3.0
    else:
        boxes = torch.full((1, 1, 4), 0.5).double() * size.repeat(1, 2)
    relative = (boxes / size.repeat(1, 2)).double()
    # float64 all the way: the comparison is of formulas, not of rounding
    regions, kept = guidance.regions(logits, relative, size)
    if kept.shape[1] == 0:
        return np.ones(shape)
    mask = guidance.mask(regions.double() / stride, kept, size / stride, shape)
    return mask[0, 0].numpy()


images = st.tuples(st.integers(16, 150), st.integers(16, 150))
unit = st.floats(0, 1, allow_nan=False)
relative_boxes = st.tuples(unit, unit, st.floats(1e-3, 1), st.floats(1e-3, 1))
strides = st.sampled_from(STRIDES)


def pixels(box, image):
    scale = np.array([image[1], image[0], image[1], image[0]])
    return np.array(box) * scale


def cells(image, stride):
    return tuple(-(-side // stride) for side in image)


@settings(max_examples=60, deadline=None)
@given(images, st.lists(relative_boxes, max_size=4), strides)
def test_mask_is_the_formula(image, boxes, stride):
    boxes = [pixels(box, image) for box in boxes]
    shape = cells(image, stride)
    ours = fast_mask(boxes, image, stride, shape)
    wanted = slow_mask(boxes, image, stride, shape)
    np.testing.assert_allclose(ours, wanted, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(images, relative_boxes, strides)
def test_mask_falls_with_the_distance(image, box, stride):
    box = pixels(box, image)
    shape = cells(image, stride)
    mask = fast_mask([box], image, stride, shape)
    assert mask.max() == 1 and mask.min() >= 0
    rows, columns = (np.arange(n) + 0.5 for n in shape)
    dx = np.abs(np.minimum(columns * stride, image[1]) - box[0])
    dy = np.abs(np.minimum(rows * stride, image[0]) - box[1])
    # within the predicted box everything is 1, as it has only grown; a tiny
    # one became a square, which a long line of a box is not within
    if box[2] * box[3] >= 10:
        inside = np.outer(dy < box[3] / 2, dx < box[2] / 2)
        assert (mask[inside] == 1).all()
    # away from the box's best row and column the mask never rises
    best_row, best_column = np.unravel_index(mask.argmax(), mask.shape)
    assert (np.diff(mask[:, best_column:], axis=1) <= 0).all()
    assert (np.diff(mask[best_row:], axis=0) <= 0).all()
    assert (np.diff(mask[:, : best_column + 1], axis=1) >= 0).all()
    assert (np.diff(mask[: best_row + 1], axis=0) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.floats(1, 60),
    st.floats(1, 60),
    strides,
)
def test_mask_moves_with_the_box(down, right, width, height, stride):
    """A shift of the box by whole cells shifts the mask."""
    image = (70 * stride, 70 * stride)
    center = 25.3 * stride
    still = fast_mask(
        [[center, center, width, height]], image, stride, (70,) * 2
    )
    moved = fast_mask(
        [[center + right * stride, center + down * stride, width, height]],
        image,
        stride,
        (70,) * 2,
    )
    np.testing.assert_allclose(
        moved[down:, right:],
        still[: 70 - down, : 70 - right],
        atol=1e-4,
    )


@settings(max_examples=40, deadline=None)
@given(images, st.lists(relative_boxes, min_size=1, max_size=4), strides)
def test_boxes_are_combined_by_the_maximum(image, boxes, stride):
    boxes = [pixels(box, image) for box in boxes]
    shape = cells(image, stride)
    together = fast_mask(boxes, image, stride, shape)
    alone = [fast_mask([box], image, stride, shape) for box in boxes]
    np.testing.assert_allclose(together, np.max(alone, axis=0), atol=1e-6)


def regions(box, image=(100, 200), **kwargs):
    """Region of one sure box (relative cxcywh), xyxy in pixels."""
    logits = torch.tensor([[[-9.0, 9.0]]])
    size = torch.tensor([[image[1], image[0]]]).float()
    found, kept = RegionGuidance(STRIDES, **kwargs).regions(
        logits, torch.tensor([[box]]), size
    )
    assert kept.all()
    return found[0, 0].tolist()


def test_box_format_and_growth():
    # 80 x 20 px around (100, 50); the area grows by 1.5, the ratio stays
    left, top, right, bottom = regions([0.5, 0.5, 0.4, 0.2])
    assert (right - left) * (bottom - top) == pytest.approx(1.5 * 80 * 20)
    assert (right - left) / (bottom - top) == pytest.approx(80 / 20)
    assert (left + right) / 2 == pytest.approx(100)
    assert (top + bottom) / 2 == pytest.approx(50)
    plain = regions([0.5, 0.5, 0.4, 0.2], box_area_scale=1.0)
    assert plain == pytest.approx([60, 40, 140, 60])


def test_tiny_boxes_become_squares():
    # 3 x 3 = 9 square pixels are too few, 4 x 3 = 12 are not
    kwargs = dict(box_area_scale=1.0)
    tiny = regions([0.5, 0.5, 3 / 200, 3 / 100], **kwargs)
    assert tiny == pytest.approx([95, 45, 105, 55])
    small = regions([0.5, 0.5, 4 / 200, 3 / 100], **kwargs)
    assert small == pytest.approx([98, 48.5, 102, 51.5])


def test_boxes_at_the_border_are_clipped():
    kwargs = dict(box_area_scale=1.0)
    assert regions([0.0, 0.0, 0.2, 0.2], **kwargs) == [0, 0, 20, 10]
    assert regions([1.0, 1.0, 0.2, 0.2], **kwargs) == [180, 90, 200, 100]
    assert regions([0.5, 0.5, 1.0, 1.0]) == [0, 0, 200, 100]


def test_which_boxes_count():
    boxes = torch.rand(2, 5, 4)
    scores = torch.full((2, 5, 3), 0.1)
    scores[0, 4, 2], scores[0, 1, 0], scores[0, 2, 1] = 0.9, 0.31, 0.3
    sizes = torch.tensor([[64.0, 64.0]]).expand(2, 2)
    guidance = RegionGuidance(STRIDES)
    found, kept = guidance.regions(scores.logit(), boxes, sizes)
    # above the threshold only, the best first; none in the second image
    assert kept.tolist() == [[True, True], [False, False]]
    one, _ = guidance.regions(scores.logit()[:1, 4:], boxes[:1, 4:], sizes[:1])
    torch.testing.assert_close(found[:1, :1], one)
    mask = guidance.mask(found / 4, kept, sizes / 4, (16, 16))
    assert (mask[1] == 1).all() and (mask[0] < 1).any()
    best = RegionGuidance(STRIDES, max_boxes=1)
    assert best.regions(scores.logit(), boxes, sizes)[1].shape == (2, 1)


def test_no_box_changes_nothing():
    pyramid = tuple(torch.randn(2, 3, 64 // s, 64 // s) for s in STRIDES)
    _, samples = h.batch('a/seg')
    logits, boxes = torch.full((2, 5, 1), -4.0), torch.rand(2, 5, 4)
    guided = RegionGuidance(STRIDES)(pyramid, logits, boxes, samples)
    assert all(torch.equal(a, b) for a, b in zip(guided, pyramid))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_maps_keep_a_share(dtype):
    pyramid = tuple(
        torch.randn(2, 3, 64 // s, 64 // s, dtype=dtype) for s in STRIDES
    )
    _, samples = h.batch('a/seg')
    logits, boxes = torch.full((2, 1, 1), 4.0), torch.full((2, 1, 4), 0.1)
    for mix in (0.5, 1.0):
        guidance = RegionGuidance(STRIDES, mix=mix)
        guided = guidance(pyramid, logits, boxes, samples)
        for ours, theirs in zip(guided, pyramid):
            assert ours.dtype == dtype and ours.shape == theirs.shape
            some = theirs != 0  # bfloat16 draws zeros
            ratio = (ours.abs() / theirs.abs()).float()[some]
            assert ratio.min() >= mix - 0.01 and ratio.max() <= 1.01
