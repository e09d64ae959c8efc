import io
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.errors import ImageReadError, UnreadableError
from fx_mm.image_io.pixels import stretch, to_uint8
from fx_mm.image_io.xray import decode, read_xray
from fx_mm.utils.errors import UserError


def encode(pixels, extension='.png'):
    done, data = cv2.imencode(extension, pixels)
    assert done
    return data.tobytes()


def encode_pillow(image, file_format, **kwargs):
    file = io.BytesIO()
    image.save(file, file_format, **kwargs)
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(data, name='image.png'):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write


@pytest.mark.parametrize('mode', ['L', 'P', 'LA', 'RGB', 'RGBA'])
def test_8_bit_png_keeps_its_values_in_every_colour_mode(write, grey, mode):
    image = Image.fromarray(grey).convert(mode)
    read = read_xray(write(encode_pillow(image, 'png')))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, grey)


def test_palette_is_looked_up(write):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), 'P')
    image.putpalette([10, 10, 10, 200, 200, 200])
    read = read_xray(write(encode_pillow(image, 'png')))
    np.testing.assert_array_equal(read, [[10, 200], [200, 10]])


def test_colours_become_luminance(write):
    image = Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    read = read_xray(write(encode_pillow(image, 'png')))
    assert (read == 76).all()  # 0.299 * 255


@pytest.mark.parametrize('extension', ['.png', '.tiff'])
@pytest.mark.parametrize('channels', [1, 3])
def test_16_bit_is_scaled_by_its_value_range(write, grey, extension, channels):
    deep = np.repeat((1000 + 12 * grey.astype(np.uint16))[..., None], 3, 2)
    data = encode(deep[..., :channels], extension)
    np.testing.assert_array_equal(read_xray(write(data)), grey)


def test_16_bit_alpha_is_dropped(write, grey):
    deep = np.dstack([grey.astype(np.uint16) * 257] * 3 + [grey * 0 + 7])
    np.testing.assert_array_equal(
        read_xray(write(encode(deep.astype(np.uint16)))), grey
    )


def test_float_tiff_is_scaled_by_its_value_range(write, grey):
    data = encode_pillow(Image.fromarray(grey / np.float32(255)), 'tiff')
    np.testing.assert_array_equal(read_xray(write(data, 'a.tif')), grey)


def test_float_tiff_with_nan_is_refused(write, grey):
    pixels = grey.astype(np.float32)
    pixels[3, 4] = np.nan
    path = write(encode_pillow(Image.fromarray(pixels), 'tiff'), 'a.tif')
    with pytest.raises(ImageReadError, match='not finite'):
        read_xray(path)


def test_constant_16_bit_image_is_black(write):
    data = encode(np.full((4, 5), 3000, np.uint16))
    np.testing.assert_array_equal(read_xray(write(data)), np.zeros((4, 5)))


@pytest.mark.parametrize('mode', ['L', 'P'])
def test_gif_is_read(write, grey, mode):
    data = encode_pillow(Image.fromarray(grey).convert(mode), 'gif')
    np.testing.assert_array_equal(read_xray(write(data, 'a.gif')), grey)


def test_percentiles_leave_outliers_out(write, grey):
    deep = np.tile(1000 + 12 * grey.astype(np.uint16), (8, 8))
    deep[0, 0] = 0
    deep[-1, -1] = 65535
    path = write(encode(deep))
    assert np.ptp(read_xray(path)[1:-1]) < 20
    read = read_xray(path, percentiles=(0.1, 99.9))
    inner = np.tile(grey, (8, 8))[1:-1].astype(int)
    assert np.abs(read[1:-1] - inner).max() <= 1
    assert (read[0, 0], read[-1, -1]) == (0, 255)


def test_percentiles_leave_8_bits_and_flat_images_alone(write, grey):
    read = read_xray(write(encode(grey)), percentiles=(5, 95))
    np.testing.assert_array_equal(read, grey)
    deep = np.zeros((32, 32), np.uint16)
    deep[0, 0] = 9
    read = read_xray(write(encode(deep)), percentiles=(5, 95))
    assert (read[0, 0], read.sum()) == (255, 255)


@pytest.mark.parametrize(
    'wrong', [5, (1,), (99, 1), (0, 101), (-1, 99), ('a', 'b'), (0.5, 0.5)]
)
def test_wrong_percentiles_are_named(write, grey, wrong):
    with pytest.raises(UserError, match='two numbers from 0 to 100'):
        read_xray(write(encode(grey)), percentiles=wrong)


def test_bmp_is_read(write, grey):
    data = encode_pillow(Image.fromarray(grey), 'bmp')
    np.testing.assert_array_equal(read_xray(write(data)), grey)


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_jpeg_is_read(write, mode, progressive):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    image = Image.fromarray(smooth).convert(mode)
    data = encode_pillow(image, 'jpeg', quality=95, progressive=progressive)
    read = read_xray(write(data, 'image.jpg'))
    assert np.abs(read.astype(int) - smooth).max() <= 4


