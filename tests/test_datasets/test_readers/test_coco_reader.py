import codecs
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fx_mm.datasets.readers import CocoReader
from fx_mm.utils.errors import UserError

CATEGORIES = [dict(id=7, name='B'), dict(id=3, name='A')]


def image(number, name, width=32, height=24):
    return dict(id=number, file_name=name, width=width, height=height)


def box(image_id, bbox, category_id=3, **kwargs):
    return dict(
        image_id=image_id, bbox=bbox, category_id=category_id, **kwargs
    )


@pytest.fixture
def read(tmp_path, write_images, make_task):
    def run(content, classes=('A', 'B'), **kwargs):
        folder = write_images('a.png', 'b.png', 'sub/c.png')
        path = tmp_path / 'boxes.json'
        if isinstance(content, dict):
            content = json.dumps(content)
        path.write_text(content)
        return CocoReader(**kwargs)(
            str(path), folder, make_task('loc', classes)
        )

    return run


def coco(annotations=(), images=None, categories=CATEGORIES):
    if images is None:
        images = [image(5, 'a.png'), image(2, 'sub/c.png')]
    return dict(
        images=images, annotations=list(annotations), categories=categories
    )


def refuse(read, content, *parts, **kwargs):
    with pytest.raises(UserError) as info:
        read(content, **kwargs)
    message = str(info.value)
    for part in ('boxes.json', *parts):
        assert part in message, message
    assert '\n' not in message


def test_categories_go_by_name_and_images_without_boxes_stay(read, tmp_path):
    first, second = read(
        coco([box(2, [1, 2, 3, 4], 7), box(2, [0.5, 0, 10, 20], 3)])
    )
    assert first['img_id'] == 'a.png'
    assert first['boxes'].shape == (0, 4)
    assert first['box_labels'].shape == (0,)
    np.testing.assert_array_equal(
        second['boxes'], [[1, 2, 4, 6], [0.5, 0, 10.5, 20]]
    )
    np.testing.assert_array_equal(second['box_labels'], [1, 0])
    assert second['img_path'] == str(tmp_path / 'images' / 'sub/c.png')
    for record in (first, second):
        assert record['boxes'].dtype == np.float32
        assert record['box_labels'].dtype == np.int64
        np.testing.assert_array_equal(record['ann_size'], [32, 24])


def test_no_boxes_at_all(read):
    records = read(coco())
    assert [len(record['boxes']) for record in records] == [0, 0]


def test_merge_classes(read):
    content = coco([box(5, [1, 2, 3, 4], 7), box(5, [1, 2, 3, 4], 3)])
    (record, _) = read(content, ('Any',), merge_classes=True)
    np.testing.assert_array_equal(record['box_labels'], [0, 0])
    with pytest.raises(UserError, match='toy/loc merges'):
        read(content, merge_classes=True)


def test_box_over_the_border_is_cut(read):
    (record, _) = read(coco([box(5, [-3, 20, 10, 10])]))
    np.testing.assert_array_equal(record['boxes'], [[0, 20, 7, 24]])


def test_corners_in_the_place_of_sizes_are_refused(read):
    corners = [[2, 2, 20, 12], [18, 4, 30, 20], [20, 8, 31, 22]]
    corners += [[16, 12, 31, 24], [1, 1, 5, 5]]
    refuse(
        read,
        coco([box(5, each) for each in corners]),
        'annotation 2',
        'as x1, y1, x2, y2; write x, y, width, height',
    )
    # one that is none, and a few that reach beyond
    more = [*corners, [9, 9, 5, 5]]
    (record, _) = read(coco([box(5, each) for each in more]))
    assert len(record['boxes']) == 6
    (record, _) = read(coco([box(5, each) for each in corners[:3]]))
    assert len(record['boxes']) == 3


def test_boxes_below_a_pixel_are_pixels_beside_others(read):
    boxes = [[0, 0, 0.5, 0.5], [1, 2, 3, 4]]
    (record, _) = read(coco([box(5, each, ignore=0) for each in boxes]))
    np.testing.assert_array_equal(
        record['boxes'], [[0, 0, 0.5, 0.5], [1, 2, 4, 6]]
    )
    tiny = coco([box(5, [0, 0, 1, 1])], [image(5, 'a.png', 1, 1)])
    (record,) = read(tiny)
    np.testing.assert_array_equal(record['boxes'], [[0, 0, 1, 1]])


def test_img_ids(read):
    content = coco(
        [box(5, [1, 2, 3, 4]), box(2, [2, 2, 3, 4])],
        [image(5, 'a.png'), image(2, 'elsewhere.png')],
    )
    (record,) = read(content, img_ids=['a.png'])
    np.testing.assert_array_equal(record['boxes'], [[1, 2, 4, 6]])
    refuse(read, content, 'elsewhere.png', 'does not exist')
    refuse(read, content, '"z.png"', img_ids=['z.png'])


GOOD = [1, 2, 3, 4]


