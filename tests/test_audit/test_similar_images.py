"""Copies of an image are found whatever was done to them; others are not."""

from itertools import combinations, starmap

import cv2
import numpy as np
import pytest

from fx_mm.analysis.near_copies import CHANGES
from fx_mm.audit.alignment import similarity
from fx_mm.audit.descriptors import Variant, changed, describe, variants
from fx_mm.audit.duplicates import find_pairs
from fx_mm.audit.scan import IMAGE_ROW, Scan, scan_images
from fx_mm.audit.thumbnails import (
    WHOLE,
    Frame,
    content_frame,
    equalised,
    thumbnail,
)


def scan_of(images):
    """Return a scan as if the images had been read."""
    chunk = np.zeros(len(images), IMAGE_ROW)
    for number, image in enumerate(images):
        chunk[number]['thumb'] = thumbnail(image)
        chunk[number]['high'] = image.max()
        chunk[number]['low'] = image.min()
        chunk[number]['digest'] = number.to_bytes(16, 'big')
    places = np.stack([np.zeros(len(images), int), np.arange(len(images))], 1)
    paths = [str(number) for number in range(len(images))]
    return Scan(paths, chunk, [chunk], places)


def crop(image, left, top, right, bottom):
    height, width = image.shape
    return image[
        round(top * height) : height - round(bottom * height),
        round(left * width) : width - round(right * width),
    ]


MORE = dict(
    enlarged=lambda i: cv2.resize(i, (300, 400)),
    bright=lambda i: cv2.add(i, 30),
    cropped_left=lambda i: crop(i, 0.1, 0, 0, 0),
    cropped_corner=lambda i: crop(i, 0, 0, 0.05, 0.05),
    replicated=lambda i: cv2.copyMakeBorder(
        i, 16, 16, 16, 16, cv2.BORDER_REPLICATE
    ),
    white_bars=lambda i: np.pad(i, ((0, 0), (60, 20)), constant_values=255),
    grey_frame=lambda i: np.pad(np.pad(i, 30), 9, constant_values=90),
    rolled=lambda i: np.roll(i, (12, -10), (0, 1)),
    mirrored_top_down=lambda i: i[::-1],
    all_of_it=lambda i: CHANGES['JPEG of quality 20'](
        CHANGES['windowed at 10 and 90 %'](
            255 - CHANGES['letterbox 4:3'](crop(i, 0.04, 0.04, 0.04, 0.04))
        )[:, ::-1]
    ),
)
WORDS = {
    'inverted': 'inverted',
    'mirrored': 'mirrored',
    'upside down': 'upside down',
    'turned left': 'turned by 90 degrees',
    'turned right': 'turned by 90 degrees',
    'mirrored_top_down': 'mirrored, upside down',
    'all_of_it': 'mirrored, inverted',
}


def test_no_images_and_one(phantoms):
    assert find_pairs(scan_of([]), workers=1) == []
    assert find_pairs(scan_of(phantoms[:1]), workers=1) == []


def test_different_images_are_no_copies(phantoms):
    # also where the hashes of a few images say nothing
    for count in (2, 12):
        assert find_pairs(scan_of(phantoms[:count]), workers=1) == []


@pytest.mark.parametrize('name', [*CHANGES, *MORE])
def test_copies_are_found(phantoms, name):
    change = (CHANGES | MORE)[name]
    copies = [np.ascontiguousarray(change(image)) for image in phantoms[:2]]
    pairs = find_pairs(scan_of([*phantoms[:2], *copies]), workers=1)
    assert {(p.first, p.second) for p in pairs} == {
        (str(i), str(2 + i)) for i in range(2)
    }
    assert {pair.change for pair in pairs} == {WORDS.get(name, '')}
    assert not any(pair.exact for pair in pairs)


@pytest.mark.parametrize('grey', [0, 255])
def test_equal_bars_do_not_make_chests_alike(phantoms, grey):
    """Bars on both sides of a thumbnail say nothing."""
    barred = [image.copy() for image in phantoms[:6]]
    for image in barred:
        image[:64] = image[-64:] = grey
    thumbs = [thumbnail(image) for image in barred]
    scores = [s for s, _ in starmap(similarity, combinations(thumbs, 2))]
    assert max(scores) < 0.6
    copies = [thumbnail(CHANGES['JPEG of quality 20'](i)) for i in barred]
    assert min(s for s, _ in map(similarity, thumbs, copies)) > 0.8


