"""Mask files of all kinds, drawn here and read as they are meant."""

import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFilter, ImageOps

from fx_mm.image_io import decisions as decisions_module
from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.mask_code import BIT_CODE, MaskCode
from fx_mm.image_io.masks import read_mask
from fx_mm.utils.errors import UserError

H, W = 40, 30
NAMES = ('Lung', 'Heart', 'Clavicle')
INSIDE = np.zeros((H, W), bool)
INSIDE[10:30, 8:22] = True
HELD = np.zeros((H, W), bool)
HELD[2, :] = True
THREE = np.zeros((H, W), np.uint8)
THREE[5:15, 2:20], THREE[15:25, 2:20], THREE[25:35, 2:28] = 1, 2, 3
COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))


def shades(outside, inside, ignored=None, dtype=np.uint8):
    values = np.where(INSIDE, inside, outside)
    return np.where(HELD & (ignored is not None), ignored or 0, values).astype(
        dtype
    )


def palette(values, colors):
    image = Image.fromarray(values.astype(np.uint8), 'P')
    image.putpalette([part for color in colors for part in color])
    return image


def shallow_png(values, depth):
    """Write a grey PNG of 1, 2 or 4 bits, as no imaging library does."""
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1) & 1).reshape(
        len(values), -1
    )
    rows = np.packbits(bits.astype(np.uint8), axis=1)
    data = b''.join(b'\0' + row.tobytes() for row in rows)
    head = struct.pack(
        '>IIBBBBB', values.shape[1], len(values), depth, *[0] * 4
    )

    def chunk(name, body):
        crc = struct.pack('>I', zlib.crc32(name + body))
        return struct.pack('>I', len(body)) + name + body + crc

    return b'\x89PNG\r\n\x1a\n' + b''.join(
        chunk(*part)
        for part in (
            (b'IHDR', head),
            (b'IDAT', zlib.compress(data)),
            (b'IEND', b''),
        )
    )


def rgba(grey, alpha):
    return np.dstack([grey, grey, grey, alpha]).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    """Write an array, a Pillow image or bytes; return the path."""

    def write(content, suffix='.png', **kwargs):
        path = tmp_path / f'mask{suffix}'
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, Image.Image):
            content.save(path, **kwargs)
        else:
            assert cv2.imwrite(str(path), content)
        return str(path)

    return write


def refuse(path, *parts, classes=NAMES[:1], mask_format=None):
    with pytest.raises(UserError) as info:
        read_mask(path, classes, mask_format)
    for part in (path, *parts):
        assert part in str(info.value), str(info.value)


BINARY = {
    '0 and 255': (shades(0, 255), '.png', 'binary'),
    '0 and 1': (shades(0, 1), '.png', 'binary'),
    '16 bits': (shades(0, 65535, dtype=np.uint16), '.png', 'binary'),
    '12 of 16 bits': (shades(0, 4095, dtype=np.uint16), '.png', 'binary'),
    '8 of 16 bits': (shades(0, 255, dtype=np.uint16), '.png', 'binary'),
    '1 of 16 bits': (shades(0, 1, dtype=np.uint16), '.tif', 'binary'),
    'BMP': (shades(0, 255), '.bmp', 'binary'),
    'GIF': (Image.fromarray(shades(0, 255)), '.gif', 'palette'),
    'RGB': (np.dstack([shades(0, 255)] * 3), '.png', 'binary'),
    'one colour': (
        np.dstack([shades(0, 200), shades(0, 9), shades(0, 0)]),
        '.png',
        'binary',
    ),
    'opaque RGBA': (rgba(shades(0, 255), shades(255, 255)), '.png', 'binary'),
    'RGBA, both': (rgba(shades(0, 255), shades(0, 255)), '.png', 'binary'),
    'RGBA in a TIFF': (
        Image.fromarray(rgba(shades(9, 9), shades(0, 255))),
        '.tif',
        'alpha',
    ),
    'alpha of black': (rgba(shades(0, 0), shades(0, 255)), '.png', 'alpha'),
    'alpha of white': (
        rgba(shades(255, 255), shades(0, 255)),
        '.png',
        'alpha',
    ),
    'grey and alpha': (
        Image.merge(
            'LA', [*map(Image.fromarray, (shades(7, 7), shades(0, 255)))]
        ),
        '.png',
        'alpha',
    ),
    'palette': (palette(shades(0, 1), COLORS), '.png', 'palette'),
    'palette, white outside': (
        palette(shades(0, 1), [(255,) * 3, (255, 0, 0)]),
        '.png',
        'palette',
    ),
    'palette of greys': (
        palette(shades(3, 5), [(0, 0, 0)] * 5 + [(255,) * 3]),
        '.png',
        'binary',
    ),
    'palette in a TIFF': (palette(shades(0, 1), COLORS), '.tif', 'palette'),
    'palette in a GIF': (palette(shades(0, 1), COLORS), '.gif', 'palette'),
    'bilevel': (Image.fromarray(INSIDE), '.png', 'binary'),
    'bilevel TIFF': (Image.fromarray(INSIDE), '.tif', 'binary'),
    '2 bits, 0 and 1': (shallow_png(shades(0, 1), 2), '.png', 'binary'),
    '2 bits, 0 and 3': (shallow_png(shades(0, 3), 2), '.png', 'binary'),
    '4 bits, 0 and 15': (shallow_png(shades(0, 15), 4), '.png', 'binary'),
    'floats': (
        Image.fromarray(shades(0, 1, dtype=np.float32)),
        '.tif',
        'binary',
    ),
}