def test_content_decides_not_the_name(write, grey):
    data = encode(grey)
    np.testing.assert_array_equal(read_xray(write(data, 'image.jpg')), grey)


@pytest.mark.parametrize(
    'extension', ['.png', '.jpg', '.tiff', '.bmp', '.gif']
)
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_cut_off_file_is_refused(extension, share):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64))
    pixels = pixels.astype(np.uint8)
    if extension == '.gif':
        data = encode_pillow(Image.fromarray(pixels), 'gif')
    else:
        data = encode(pixels, extension)
    with pytest.raises(UnreadableError):
        decode(data[: int(len(data) * share)])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_png_is_refused(data):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16))
    whole = encode(pixels.astype(np.uint8))
    position = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(whole)
    damaged[position] ^= flip
    with pytest.raises(UnreadableError):
        decode(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(min_size=1, max_size=200), head=st.booleans())
def test_noise_is_refused_in_one_way(noise, head):
    with pytest.raises(UnreadableError):
        decode((b'\xff\xd8\xff\xe0' if head else b'') + noise)


def test_a_thumbnail_does_not_stand_for_the_end_of_a_jpeg(write, grey):
    whole = encode(np.tile(grey, (4, 4)), '.jpg')
    thumbnail = encode(grey, '.jpg')
    header = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 2) + thumbnail
    data = whole[:2] + header + whole[2:]
    assert read_xray(write(data)).shape == (96, 128)
    with pytest.raises(ImageReadError, match='cut off'):
        read_xray(write(data[:-300]))


def test_bytes_after_a_jpeg_do_no_harm(write, grey):
    data = encode(grey, '.jpg')
    expected = read_xray(write(data))
    np.testing.assert_array_equal(read_xray(write(data + b'\0' * 9)), expected)


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'', 'empty (0 bytes)'),
        (b'no such image', 'is not a PNG'),
        (b'<html>no such image</html>', 'web page'),
        (b'\n<!DOCTYPE HTML>', 'web page'),
        (b'version https://git-lfs.github.com/spec/v1', 'git lfs pull'),
        (b'/annex/objects/SHA256E-s1--a.png', 'git annex get'),
        (b'PK\3\4', 'zip archive'),
        (b'\x89PNG\r\n\x1a\n', 'cut off'),
    ],
)
def test_errors_name_path_and_reason(write, data, reason):
    path = write(data)
    with pytest.raises(ImageReadError) as info:
        read_xray(path)
    assert str(info.value).startswith(f'{path}: ')
    assert reason in str(info.value)
    assert isinstance(info.value, UserError)


def test_missing_file_and_folder_are_named(tmp_path):
    for path in (tmp_path / 'none.png', tmp_path):
        with pytest.raises(ImageReadError, match=str(path)):
            read_xray(str(path))


def test_several_frames_are_refused(write, grey):
    pages = [Image.fromarray(grey)] * 2
    data = encode_pillow(
        pages[0], 'tiff', save_all=True, append_images=pages[1:]
    )
    with pytest.raises(ImageReadError, match='2 frames'):
        read_xray(write(data, 'a.tif'))


def test_several_frames_of_a_png_are_refused(write, grey):
    frames = [Image.fromarray(grey), Image.fromarray(255 - grey)]
    one = encode_pillow(frames[0], 'png', save_all=True)
    np.testing.assert_array_equal(read_xray(write(one)), grey)
    two = encode_pillow(
        frames[0], 'png', save_all=True, append_images=frames[1:]
    )
    with pytest.raises(ImageReadError, match='2 frames'):
        read_xray(write(two))


def test_a_palette_without_a_colour_that_is_used_is_refused(write):
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    image = Image.fromarray(pixels).convert('P')
    image.putpalette(bytes(range(60)))
    data = encode_pillow(image, 'png', bits=8)
    assert read_xray(write(data)).shape == (4, 5)
    start = data.index(b'PLTE') - 4
    (length,) = struct.unpack_from('>I', data, start)
    body = b'PLTE' + bytes(range(30))
    chunk = struct.pack('>I', 30) + body + struct.pack('>I', zlib.crc32(body))
    data = data[:start] + chunk + data[start + 12 + length :]
    with pytest.raises(ImageReadError, match='index 19, .* has 10 colours'):
        read_xray(write(data))


def test_error_survives_the_way_from_a_worker():
    error = pickle.loads(pickle.dumps(ImageReadError('a.png: cut off')))
    assert isinstance(error, ImageReadError)
    assert str(error) == 'a.png: cut off'


@given(arrays(np.uint16, (3, 4)))
def test_scaling_keeps_the_order_and_fills_the_range(values):
    scaled = to_uint8(values, Decisions('array', 16))
    order = np.argsort(values, axis=None, kind='stable')
    assert (np.diff(scaled.ravel()[order].astype(int)) >= 0).all()
    if values.min() < values.max():
        assert (scaled.min(), scaled.max()) == (0, 255)


def test_stretch_clips():
    values = np.array([-5, 0, 5, 10, 99])
    np.testing.assert_array_equal(
        stretch(values, 0, 10), [0, 0, 128, 255, 255]
    )
