"""One image: its PNG, its masks, its boxes, at any size."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_raw import Block, Held

from fx_mm.image_io.masks import read_mask
from fx_mm.image_io.xray import read_xray
from fx_mm.preparation.dataset_spec import DatasetSpec, FormSpec
from fx_mm.preparation.image_preparer import ImagePreparer, read_stamp
from fx_mm.utils.errors import UserError

RIBS = tuple(f'{side}{n}' for side in 'RL' for n in range(1, 11))


@pytest.fixture
def prepare_one(toy):
    """Prepare an image of 40x30 pixels; give what the tables say of it."""

    def call(
        boxes_for=('A',), masks_for=None, merged=False, box_per=None,
        width=40, height=30, drop_bad_boxes=False, rewrite=False, **fields,
    ):  # fmt: skip
        spec = DatasetSpec(
            'toy',
            toy.root,
            'prepared/images',
            boxes=FormSpec('loc', boxes_for, {}, merged)
            if boxes_for
            else None,
            masks=FormSpec('seg', masks_for, {}) if masks_for else None,
        )
        image = toy.add(0, width, height, **fields)
        return ImagePreparer(spec, box_per, drop_bad_boxes, rewrite)(image)

    return call


def read_planes(toy, image, classes):
    found = {}
    for name in classes:
        path = image.masks.get(name)
        if path is None:
            continue
        (found[name],) = read_mask(str(toy.prepared / path), [name])
    return found


def test_no_boxes_and_no_masks(prepare_one, toy):
    image = prepare_one(masks_for=('A',), boxes=[], masks={})
    assert (image.boxes, image.masks) == ([], {})
    image = prepare_one(masks_for=('A',))
    assert (image.boxes, image.masks) == (None, None)
    image = prepare_one(boxes_for=('A', 'B'), box_per='piece', masks={'A': []})
    assert (image.boxes, image.masks) == ([], None)
    empty = {'A': [Block(5, 5, 5, 9)]}
    image = prepare_one(masks_for=('A',), box_per='component', masks=empty)
    assert (image.boxes, image.masks) == ([], {})
    assert not (toy.prepared / 'masks').exists()


def test_image_is_8_bit_grey_and_knows_its_source(prepare_one, toy):
    image = prepare_one()
    path = toy.prepared / 'images/000.png'
    source = toy.root / 'raw/000.png'
    assert np.array_equal(read_xray(str(path)), read_xray(str(source)))
    assert (image.width, image.height) == (40, 30)
    assert read_stamp(path) == dict(
        source_bytes=source.stat().st_size, size=[30, 40]
    )
    assert read_stamp(source) is None
    assert read_stamp(path.with_name('absent.png')) is None


def test_an_image_is_written_once(prepare_one, toy):
    prepare_one()
    path = toy.prepared / 'images/000.png'
    before = path.stat().st_mtime_ns
    prepare_one()
    assert path.stat().st_mtime_ns == before
    prepare_one(rewrite=True)
    assert path.stat().st_mtime_ns > before
    wider = prepare_one(width=41)  # another source of the same name
    assert (wider.width, wider.height) == (41, 30)


def test_masks_of_twenty_classes(prepare_one, toy):
    masks = {
        name: [Block(n, 0, n + 3, 9), Block(n, 20, n + 2, 30)]
        for n, name in enumerate(RIBS)
        if n != 4
    }
    image = prepare_one(masks_for=RIBS, masks=masks)
    assert image.masks['R1'] == 'masks/toy/000.png#0'
    assert image.masks['L6'] == 'masks/toy/000.png#15'
    assert image.masks['L7'] == 'masks/toy-2/000.png#0'
    planes = read_planes(toy, image, RIBS)
    assert list(planes) == [name for name in RIBS if name != 'R5']
    for name, plane in planes.items():
        one, two = (piece.draw(30, 40) for piece in masks[name])
        assert np.array_equal(plane, one | two)
    raw = cv2.imread(
        str(toy.prepared / 'masks/toy-2/000.png'), cv2.IMREAD_UNCHANGED
    )
    assert raw.dtype == np.uint8


def test_a_class_alone_is_0_and_255(prepare_one, toy):
    image = prepare_one(masks_for=('A',), masks={'A': [Block(1, 2, 3, 4)]})
    assert image.masks == {'A': 'masks/toy/000.png'}
    path = str(toy.prepared / image.masks['A'])
    assert read_mask(path, ['A'], decisions=True)[1]['values'] == [0, 255]


@pytest.mark.parametrize('count', [1, 3, 16])
def test_ignored_pixels_have_no_box_and_are_written(prepare_one, toy, count):
    classes = tuple('ABCDEFGHIJKLMNOP'[:count])
    piece = Held(2, 2, 12, 8)
    image = prepare_one(
        masks_for=classes,
        boxes_for=('A',),
        box_per='component',
        masks={'A': [piece, Block(20, 1, 25, 5)]},
    )
    boxes = sorted(tuple(box[1:]) for box in image.boxes)
    assert boxes == [(2, 2, 7, 8), (20, 1, 25, 5)]
    assert set(image.masks) == {'A', 'ignore'}
    planes = read_planes(toy, image, ('A', 'ignore'))
    drawn = piece.draw(30, 40)
    assert np.array_equal(planes['ignore'], np.ma.getmask(drawn))
    assert not (planes['A'] & planes['ignore']).any()
    assert planes['A'].sum() == 5 * 6 + 5 * 4


@pytest.mark.parametrize(
    ('box_per', 'expected'),
    [
        ('piece', [(1, 1, 5, 5), (4, 4, 9, 9), (20, 1, 25, 5)]),
        ('component', [(1, 1, 9, 9), (20, 1, 25, 5)]),
        ('class', [(1, 1, 25, 9)]),
    ],
)
def test_boxes_from_masks(prepare_one, box_per, expected):
    pieces = [Block(1, 1, 5, 5), Block(4, 4, 9, 9), Block(20, 1, 25, 5)]
    image = prepare_one(box_per=box_per, masks={'A': pieces, 'C': pieces})
    assert sorted(image.boxes) == [['A', *box] for box in expected]
    assert image.unknown == {'C': 3}
    assert image.masks is None
    # a mask without a class of the boxes has no box
    image = prepare_one(
        box_per=box_per, masks_for=('A', 'C'), masks={'A': [], 'C': pieces}
    )
    assert image.boxes == [] and list(image.masks) == ['C']
    assert image.unknown == {}
    # the raw dataset's own boxes come first
    image = prepare_one(
        box_per=box_per, masks={'A': pieces}, boxes=[('A', 0, 0, 2, 2)]
    )
    assert image.boxes == [['A', 0, 0, 2, 2]]


def test_merged_classes(prepare_one):
    image = prepare_one(
        merged=True, boxes=[('B', 0, 0, 2.5, 2), ('C', 3, 3, 9, 9)]
    )
    assert image.boxes == [['A', 0, 0, 2.5, 2], ['A', 3, 3, 9, 9]]


def test_classes_that_the_config_lacks_are_counted(prepare_one):
    boxes = [('B', 0, 0, 2, 2), ('A', 1, 1, 2, 2), ('B', 3, 3, 9, 9)]
    image = prepare_one(boxes=boxes)
    assert image.boxes == [['A', 1, 1, 2, 2]] and image.unknown == {'B': 2}


def test_boxes_at_the_border(prepare_one):
    boxes = [('A', -1, -0.5, 10, 31), ('A', 3, 3, 41.5, 9)]
    image = prepare_one(boxes=boxes)
    assert image.boxes == [['A', 0, 0, 10, 30], ['A', 3, 3, 40, 9]]
    assert image.cut == 1


@pytest.mark.parametrize(
    'box', [(5, 5, 5, 9), (9, 5, 5, 9), (40, 3, 44, 9), (1, -9, 5, 0)]
)
def test_boxes_without_area(prepare_one, box):
    with pytest.raises(
        UserError,
        match=r'Box \(.*\) of "A" in image "000.png" of 40x30 pixels has no '
        'area or lies outside; correct .* --drop-bad-boxes',
    ):
        prepare_one(boxes=[('A', *box)])
    image = prepare_one(boxes=[('A', *box)], drop_bad_boxes=True)
    assert (image.boxes, image.dropped) == ([], 1)
    with pytest.raises(UserError, match='of "A" in image "000.png"'):
        prepare_one(boxes=[('A', 1, 2, float('nan'), 9)])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=40,
    deadline=None,
)
@given(st.integers(24, 80), st.integers(24, 80), st.data())
def test_image_boxes_and_masks_keep_their_size(
    prepare_one, toy, width, height, data
):
    x1 = data.draw(st.integers(0, width - 8))
    y1 = data.draw(st.integers(0, height - 8))
    x2 = data.draw(st.integers(x1 + 6, width))
    y2 = data.draw(st.integers(y1 + 6, height))
    image = prepare_one(
        masks_for=('A', 'B'), width=width, height=height,
        boxes=[('A', x1, y1, x2, y2)], masks={'A': [Block(x1, y1, x2, y2)]},
        rewrite=True,
    )  # fmt: skip
    written = read_xray(str(toy.prepared / 'images/000.png'))
    assert written.shape == (image.height, image.width) == (height, width)
    expected = np.zeros((height, width), bool)
    expected[y1:y2, x1:x2] = True
    plane = read_planes(toy, image, ('A',))['A']
    np.testing.assert_array_equal(plane, expected)
    assert image.boxes == [['A', x1, y1, x2, y2]]


class Wrong:
    def draw(self, height, width):
        return np.zeros((2, 3), bool)


class Broken:
    def draw(self, height, width):
        raise UserError('the run lengths end early.')


def test_mask_mistakes_name_the_image(prepare_one):
    with pytest.raises(
        UserError, match='Image "000.png": a mask of 3x2 pixels was drawn for'
    ):
        prepare_one(masks_for=('A',), masks={'A': [Wrong()]})
    with pytest.raises(UserError, match='Image "000.png": the run lengths'):
        prepare_one(masks_for=('A',), masks={'A': [Broken()]})


def test_a_folder_that_cannot_be_written(prepare_one, toy):
    toy.prepared.mkdir()
    (toy.prepared / 'images').write_text('in the way')
    with pytest.raises(UserError, match='is the disk full or the folder read'):
        prepare_one()