@pytest.mark.parametrize('kind', BINARY)
@pytest.mark.parametrize('named', [False, True])
def test_one_class(save, kind, named):
    content, suffix, form = BINARY[kind]
    mask, found = read_mask(
        save(content, suffix), ['Lung'], form if named else None, True
    )
    assert mask.dtype == bool and mask.shape == (1, H, W)
    np.testing.assert_array_equal(mask[0], INSIDE)
    assert found['mask_format'] == form
    assert found['ignore'].shape == (H, W) and not found['ignore'].any()
    assert found['warnings'] == []


@pytest.mark.parametrize('full', [0, 1, 255])
def test_empty_and_full(save, full):
    for content in (
        np.full((H, W), full, np.uint8),
        rgba(np.full((H, W), full), np.full((H, W), 255)),
        rgba(np.full((H, W), 255), np.full((H, W), full)),
    ):
        if content.ndim == 3 and full == 1:
            continue
        assert (read_mask(save(content), ['Lung']) == bool(full)).all()


def test_nothing_is_seen_where_all_is_transparent(save):
    white = rgba(np.full((H, W), 255), np.zeros((H, W)))
    assert not read_mask(save(white), ['Lung']).any()


@pytest.mark.parametrize('blur', [1.0, 2.0])
@pytest.mark.parametrize('suffix', ['.png', '.gif', '.tif', '.jpg'])
def test_soft_edges_are_cut_at_one_half(save, blur, suffix):
    soft = Image.fromarray(shades(0, 255)).filter(
        ImageFilter.GaussianBlur(blur)
    )
    mask = read_mask(save(soft, suffix), ['Lung'])[0]
    # as of a straight edge; corners become round
    assert (mask != INSIDE).sum() <= 12
    assert mask.sum() == (np.asarray(soft) > 127).sum() or suffix == '.jpg'


def test_soft_edges_of_other_depths(save):
    blurred = cv2.GaussianBlur(shades(0, 1, dtype=np.float64), (0, 0), 1.0)
    for content, suffix in (
        ((blurred * 65535).astype(np.uint16), '.png'),
        (Image.fromarray(blurred.astype(np.float32)), '.tif'),
        (rgba(shades(9, 9), blurred * 255), '.png'),
        (shallow_png((blurred * 15.5).astype(np.uint8), 4), '.png'),
    ):
        mask = read_mask(save(content, suffix), ['Lung'])[0]
        assert (mask != INSIDE).sum() <= 4


@pytest.mark.parametrize('resample', ['BILINEAR', 'BICUBIC', 'LANCZOS'])
@pytest.mark.parametrize('size', [(90, 120), (23, 31)])
def test_resized_masks(save, resample, size):
    image = Image.fromarray(shades(0, 255))
    image = image.resize(size, Image.Resampling[resample])
    mask = read_mask(save(image), ['Lung'])[0]
    expected = INSIDE.mean() * mask.size
    assert abs(mask.sum() - expected) < 0.05 * expected


