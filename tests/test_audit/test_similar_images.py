"""Copies of an image are found whatever was done to them; others are not."""

from itertools import combinations, starmap

import cv2
import numpy as np
import pytest

from fx_mm.audit.alignment import similarity
from fx_mm.audit.duplicates import find_pairs
from fx_mm.audit.hashing import (
    Variant,
    changed,
    coefficients,
    equalised,
    variants,
)
from fx_mm.audit.scan import IMAGE_ROW, Scan, scan_images, thumbnail


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


def jpeg(image, quality):
    ok, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def crop(image, left, top, right, bottom):
    height, width = image.shape
    return image[
        round(top * height) : height - round(bottom * height),
        round(left * width) : width - round(right * width),
    ]


def window(image, low, high):
    low, high = np.percentile(image, [low, high])
    scaled = (image.astype(float) - low) * 255 / (high - low)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def gamma(image, power):
    return (255 * (image / 255) ** power).astype(np.uint8)


CHANGES = dict(
    reduced=lambda i: cv2.resize(i, (128, 128), interpolation=cv2.INTER_AREA),
    enlarged=lambda i: cv2.resize(i, (300, 400)),
    jpeg=lambda i: jpeg(i, 20),
    bright=lambda i: cv2.add(i, 30),
    dark=lambda i: gamma(i, 1.6),
    windowed=lambda i: window(i, 10, 90),
    contrast=lambda i: cv2.createCLAHE(2.0, (8, 8)).apply(i),
    cropped=lambda i: crop(i, 0.03, 0.03, 0.03, 0.03),
    cropped_left=lambda i: crop(i, 0.05, 0, 0, 0),
    cropped_corner=lambda i: crop(i, 0, 0, 0.03, 0.03),
    padded=lambda i: cv2.copyMakeBorder(i, 8, 8, 8, 8, cv2.BORDER_REPLICATE),
    mirrored=lambda i: np.ascontiguousarray(i[:, ::-1]),
    inverted=lambda i: 255 - i,
    all_of_it=lambda i: jpeg(
        window(crop(i, 0.04, 0.04, 0.04, 0.04), 5, 95)[:, ::-1], 50
    ),
)


def test_no_images_and_one(phantoms):
    assert find_pairs(scan_of([]), workers=1) == []
    assert find_pairs(scan_of(phantoms[:1]), workers=1) == []


def test_different_images_are_no_copies(phantoms):
    # also where the hashes of a few images say nothing
    for count in (2, 5, 30):
        assert find_pairs(scan_of(phantoms[:count]), workers=1) == []


@pytest.mark.parametrize('change', CHANGES)
def test_copies_are_found(phantoms, change):
    copies = [CHANGES[change](image) for image in phantoms[:6]]
    pairs = find_pairs(scan_of([*phantoms, *copies]), workers=1)
    assert {(p.first, p.second) for p in pairs} == {
        (str(i), str(30 + i)) for i in range(6)
    }
    words = dict(
        mirrored='mirrored', inverted='inverted', all_of_it='mirrored'
    )
    assert {pair.change for pair in pairs} == {words.get(change, '')}
    assert not any(pair.exact for pair in pairs)


@pytest.mark.parametrize('grey', [0, 255])
def test_equal_bars_do_not_make_chests_alike(phantoms, grey):
    """Without the bars of a quarter each left out, scores reach 0.94."""
    barred = [image.copy() for image in phantoms[:12]]
    for image in barred:
        image[:64] = image[-64:] = grey
    thumbs = [thumbnail(image) for image in barred]
    assert max(starmap(similarity, combinations(thumbs, 2))) < 0.8
    copies = [thumbnail(CHANGES['jpeg'](image)) for image in barred]
    assert min(map(similarity, thumbs, copies)) > 0.95


def test_mirrored_and_inverted_by_wish(phantoms):
    images = [*phantoms, phantoms[0][:, ::-1], 255 - phantoms[1]]
    scan = scan_of([np.ascontiguousarray(image) for image in images])
    assert find_pairs(scan, flip=False, invert=False, workers=1) == []
    (pair,) = find_pairs(scan, flip=False, workers=1)
    assert (pair.first, pair.second, pair.change) == ('1', '31', 'inverted')


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


def test_hashes_do_not_depend_on_processes(phantoms):
    copies = [CHANGES['jpeg'](image) for image in phantoms[:6]]
    scan = scan_of([*phantoms, *copies])
    assert find_pairs(scan, workers=2) == find_pairs(scan, workers=1)


def test_variants_change_coefficients_as_pixels(phantoms):
    thumb = thumbnail(phantoms[0])
    assert variants()[0] == Variant()
    for variant in variants():
        pixels = thumb
        left, top, right, bottom = variant.crop
        if variant.flip:
            pixels, left, right = pixels[:, ::-1], right, left
        if variant.invert:
            pixels = 255 - pixels
        expected = coefficients(pixels[None], (left, top, right, bottom))
        got = changed(coefficients(thumb[None], variant.crop), variant)
        # rounding to grey values is not symmetric about the middle
        np.testing.assert_allclose(got, expected, atol=3.0)


def test_equalised_ignores_what_windowing_does():
    image = np.arange(64).reshape(1, 8, 8)
    np.testing.assert_allclose(
        equalised(image), equalised(image**2 / 16), atol=0.1
    )
    assert (equalised(np.full((1, 8, 8), 7)) == 0).all()


def test_similarity_of_what_cannot_be_aligned(phantoms):
    flat = np.zeros((64, 64), np.uint8)
    assert similarity(flat, thumbnail(phantoms[0])) == pytest.approx(0)
    assert similarity(flat, flat) == 0
