"""Images and masks are turned as their tags say, whatever the format."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from fx_mm.datasets.cache import ImageCache
from fx_mm.datasets.transforms.loading import LoadXray
from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.mask_code import BIT_CODE
from fx_mm.image_io.mask_pixels import read_mask_pixels
from fx_mm.image_io.orientation import read_orientation, turn_upright
from fx_mm.image_io.xray import read_size, read_xray

FORMATS = ['png', 'jpeg', 'tiff', 'webp']


def exif_of(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def encode(pixels, form, **kwargs):
    file = io.BytesIO()
    exact = dict(jpeg=dict(quality=100), webp=dict(lossless=True))
    kwargs |= exact.get(form, {})
    Image.fromarray(pixels).save(file, form, **kwargs)
    return file.getvalue()


def draw():
    """Not square, and no symmetry; blocks, which a JPEG keeps."""
    small = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    return small.repeat(8, 0).repeat(8, 1)


def chunk(name, content):
    body = name + content
    crc = struct.pack('>I', zlib.crc32(body))
    return struct.pack('>I', len(content)) + body + crc


def with_chunk(png, name, content, last=False):
    """Put a chunk behind the header, or behind the pixels."""
    place = png.index(b'IEND') - 4 if last else 33
    return png[:place] + chunk(name, content) + png[place:]


@pytest.fixture
def write(tmp_path):
    def call(data, name='image.png'):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return call


@pytest.mark.parametrize('pixels', [np.zeros((0, 4)), np.zeros((2, 3, 3))])
def test_upright_pixels_stay_the_same_object(pixels):
    assert turn_upright(pixels, 1) is pixels


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('form', FORMATS)
def test_every_reader_turns_as_pillow_does(write, form, orientation):
    data = encode(draw(), form, exif=exif_of(orientation))
    path = write(data, f'image.{form}')
    # by its path, Pillow 13 does not turn a TIFF
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert('L'))
    pixels, decisions = read_xray(path, True)
    assert decisions['orientation'] == orientation
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert read_size(path) == expected.shape
    mask = read_mask_pixels(path).values
    if mask.ndim == 3:
        mask = mask[..., 0]
    assert np.abs(mask.astype(int) - expected).max() <= 2


@pytest.mark.parametrize('form', ['png', 'jpeg', 'tiff'])
def test_training_and_cache_see_the_upright_image(write, tmp_path, form):
    path = write(encode(draw(), form, exif=exif_of(6)), f'image.{form}')
    plain = LoadXray().transform(dict(img_path=path))
    assert plain['ori_shape'] == plain['img_shape'] == (32, 24)
    cache = ImageCache(str(tmp_path / 'cache'), 12)
    for _ in range(2):
        cached = cache.image(path)
        assert cached.ori_shape == (32, 24)
        assert cached.pixels.shape == (16, 12)
        if form != 'jpeg':  # which holds no bits
            assert cache.mask(path, BIT_CODE).pixels.shape == (16, 12)
    np.testing.assert_array_equal(plain['img'][..., 0], read_xray(path))


def test_a_tag_behind_the_pixels_of_a_png_counts(write):
    content = exif_of(8).tobytes().removeprefix(b'Exif\0\0')
    png = with_chunk(encode(draw(), 'png'), b'eXIf', content, last=True)
    path = write(png)
    np.testing.assert_array_equal(read_xray(path), np.rot90(draw()))
    assert read_size(path) == (32, 24)


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        (
            b'iTXt',
            b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="3"/>',
        ),
        (
            b'tEXt',
            b'Raw profile type exif\0\nexif\n      32\n'
            + exif_of(3).tobytes().hex().encode(),
        ),
    ],
)
def test_tags_in_texts_of_a_png_count(write, name, content):
    png = with_chunk(encode(draw(), 'png'), name, content)
    np.testing.assert_array_equal(read_xray(write(png)), draw()[::-1, ::-1])


def test_other_texts_of_a_png_cost_no_decoding(write, monkeypatch):
    png = with_chunk(encode(draw(), 'png'), b'tEXt', b'fx_mm\0{}')
    monkeypatch.setattr(Image, 'open', None)
    np.testing.assert_array_equal(read_xray(write(png)), draw())


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('orientation', [0, 9, 60000])
def test_a_tag_without_meaning_is_warned_of(write, form, orientation):
    data = encode(draw(), form, exif=exif_of(orientation))
    pixels, decisions = read_xray(write(data, f'image.{form}'), True)
    assert pixels.shape == draw().shape
    (warning,) = decisions['warnings']
    assert f'orientation tag is {orientation}, not 1 to 8' in warning
    assert decisions['orientation'] == 1


@pytest.mark.parametrize(
    'exif', [b'Exif\0\0', b'Exif\0\0II*\0\x08\0\0\0\xff\xff', b'Exif\0\0noise']
)
def test_damaged_exif_does_no_harm(write, exif):
    whole = encode(draw(), 'jpeg')
    header = b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif
    path = write(whole[:2] + header + whole[2:], 'image.jpg')
    pixels, decisions = read_xray(path, True)
    np.testing.assert_array_equal(pixels, read_xray(write(whole, 'b.jpg')))
    assert decisions['orientation'] == 1
    assert all('EXIF' in warning for warning in decisions['warnings'])


@pytest.mark.parametrize('form', ['bmp', 'gif', 'ppm'])
def test_formats_without_a_tag_stay(form):
    decisions = Decisions(form)
    assert read_orientation(io.BytesIO(encode(draw(), form)), decisions) == 1
    assert not decisions.warnings