@pytest.mark.parametrize('quality', [30, 50, 75, 90, 100])
@pytest.mark.parametrize('resaved', [False, True])
def test_halo_of_a_jpeg(save, quality, resaved):
    path = save(Image.fromarray(shades(0, 255)), '.jpg', quality=quality)
    if resaved:
        path = save(Image.open(path))
    mask = read_mask(path, ['Lung'])[0]
    assert (mask != INSIDE).sum() <= 12


@pytest.mark.parametrize('quality', [50, 70, 75, 95, 100])
@pytest.mark.parametrize('mask_format', [None, 'binary'])
def test_jpeg_of_0_and_1_is_refused(save, quality, mask_format):
    path = save(Image.fromarray(shades(0, 1)), '.jpg', quality=quality)
    values = np.unique(np.asarray(Image.open(path))).tolist()
    if len(values) > 1 or mask_format is None and values != [0]:
        refuse(path, 'JPEG', '0 and 1', 'PNG', mask_format=mask_format)
    else:  # the JPEG of a black picture is the same
        assert not read_mask(path, ['Lung'], mask_format).any()


def test_black_jpeg(save):
    black = Image.new('L', (W, H))
    assert not read_mask(save(black, '.jpg', quality=75), ['Lung']).any()
    path = save(black, '.jpg', quality=70)
    assert np.unique(np.asarray(Image.open(path))).tolist() == [1]
    refuse(path, 'values 1 to 1', 'PNG')
    mask, found = read_mask(path, ['Lung'], 'binary', True)
    assert not mask.any() and len(found['warnings']) == 1


def test_ignored_pixels_of_one_class(save):
    for content, form in (
        (shades(0, 1, 255), 'binary'),
        (palette(shades(0, 1, 255), COLORS * 64), 'palette'),
        (rgba(shades(7, 7), shades(0, 1, 255)), 'alpha'),
    ):
        path = save(content)
        mask, found = read_mask(path, ['Lung'], None, True)
        np.testing.assert_array_equal(found['ignore'], HELD)
        np.testing.assert_array_equal(mask[0], INSIDE)
        assert found['values'] == [0, 1, 255] and found['mask_format'] == form
        assert '0, 1 and 255' in found['warnings'][0]
        same, named = read_mask(path, ['Lung'], form, True)
        np.testing.assert_array_equal(same, mask)
        np.testing.assert_array_equal(named['ignore'], HELD)


def test_label_map_of_one_class_ignores_255_without_the_class(save):
    path = save(np.where(HELD, 255, 0).astype(np.uint8))
    mask, found = read_mask(path, ['Lung'], 'label_map', True)
    assert not mask.any() and not found['warnings']
    np.testing.assert_array_equal(found['ignore'], HELD)
    # alone, it is a mask like any other
    np.testing.assert_array_equal(read_mask(path, ['Lung'])[0], HELD)


LABEL_MAPS = {
    '8 bits': (THREE, '.png', 'label_map'),
    '16 bits': (THREE.astype(np.uint16), '.png', 'label_map'),
    'TIFF': (THREE.astype(np.uint16), '.tif', 'label_map'),
    'BMP': (THREE, '.bmp', 'label_map'),
    'RGB': (np.dstack([THREE] * 3), '.png', 'label_map'),
    'RGBA': (rgba(THREE, (THREE > 0) * 255), '.png', 'label_map'),
    '2 bits': (shallow_png(THREE, 2), '.png', 'label_map'),
    '4 bits': (shallow_png(THREE, 4), '.png', 'label_map'),
    'palette': (palette(THREE, COLORS), '.png', 'palette'),
    'palette, white outside': (
        palette(THREE, [(255,) * 3, *COLORS[1:]]),
        '.png',
        'palette',
    ),
    'palette with transparent background': (
        palette(THREE, COLORS),
        '.png',
        'palette',
    ),
    'palette in a TIFF': (palette(THREE, COLORS), '.tif', 'palette'),
    'floats': (
        Image.fromarray(THREE.astype(np.float32)),
        '.tif',
        'label_map',
    ),
}