@pytest.mark.parametrize(
    'wrong',
    [
        [], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5], GOOD * 2, GOOD * 500, 7, '',
        '1234', {}, None, True, [GOOD], [[1], [2], [3], [4]],
        [1, 2, 3, None], [1, 2, 3, '4'], [1, 2, 3, True], [1, 2, 3, []],
        ['1', '2', '3', '4'], [None] * 4, [1, 2, 3, float('nan')],
        [1, 2, float('inf'), 4], [-float('inf'), 2, 3, 4], [1, 2, 10**400, 4],
    ],
)  # fmt: skip
@pytest.mark.parametrize('alone', [True, False])
def test_a_box_is_four_finite_numbers(read, wrong, alone):
    boxes = [box(2, wrong)] if alone else [box(5, GOOD), box(2, wrong)]
    place = f'annotation {len(boxes)} (image 2, "sub/c.png"): box '
    refuse(read, coco(boxes), place, 'four numbers')
    if not alone and wrong != []:
        # nor do wrong boxes become right ones together
        refuse(read, coco([*boxes, box(2, [4])]), place)


@pytest.mark.parametrize('key', ['bbox', 'image_id', 'category_id'])
def test_annotations_need_their_keys(read, key):
    wrong = box(5, GOOD)
    del wrong[key]
    place = 'annotation 2' + (' (image 5)' if key != 'image_id' else '')
    refuse(read, coco([box(5, GOOD), wrong]), f'{place}: has no "{key}"')


@pytest.mark.parametrize('wrong', [None, [], 'x', 1])
def test_annotations_are_objects(read, wrong):
    refuse(read, coco([box(5, GOOD), wrong]), 'annotation 2: is not a json')


def test_numbers_at_the_ends_of_what_is_allowed(read):
    (record, _) = read(coco([box(5, [0, 0, 1e308, 1e308])]))
    np.testing.assert_array_equal(record['boxes'], [[0, 0, 32, 24]])
    # thinner than single precision can tell
    thin = coco([box(5, [30, 2, 1e-7, 4])])
    refuse(read, thin, 'annotation 1', '"a.png"', 'no area')


@pytest.mark.parametrize(
    'side', [0, -1, 2.5, float('nan'), float('inf'), '32', None, True, 2**40]
)
def test_widths_and_heights_are_whole_numbers(read, side):
    images = [image(1, 'a.png', 32.0, 24), image(2, 'b.png', 32, side)]
    refuse(read, coco(images=images), '"b.png"', 'whole numbers')


def test_categories_may_differ_in_blanks_and_forms_of_unicode(read):
    categories = [dict(id=1, name=' Oe\u0301dema'), dict(id=2, name='B')]
    content = coco([box(5, GOOD, 1)], categories=categories)
    (record, _) = read(content, ('B', 'O\xe9dema'))
    assert record['box_labels'].tolist() == [1]


@pytest.mark.parametrize(
    ('entry', 'part'),
    [
        (dict(id=3, name='C'), 'category 3: id 3 is that of "A" as well'),
        (dict(id=[1], name='C'), 'category 3: id [1] is neither a number'),
        (dict(name='C'), 'category 3: has no "id"'),
    ],
)
def test_categories_have_ids_of_their_own(read, entry, part):
    refuse(read, coco(categories=[*CATEGORIES, entry]), part)


def test_packed_and_marked_files(tmp_path, write_images, make_task):
    folder = write_images('a.png', 'sub/c.png')
    text = json.dumps(coco([box(5, GOOD)])).encode()
    for name, data in (
        ('boxes.json.gz', gzip.compress(text)),
        ('boxes.json', codecs.BOM_UTF8 + text),
        ('packed.json', gzip.compress(codecs.BOM_UTF8 + text)),
        ('boxes', text.decode().encode('utf-16')),
    ):
        (tmp_path / name).write_bytes(data)
        task = make_task('loc', ('A', 'B'))
        (record, _) = CocoReader()(str(tmp_path / name), folder, task)
        np.testing.assert_array_equal(record['boxes'], [[1, 2, 4, 6]])