def test_a_symmetric_image_counts_as_it_is(make_noise):
    quarter = cv2.resize(make_noise((16, 16)), (64, 64))
    half = np.concatenate([quarter, quarter[:, ::-1]], 1)
    image = np.concatenate([half, half[::-1]])
    (pair,) = find_pairs(scan_of([image, image // 2]), workers=1)
    assert pair.score > 0.95
    assert pair.change == ''


def test_mirrored_and_inverted_by_wish(phantoms):
    images = [*phantoms[:3], phantoms[0][:, ::-1], 255 - phantoms[1]]
    scan = scan_of([np.ascontiguousarray(image) for image in images])
    assert find_pairs(scan, flip=False, invert=False, workers=1) == []
    (pair,) = find_pairs(scan, flip=False, workers=1)
    assert (pair.first, pair.second, pair.change) == ('1', '4', 'inverted')


def test_equal_files_and_their_copies(phantoms, tmp_path):
    small = cv2.resize(phantoms[0], (128, 128), interpolation=cv2.INTER_AREA)
    paths = []
    for number, image in enumerate([*phantoms[:5], phantoms[0], small]):
        paths.append(str(tmp_path / f'{number}.png'))
        cv2.imwrite(paths[-1], image)
    pairs = find_pairs(scan_images(paths, tmp_path / 'out', 1), workers=1)
    found = {(p.first, p.second): p.exact for p in pairs}
    assert found == {
        (paths[0], paths[5]): True,
        (paths[0], paths[6]): False,
        (paths[5], paths[6]): False,
    }


def test_sixteen_bits(phantoms, tmp_path):
    deep = phantoms[0].astype(np.uint16) * 13 + 200
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    cv2.imwrite(str(tmp_path / 'plain.png'), phantoms[0])
    paths = [str(tmp_path / f'{name}.png') for name in ('deep', 'plain')]
    (pair,) = find_pairs(scan_images(paths, tmp_path / 'out', 1), workers=1)
    assert pair.score > 0.99


def test_flat_images_are_no_copies():
    images = [np.full((64, 64), value, np.uint8) for value in (0, 0, 9, 255)]
    assert find_pairs(scan_of(images), workers=1) == []


def test_pairs_do_not_depend_on_processes(phantoms):
    copies = [CHANGES['JPEG of quality 20'](image) for image in phantoms[:3]]
    scan = scan_of([*phantoms[:3], *copies])
    assert find_pairs(scan, workers=2) == find_pairs(scan, workers=1)


def test_variants_permute_descriptors_as_pixels(phantoms):
    small = cv2.resize(phantoms[0], (64, 64), interpolation=cv2.INTER_AREA)
    assert variants()[0] == Variant()
    assert len(set(variants())) == 8
    assert [v for v in variants(flip=False) if v.mirror] == []
    for variant in variants():
        expected = describe(variant.apply(small)[None])
        got = changed(describe(small[None]), variant)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(
        describe(255 - small[None]), describe(small[None]), atol=1e-5
    )


def test_frames_of_plain_images():
    for value in (0, 255):
        flat = np.full((128, 128), value, np.uint8)
        assert not content_frame(flat).enough
    flat[60:66, 60:66] = 7
    assert not content_frame(flat).enough


def test_frames_cut_borders_within_borders(phantoms):
    thumb = np.full((128, 128), 200, np.uint8)
    thumb[4:124, 10:120] = 0
    thumb[20:100, 30:110] = 10 + thumbnail(phantoms[0])[24:104, 24:104] // 2
    # a letter on the bar is still a bar
    thumb[8:14, 60:66] = 255
    assert content_frame(thumb) == Frame(20, 100, 30, 110)
    assert WHOLE.cut(thumb) is thumb or (WHOLE.cut(thumb) == thumb).all()
    assert Frame(20, 100, 30, 110).cut(thumb).shape == (128, 128)
    assert Frame(20, 100, 30, 110).cut(thumb, 64).shape == (64, 64)


def test_equalised_ignores_what_windowing_does():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    darker = (image.astype(int) ** 2 // 16).astype(np.uint8)
    assert np.abs(equalised(image) - equalised(darker)).max() < 0.5
    assert (equalised(np.full((8, 8), 7, np.uint8)) == 0).all()


def test_similarity_of_what_cannot_be_aligned(phantoms):
    flat = np.zeros((128, 128), np.uint8)
    assert similarity(flat, thumbnail(phantoms[0]))[0] == pytest.approx(0)
    assert similarity(flat, flat)[0] == 0


def test_inverted_by_wish(phantoms):
    thumb = thumbnail(phantoms[0])
    assert similarity(thumb, 255 - thumb) == (pytest.approx(1.0), True)
    assert similarity(thumb, 255 - thumb, invert=False)[0] == 0