@pytest.mark.parametrize('kind', LABEL_MAPS)
@pytest.mark.parametrize('mask_format', [None, 'label_map', 'own'])
def test_label_map(save, kind, mask_format):
    content, suffix, form = LABEL_MAPS[kind]
    more = dict(transparency=0) if 'transparent' in kind else {}
    path = save(content, suffix, **more)
    masks, found = read_mask(
        path, NAMES, form if mask_format == 'own' else mask_format, True
    )
    for value, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, value == THREE)
    assert found['mask_format'] == form
    assert found['values'] == [0, 1, 2, 3]
    assert not found['ignore'].any() and found['warnings'] == []


@pytest.mark.parametrize('kind', ['grey', 'palette'])
def test_label_map_with_ignored_pixels(save, kind):
    values = np.where(HELD, 255, THREE).astype(np.uint8)
    content = palette(values, COLORS * 64) if kind == 'palette' else values
    for mask_format in (None, 'label_map'):
        masks, found = read_mask(save(content), NAMES, mask_format, True)
        np.testing.assert_array_equal(found['ignore'], HELD)
        assert masks.sum((1, 2)).tolist() == [180, 180, 260]


def test_alpha_holds_no_classes(save):
    for shade in (0, 7, 255):
        path = save(rgba(shades(shade, shade), shades(0, 255)))
        refuse(path, 'in its alpha channel', classes=NAMES)
        refuse(path, 'in its alpha', classes=NAMES, mask_format='label_map')


def test_255_without_any_class_is_not_guessed(save):
    path = save(np.where(HELD, 255, 0).astype(np.uint8))
    refuse(path, '0, 255', "'label_map' fits if 255", classes=NAMES)
    masks, found = read_mask(path, NAMES, 'label_map', True)
    assert not masks.any() and found['ignore'].sum() == HELD.sum()


def test_background_is_no_class_of_its_own(save):
    masks = read_mask(save(THREE), ('Background', *NAMES))
    for value, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, value == THREE)


def test_values_background_and_ignored_of_a_label_map(save):
    values = np.array([[0, 3, 4], [5, 7, 9]], np.uint8)
    form = dict(
        type='label_map',
        values=dict(Lung=[3, 4], Heart=5),
        background=[0, 9],
        ignore_index=7,
    )
    masks, found = read_mask(save(values), ('Heart', 'Lung'), form, True)
    assert masks.astype(int).tolist() == [
        [[0, 0, 0], [1, 0, 0]],
        [[0, 1, 1], [0, 0, 0]],
    ]
    assert found['ignore'].astype(int).tolist() == [[0, 0, 0], [0, 1, 0]]
    refuse(save(values + 1), '1, 4, 5', classes=NAMES[:2], mask_format=form)


def test_ignore_index_of_nnunet_and_mmseg(save):
    path = save(THREE)
    form = dict(type='label_map', ignore_index=3)  # nnU-Net's ignore label
    masks, found = read_mask(path, NAMES[:2], form, True)
    np.testing.assert_array_equal(found['ignore'], THREE == 3)
    form = dict(type='label_map', ignore_index=[0, 255])  # reduce_zero_label
    masks, found = read_mask(path, NAMES, form, True)
    np.testing.assert_array_equal(found['ignore'], THREE == 0)
    np.testing.assert_array_equal(masks[0], THREE == 1)


def test_ignore_index_of_a_binary_mask(save):
    path = save(shades(0, 255, 128))
    refuse(path, '0, 128, 255')
    form = dict(type='binary', ignore_index=128)
    mask, found = read_mask(path, ['Lung'], form, True)
    np.testing.assert_array_equal(mask[0], INSIDE)
    np.testing.assert_array_equal(found['ignore'], HELD)
    form = dict(type='binary', ignore_index=255)
    _, found = read_mask(save(shades(0, 0, 255)), ['Lung'], form, True)
    np.testing.assert_array_equal(found['ignore'], HELD)