@pytest.mark.parametrize(
    ('content', 'parts'),
    [
        ('', ['empty']),
        ('{"images": [', ['not valid JSON', 'line 1']),
        ('[1]', ['not a COCO file']),
        (dict(images=[], annotations=[]), ['has no "categories"']),
        (coco(images=[]), ['no images']),
        (coco(images=[image(1, 'z.png')]), ['image 1', 'z.png']),
        (
            coco(images=[image(1, 'a.png'), image(1, 'b.png')]),
            ['image 2', 'id 1'],
        ),
        (
            coco(images=[image(1, 'a.png'), image(2, 'a.png')]),
            ['image 2', '"a.png"', 'image 1'],
        ),
        (
            coco(images=[dict(id=1, file_name='a.png')]),
            ['image 1', 'has no "width"', 'id, file_name'],
        ),
        (coco([box(9, [1, 2, 3, 4])]), ['annotation 1', 'image id 9']),
        (
            coco([box(5, [1, 2, 3, 4]), box(5, [1, 2, 3, 4], 8)]),
            ['annotation 2', '"a.png"', 'category id 8'],
        ),
        (coco([box(5, [1, 2, 0, 4])]), ['annotation 1', '"a.png"', 'area']),
        (coco([box(5, [1, 2, 3, -4])]), ['annotation 1', '"a.png"', 'area']),
        (
            coco([box(5, [32, 2, 3, 4])]),
            ['annotation 1', '"a.png"', 'outside', '32x24'],
        ),
        (coco([box(5, [1, 2, 3])]), ['annotation 1', 'four numbers']),
        (coco([box(5, None)]), ['annotation 1', 'four numbers']),
        (
            coco([box(5, [1, 2, 3, float('nan')])]),
            ['annotation 1', 'four numbers'],
        ),
        (coco([box(5, [1, 2, 3, 4], iscrowd=1)]), ['annotation 1', 'crowd']),
        (
            coco([box(5, [1, 2, 3, 4]), box(2, [1, 2, 3, 4], ignore=1)]),
            ['annotation 2', '"sub/c.png"', 'ignored regions (ignore=1)'],
        ),
        (
            coco([box(5, [0.1, 0.1, 0.5, 0.5]), box(2, [0, 0.25, 1, 0.75])]),
            ['annotation 1', '"a.png"', 'shares of the image; write pixels'],
        ),
        (coco([box('5', [1, 2, 3, 4])]), ['"5" (a text, while 5', 'number']),
        (
            coco([box(5, [1, 2, 3, 4], '3')]),
            ['category id "3" (a text, while 3 there is a number)'],
        ),
        (
            coco([box(0, [1, 2, 3, 4])], [image('0', 'a.png')]),
            ['image id 0 (a number, while "0" there is a text)'],
        ),
        (
            coco([box(True, [1, 2, 3, 4])], [image(1, 'a.png')]),
            ['annotation 1', 'image id True (neither'],
        ),
        (coco(images=[image(True, 'a.png')]), ['image 1', 'id True is nei']),
        (
            coco([dict(image_id=5, bbox=[1, 2, 3, 4])]),
            ['annotation 1', 'has no "category_id"'],
        ),
        (coco([7]), ['annotation 1', '7']),
        (dict(coco(), images={}), ['"images" is not a list']),
        (coco(images=[image([1], 'a.png')]), ['image 1', 'id [1] is neither']),
        (
            coco(images=[image(1, 'a.png', width='wide')]),
            ['"a.png"', "['wide', 24]", 'whole numbers'],
        ),
        (coco([box([5], [1, 2, 3, 4])]), ['annotation 1', 'image id [5]']),
        (
            coco([box(5, [1, 2, 3, 4], {})]),
            ['annotation 1', '"a.png"', 'category id {}'],
        ),
        (coco([box(5, 'abcd')]), ['annotation 1', 'four numbers']),
        (coco([box(5, [[1], 2, 3, 4])]), ['annotation 1', 'four numbers']),
        (
            coco([box(5, [1, 2, 3, 4]), box(2, [1, 2, 3])]),
            ['annotation 2', '"sub/c.png"', 'four numbers'],
        ),
        (
            coco(categories=[dict(id=1, name='A')]),
            ['no category "B"', 'toy/loc', 'it has: A'],
        ),
        (
            coco(
                [box(5, [1, 2, 3, 4], 1)],
                categories=[*CATEGORIES, dict(id=1, name='C')],
            ),
            ['annotation 1', '"C" is not a class', 'merge_classes'],
        ),
    ],
)
def test_bad_files_are_named(read, content, parts):
    refuse(read, content, *parts)


corner = st.floats(0, 1000, width=32)
side = st.floats(1.5, 500, width=32)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(corner, corner, side, side, st.sampled_from([3, 7])),
        max_size=4,
    )
)
def test_round_trip(read, boxes):
    content = coco(
        [box(5, row[:4], row[4]) for row in boxes],
        [image(5, 'a.png', 1500, 1500)],
    )
    (record,) = read(content)
    got = record['boxes']
    expected = np.array([row[:4] for row in boxes]).reshape(-1, 4)
    np.testing.assert_allclose(got[:, :2], expected[:, :2], rtol=1e-6)
    np.testing.assert_allclose(
        got[:, 2:] - got[:, :2], expected[:, 2:], rtol=1e-3, atol=1e-3
    )
    assert (got >= 0).all() and (got <= 1500).all()
    names = {3: 0, 7: 1}
    assert record['box_labels'].tolist() == [names[r[4]] for r in boxes]


@pytest.mark.realdata
@pytest.mark.skipif(
    'FX_MM_REAL_DATA' not in os.environ, reason='needs FX_MM_REAL_DATA'
)
def test_real_tbx11k(make_task):
    folder = Path(os.environ['FX_MM_REAL_DATA'], 'tbx11k')
    records = CocoReader(merge_classes=True)(
        str(folder / 'annotations/json/TBX11K_train.json'),
        str(folder / 'imgs'),
        make_task('loc', ('Tuberculosis',)),
    )
    assert [len(r['boxes']) for r in records] == [1, 2, 0]
    np.testing.assert_allclose(
        records[0]['boxes'], [[381.83, 126.87, 422.07, 171.44]], atol=0.01
    )
