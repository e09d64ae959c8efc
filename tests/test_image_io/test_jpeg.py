"""JPEGs that are whole are OpenCV's to the bit; damaged ones are refused."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fx_mm.image_io.errors import ImageReadError, UnreadableError
from fx_mm.image_io.jpeg import decode_jpeg
from fx_mm.image_io.masks import read_mask
from fx_mm.image_io.xray import read_xray


def draw(mode, size=(160, 192)):
    """A smooth picture with noise."""
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(size[0]), np.arange(size[1]))
    noise = rng.normal(0, 30, (*size, 4))
    pixels = (smooth[..., None] + noise).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0]).convert(mode) if mode == 'L' else (
        Image.fromarray(pixels[..., : len(mode)], mode)
    )  # fmt: skip


def encode(mode='L', **kwargs):
    file = io.BytesIO()
    draw(mode).save(file, 'jpeg', quality=90, **kwargs)
    return file.getvalue()


def opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


KINDS = {
    'grey': encode(),
    'progressive': encode(progressive=True),
    'restarts': encode(restart_marker_blocks=8),
    '4:4:4': encode('RGB', subsampling=0),
    '4:2:2': encode('RGB', subsampling=1),
    '4:2:0': encode('RGB', subsampling=2),
    'RGB': encode('RGB', keep_rgb=True),
    'CMYK': encode('CMYK'),
}


@pytest.mark.parametrize('data', [b'', b'\xff\xd8', b'\xff\xd8\xff\xd9'])
def test_nothing_to_decode(data):
    with pytest.raises(UnreadableError, match='cut off'):
        decode_jpeg(data)


@pytest.mark.parametrize('kind', KINDS)
def test_values_are_those_of_opencv(kind):
    values, decisions = decode_jpeg(KINDS[kind])
    np.testing.assert_array_equal(values, opencv(KINDS[kind]))
    assert not decisions.warnings


def test_ycck_is_opencv_s_too():
    data = bytearray(KINDS['CMYK'])
    data[data.find(b'Adobe') + 11] = 2
    np.testing.assert_array_equal(decode_jpeg(bytes(data))[0], opencv(data))


@pytest.mark.parametrize('damage', ['zeros', 'noise', 'loss', 'cut'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_damaged_one_is_refused(kind, damage, tmp_path):
    data = KINDS[kind]
    rng = np.random.default_rng(1)
    start = data.find(b'\xff\xda') + 200
    behind = data[start + 512 :]
    content = {
        'zeros': bytes(512) + behind,
        'noise': rng.bytes(512) + behind,
        'loss': behind,
        'cut': b'\xff\xd9',
    }[damage]
    path = tmp_path / 'image.jpg'
    path.write_bytes(data[:start] + content)
    with pytest.raises(ImageReadError, match=f'{path}: the JPEG is damaged'):
        read_xray(str(path))
    with pytest.raises(ImageReadError, match=f'{path}: the JPEG is damaged'):
        read_mask(path, ['Lung'])


@pytest.mark.parametrize('extra', [bytes(9), bytes(999), bytes(range(1, 10))])
def test_padding_is_warned_of(extra):
    data = KINDS['4:2:0']
    values, decisions = decode_jpeg(data[:-2] + extra + b'\xff\xd9')
    np.testing.assert_array_equal(values, opencv(data))
    (warning,) = decisions.warnings.values()
    assert 'bytes too many behind its pixels' in warning


def test_what_is_no_padding_is_refused():
    data = KINDS['4:2:0'][:-2] + bytes(range(1, 30)) + b'\xff\xd9'
    with pytest.raises(UnreadableError, match='extraneous bytes'):
        decode_jpeg(data)


@pytest.mark.realdata
@pytest.mark.skipif(
    'FX_MM_REAL_DATA' not in os.environ, reason='needs FX_MM_REAL_DATA'
)
def test_real_ones_are_opencv_s_to_the_bit():
    paths = [*Path(os.environ['FX_MM_REAL_DATA']).glob('*/*.jpg')]
    assert paths
    for path in paths:
        values, decisions = decode_jpeg(path.read_bytes())
        np.testing.assert_array_equal(values, opencv(path.read_bytes()))
        assert not decisions.warnings