def test_inverted(save):
    form = dict(type='binary', invert=True)
    path = save(shades(255, 0))
    refuse(path, 'inside along the whole border', 'invert=True')
    np.testing.assert_array_equal(read_mask(path, ['Lung'], form)[0], INSIDE)
    mask = read_mask(path, ['Lung'], 'binary')[0]
    np.testing.assert_array_equal(mask, ~INSIDE)
    path = save(rgba(shades(7, 7), shades(255, 0)))
    refuse(path, "dict(type='alpha', invert=True)")
    form['type'] = 'alpha'
    np.testing.assert_array_equal(read_mask(path, ['Lung'], form)[0], INSIDE)
    form['type'] = 'binary'
    mask, found = read_mask(save(shades(1, 0, 255)), ['Lung'], form, True)
    np.testing.assert_array_equal(mask[0], INSIDE & ~HELD)
    np.testing.assert_array_equal(found['ignore'], HELD)


@pytest.mark.parametrize('kind', ['touching', 'one black corner'])
def test_what_may_be_inverted_is_noted(save, kind):
    mask = np.ones((H, W), bool)
    mask[12:28, 10:20] = False
    if kind == 'touching':
        mask[12:28, :10] = False
    else:
        mask[0, 0] = False
    path = save(mask.astype(np.uint8) * 255)
    found, noted = read_mask(path, ['Lung'], decisions=True)
    np.testing.assert_array_equal(found[0], mask)
    assert "dict(type='binary', invert=True)" in noted['warnings'][0]
    for form in ('binary', dict(type='binary', invert=True)):
        assert not read_mask(path, ['Lung'], form, True)[1]['warnings']
    # a lung that touches the border is none
    found, noted = read_mask(
        save((~mask).astype(np.uint8) * 255), ['Lung'], decisions=True
    )
    np.testing.assert_array_equal(found[0], ~mask)
    assert not noted['warnings']


def test_alpha_of_an_opaque_file(save):
    grey = Image.fromarray(shades(0, 255))
    path = save(Image.merge('LA', [grey, Image.new('L', (W, H), 255)]))
    refuse(path, 'opaque', "'binary' may fit", mask_format='alpha')
    np.testing.assert_array_equal(
        read_mask(path, ['Lung'], 'binary')[0], INSIDE
    )
    form = dict(type='alpha', invert=True)
    mask, found = read_mask(path, ['Lung'], form, True)
    assert not mask.any() and 'opaque' in found['warnings'][0]


@pytest.mark.parametrize('mask_format', [None, 'label_map'])
def test_a_map_that_is_mostly_ignored_is_noted(save, mask_format):
    counted_from_0 = np.where(THREE, THREE - 1, 255).astype(np.uint8)
    counted_from_0 = np.pad(counted_from_0, 5, constant_values=255)
    path = save(counted_from_0)
    found = read_mask(path, NAMES, mask_format, True)[1]
    assert 'background=255' in found['warnings'][0]
    form = dict(
        type='label_map',
        values=dict(zip(NAMES, range(3))),
        background=255,
    )
    masks, found = read_mask(path, NAMES, form, True)
    assert masks.sum((1, 2)).tolist() == [180, 180, 260]
    assert not found['warnings'] and not found['ignore'].any()
    form = dict(type='label_map', ignore_index=255)
    assert not read_mask(path, NAMES, form, True)[1]['warnings']


def test_bits(save):
    path = save(np.array([[0, 1, 2], [4, 3, 6]], np.uint8))
    masks = read_mask(path, NAMES, 'bits')
    assert masks.astype(int).tolist() == [
        [[0, 1, 0], [0, 1, 0]],
        [[0, 0, 1], [0, 1, 1]],
        [[0, 0, 0], [1, 0, 1]],
    ]
    refuse(
        path,
        '0, 1, 2, 3, 4, 6',
        'mask_format=',
        classes=NAMES[:2],
        mask_format='bits',
    )
    refuse(path, "mask_format='bits' fits", classes=NAMES)
    form = dict(type='bits', ignore_index=3)
    kept, found = read_mask(path, NAMES, form, True)
    assert found['ignore'].astype(int).tolist() == [[0, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(kept, masks & ~found['ignore'])
    np.testing.assert_array_equal(
        read_mask(f'{path}#1', ['Heart'])[0], masks[1]
    )


def classes(*frame):
    """Three classes within frames of one pixel each."""
    image = np.kron(THREE, np.ones((4, 4), np.uint8))
    for value in frame:
        image = np.pad(image, 1, constant_values=value)
    return np.pad(image, 2)


MISFITS = {
    'several classes': (THREE, '.png', '0, 1, 2, 3'),
    'one of several classes': (shades(0, 2), '.png', '0, 2'),
    'scaled classes': (THREE * 80, '.png', '0, 80, 160, 240'),
    'a trimap': (shades(0, 255, 128), '.png', '0, 128, 255'),
    'classes and 255': (
        THREE + (HELD * 255).astype('u1'),
        '.png',
        '2, 3, 255',
    ),
    'indices': (palette(shades(0, 4), COLORS * 2), '.png', '0, 4'),
    'only 255 of a palette': (
        palette(shades(0, 255), COLORS * 64),
        '.png',
        '0, 255',
    ),
    'colours': (
        np.dstack([shades(0, 255), shades(9, 0), shades(0, 0)]),
        '.png',
        '(0, 0, 255)',
    ),
    'alpha and colours that differ': (
        rgba(shades(0, 255), np.where(HELD, 255, 0)),
        '.png',
        "mask_format='alpha'",
    ),
    'inverted alpha': (
        rgba(shades(255, 0), shades(0, 255)),
        '.png',
        'alpha',
    ),
    'negative': (
        Image.fromarray(shades(0, -1, dtype=np.int32)),
        '.tif',
        '-1, 0',
    ),
    'classes within a thin 200': (classes(200), '.png', '1, 2, 3, 200'),
    'classes within a thin 254 and 255': (classes(254, 255), '.png', '3, 254'),
    'classes within a thin 255 of a JPEG': (classes(255), '.jpg', 'a JPEG'),
    'dark': (cv2.GaussianBlur(shades(0, 90), (5, 5), 1), '.png', 'values 0'),
}


@pytest.mark.parametrize('kind', MISFITS)
def test_misfits_of_one_class_are_refused(save, kind):
    content, suffix, part = MISFITS[kind]
    refuse(save(content, suffix), part, '"Lung"' if part[0].isdigit() else '')


def test_the_hint_of_a_misfit_fits(save):
    path = save(shades(0, 2))
    refuse(path, "label_map', values={'Lung': 2})")
    np.testing.assert_array_equal(
        read_mask(path, ['Lung'], dict(type='label_map', values=dict(Lung=2))),
        INSIDE[None],
    )
    path = save(THREE * 80)
    refuse(
        path,
        "values={'Lung': 80, 'Heart': 160, 'Clavicle': 240}) fits if",
        classes=NAMES,
    )


def advised(path, classes):
    """Return the format that the refusal advises."""
    with pytest.raises(UserError) as info:
        read_mask(path, classes)
    text = str(info.value).split('mask_format=')[-1]
    # the lazy end is that of dict(
    return eval(re.match(r'dict\(.*?\)', text)[0])


@pytest.mark.parametrize('count', [1, 2, 3])
@pytest.mark.parametrize('held', [4, 15, 200, 65535])
def test_advice_keeps_the_usual_values(save, count, held):
    values = THREE.astype(np.uint16)
    values[36:] = held
    form = advised(save(values), NAMES[:count])
    masks, found = read_mask(save(values), NAMES[:count], form, True)
    for value, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, value == THREE)
    np.testing.assert_array_equal(found['ignore'], values == held)
    refuse(save(values), f'if nobody annotated {held}', classes=NAMES[:count])


def test_advice_on_grey_between_black_and_white(save):
    for content in (
        shades(0, 255, 128),
        shades(0, 65535, 30000, np.uint16),
        shallow_png(shades(0, 15, 8), 4),
        rgba(shades(7, 7), shades(0, 255, 128)),
    ):
        path = save(content)
        form = advised(path, ['Lung'])
        mask, found = read_mask(path, ['Lung'], form, True)
        np.testing.assert_array_equal(mask[0], INSIDE)
        np.testing.assert_array_equal(found['ignore'], HELD)


@pytest.mark.parametrize(
    ('values', 'classes'),
    [
        (THREE + 1, NAMES),  # 1 may be outside
        (THREE * 80, NAMES[:2]),
        (np.where(THREE == 1, 0, THREE), NAMES[:2]),
        (THREE * (THREE != 1) * 80, NAMES),
        (shades(254, 255), NAMES[:1]),
    ],
)
def test_advice_invents_no_classes(save, values, classes):
    path = save(values.astype(np.uint8))
    form = advised(path, classes)
    assert set(form['values'].values()) == {...}
    with pytest.raises(UserError, match='write a whole number'):
        read_mask(path, classes, form)
    refuse(path, 'values belong to which class', classes=classes)


def test_advice_on_a_format_that_lacks_values(save):
    form = dict(type='label_map', values=dict(Lung=1, Heart=3))
    refuse(
        save(THREE + (HELD * 9).astype(np.uint8)),
        'add 2, 9 to its values, background or ignore_index',
        classes=NAMES[:2],
        mask_format=form,
    )


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_a_picture_is_no_mask(save, suffix):
    ys, xs = np.mgrid[:H, :W]
    picture = (127 + 60 * np.sin(ys / 5) + 60 * np.cos(xs / 7)).astype('u1')
    path = save(Image.fromarray(picture), suffix)
    refuse(path, 'values')
    refuse(path, 'PNG' if suffix == '.jpg' else 'picture', classes=NAMES)


def test_jpeg_holds_no_classes(save):
    path = save(Image.fromarray(THREE * 80), '.jpg', quality=95)
    refuse(path, 'JPEG', 'PNG', classes=NAMES)
    refuse(path, 'JPEG', classes=NAMES, mask_format='bits')
    refuse(path, 'JPEG')
    with pytest.raises(UserError, match='JPEG'):
        BIT_CODE.read(path)


@pytest.mark.parametrize(
    ('suffix', 'how'),
    [
        ('.webp', dict(quality=80)),
        ('.tif', dict(compression='jpeg', quality=95)),
    ],
)
def test_what_is_compressed_like_a_jpeg_holds_no_classes(save, suffix, how):
    path = save(Image.fromarray(THREE), suffix, **how)
    refuse(path, 'JPEG', 'PNG', classes=NAMES)
    mask = read_mask(save(Image.fromarray(shades(0, 255)), suffix, **how), 'A')
    assert (mask[0] != INSIDE).sum() <= 12


@pytest.mark.parametrize('quality', [30, 50, 80, 95])
def test_lossy_webp_in_grey(save, quality):
    values = cv2.resize(shades(0, 255), (160, 120))
    path = save(Image.fromarray(values), '.webp', quality=quality)
    mask = read_mask(path, ['Lung'])[0]
    assert (mask != (values > 127)).sum() < 0.01 * mask.size
    red = np.dstack([values, 0 * values, 0 * values])
    path = save(Image.fromarray(red), '.webp', quality=quality)
    refuse(path, 'a WEBP in colours', 'PNG')


def test_lossless_webp(save):
    path = save(Image.fromarray(THREE), '.webp', lossless=True)
    assert read_mask(path, NAMES).sum((1, 2)).tolist() == [180, 180, 260]


@pytest.mark.parametrize(
    ('mask_format', 'classes', 'part'),
    [
        ('alpha', ['Lung'], 'no alpha channel'),
        ('palette', NAMES, 'no palette image'),
        ('binary', NAMES, 'one class per file'),
        ('alpha', NAMES, 'one class per file'),
        ('masks', NAMES, 'binary, bits, label_map'),
        (7, NAMES, 'mask_format is 7'),
        (dict(type='binary', values=1), ['Lung'], 'values'),
        (dict(type='label_map', value=1), NAMES, '"values"'),
        (dict(type='label_map', values=dict(Lung=1)), NAMES, 'Heart'),
        (dict(type='label_map', values=dict(Lung='1')), ['Lung'], "'1'"),
        (dict(type='label_map', ignore_index=2), NAMES, '"Heart"'),
        (dict(type='label_map', ignore_index=True), NAMES, 'True'),
    ],
)
def test_formats_that_cannot_be(save, mask_format, classes, part):
    path = save(THREE)
    with pytest.raises(UserError) as info:
        read_mask(path, classes, mask_format)
    assert part in str(info.value), str(info.value)


def test_no_class_is_refused(save):
    with pytest.raises(UserError, match='at least one class'):
        read_mask(save(THREE), [])


def test_unreadable_files_are_named(save, tmp_path):
    data = Path(save(palette(THREE, COLORS))).read_bytes()
    for content in (b'', data[:-20], data[:60] + b'x' + data[61:]):
        path = save(content)
        with pytest.raises(ImageReadError, match=path):
            read_mask(path, NAMES)
    frames = [Image.fromarray(THREE), Image.fromarray(THREE[::-1])]
    path = save(frames[0], '.gif', save_all=True, append_images=frames[1:])
    with pytest.raises(ImageReadError, match='2 frames'):
        read_mask(path, NAMES)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_masks_are_turned_as_images_are(save, orientation, suffix):
    """Against Pillow, which turns a picture by its tag."""
    values = np.zeros((H, W), np.uint8)
    values[3:9, 16:28] = 1
    contents = [(Image.fromarray(values * 255), None)]
    if suffix != '.jpg':
        contents += [
            (Image.fromarray(values), 'label_map'),
            (palette(values, COLORS), 'palette'),
            (
                Image.merge('LA', [Image.fromarray(values * 255)] * 2),
                'alpha',
            ),
        ]
    exif = Image.Exif()
    exif[274] = orientation
    for content, form in contents:
        path = save(content, suffix, exif=exif)
        with Image.open(io.BytesIO(Path(path).read_bytes())) as file:
            # Pillow turns a TIFF by itself, unless it maps the file
            image = file if suffix == '.tif' else ImageOps.exif_transpose(file)
            upright = np.asarray(image.convert('L'))
        mask, found = read_mask(path, ['Lung'], form, True)
        np.testing.assert_array_equal(mask[0], upright > 0.5 * upright.max())
        assert mask.sum() == 72
        assert found['orientation'] == orientation


def test_a_tiff_whose_white_is_0_is_read_as_it_looks(save):
    path = save(Image.fromarray(THREE), '.tif', tiffinfo={262: 0})
    for value, mask in enumerate(read_mask(path, NAMES), 1):
        np.testing.assert_array_equal(mask, value == THREE)
    path = save(Image.fromarray(shades(0, 255)), '.tif', tiffinfo={262: 0})
    np.testing.assert_array_equal(read_mask(path, ['Lung'])[0], INSIDE)


@pytest.mark.parametrize(
    'dtype', ['u1', 'u2', 'u4', 'i1', 'i2', 'i4', 'f4', 'f8']
)
def test_small_values_of_a_tiff_are_kept_where_0_is_white(tmp_path, dtype):
    path = str(tmp_path / 'mask.tif')
    tifffile.imwrite(path, THREE.astype(dtype), photometric='miniswhite')
    masks, found = read_mask(path, NAMES, decisions=True)
    for value, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, value == THREE)
    assert found['values'] == [0, 1, 2, 3] and found['warnings'] == []
    tifffile.imwrite(path, shades(0, 1).astype(dtype), photometric=0)
    np.testing.assert_array_equal(read_mask(path, ['Lung'])[0], INSIDE)


def test_nothing_but_0_where_0_is_white(tmp_path):
    """An empty mask or a full one: as it looks, and not in silence."""
    path = str(tmp_path / 'mask.tif')
    tifffile.imwrite(path, np.zeros((H, W), 'u1'), photometric='miniswhite')
    mask, found = read_mask(path, ['Lung'], decisions=True)
    assert mask.all() and 'says is white' in found['warnings'][0]


def test_a_dicom_is_refused(save, tmp_path):
    path = save(b'\0' * 128 + b'DICM' + b'\0' * 99, '.dcm')
    with pytest.raises(ImageReadError, match='DICOM.*PNG'):
        read_mask(path, NAMES)


def test_warnings_are_logged_once_a_kind(save, monkeypatch):
    logged = []
    monkeypatch.setattr(decisions_module, '_LOGGED', set())
    monkeypatch.setattr(
        decisions_module, 'log', lambda text, *_: logged.append(text)
    )
    path = save(shades(0, 1, 255))
    for _ in range(2):
        read_mask(path, ['Lung'])
    assert len(logged) == 1 and path in logged[0]


def test_codes_that_read_alike_share_a_tag():
    assert MaskCode(NAMES).tag == MaskCode(NAMES).tag
    assert (
        len({MaskCode(NAMES).tag, MaskCode(NAMES[:1]).tag, BIT_CODE.tag}) == 3
    )
