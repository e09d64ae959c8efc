"""One test per depth, sample format, photometric and byte order of a TIFF."""

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fx_mm.image_io.errors import UnreadableError
from fx_mm.image_io.mask_code import BIT_CODE
from fx_mm.image_io.tiff import Directory, decode_tiff
from fx_mm.image_io.xray import ImageReadError, read_xray

FORMATS = dict(u=1, i=2, f=3)
DEPTHS = [
    *[('u', bits) for bits in (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64)],
    *[('i', bits) for bits in (8, 16, 32, 64)],
    *[('f', bits) for bits in (16, 32, 64)],
]
SIDE = 23


def draw(kind, bits):
    """A vertical ramp over the whole range, of an odd width."""
    if kind == 'f':
        ramp = np.linspace(-1, 1, SIDE).astype(f'f{bits // 8}')
    else:
        low = 0 if kind == 'u' else -(2 ** (bits - 1))
        steps = [low + (2**bits - 1) * k // (SIDE - 1) for k in range(SIDE)]
        ramp = np.array(steps, 'u8' if kind == 'u' else 'i8')
    return np.repeat(ramp[:, None], SIDE + 4, axis=1)


def pack(values, kind, bits, order):
    """Rows of bytes: whole bytes in the file's order, other bits in turn."""
    if bits % 8 == 0 and bits != 24:
        return values.astype(f'{order}{kind}{bits // 8}').tobytes()
    rows = b''
    for row in values.tolist():
        if bits == 24:
            way = 'little' if order == '<' else 'big'
            rows += b''.join(v.to_bytes(3, way) for v in row)
        else:
            text = ''.join(f'{v:0{bits}b}' for v in row)
            text += '0' * (-len(text) % 8)
            rows += int(text, 2).to_bytes(len(text) // 8, 'big')
    return rows


def write_tiff(pixels, shape, order='<', big=False, pages=1, **tags):
    """The bytes of a TIFF of one strip, which its pages share.

    ``tags`` are t258=16 and so on; None leaves a tag out.
    """
    word = f'{order}{"Q" if big else "I"}'
    width = struct.calcsize(word)
    head = b'II' if order == '<' else b'MM'
    head += struct.pack(f'{order}H', 43 if big else 42)
    head += struct.pack(f'{order}HH', 8, 0) if big else b''
    start = len(head) + width
    pixels += bytes(len(pixels) % 2)
    known = dict(
        t256=shape[1], t257=shape[0], t259=1, t262=1, t273=start, t277=1,
        t278=shape[0], t279=len(pixels),
    )  # fmt: skip
    entries = b''
    tags = {tag: n for tag, n in (known | tags).items() if n is not None}
    for tag, number in sorted(tags.items()):
        entries += struct.pack(f'{order}HH', int(tag[1:]), 4)
        entries += struct.pack(word, 1)
        entries += struct.pack(f'{order}I', number).ljust(width, b'\0')
    count = struct.pack(f'{order}{"Q" if big else "H"}', len(tags))
    data = head + struct.pack(word, start + len(pixels)) + pixels
    for page in range(1, pages + 1):
        behind = len(data) + len(count) + len(entries) + width
        data += count + entries
        data += struct.pack(word, behind if page < pages else 0)
    return data


def write_ramp(kind, bits, photometric=1, order='<', **tags):
    ramp = draw(kind, bits)
    pixels = pack(ramp, kind, bits, order)
    tags = dict(t258=bits, t262=photometric, t339=FORMATS[kind]) | tags
    return write_tiff(pixels, ramp.shape, order, **tags)


@pytest.fixture
def read(tmp_path):
    def call(data, **kwargs):
        path = tmp_path / 'image.tif'
        path.write_bytes(data)
        return read_xray(str(path), **kwargs)

    return call


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('photometric', [0, 1])
@pytest.mark.parametrize(('kind', 'bits'), DEPTHS)
def test_every_kind_of_grey(read, kind, bits, photometric, order, big):
    data = write_ramp(kind, bits, photometric, order, big=big)
    image, decisions = read(data, decisions=True)
    steps = 2.0**bits - 1 if kind != 'f' and bits < 8 else 255
    places = np.arange(SIDE) / (SIDE - 1)
    expected = np.floor(places * steps) / steps * 255
    if photometric == 0:
        expected = expected[::-1] if kind == 'f' else 255 - expected
    assert image.shape == (SIDE, SIDE + 4)
    assert (image == image[:, :1]).all()
    np.testing.assert_allclose(image[:, 0], expected, atol=1.01)
    assert {image[0, 0], image[-1, 0]} == {0, 255}
    assert decisions['depth'] == bits
    assert decisions['inverted'] == (photometric == 0)
    assert (
        decisions['photometric'] == ('MinIsWhite', 'MinIsBlack')[photometric]
    )
    assert not decisions['warnings']
    if decisions['mapping'] == 'value range':
        ramp = draw(kind, bits)[:, 0].astype(float)
        assert decisions['range'] == [ramp[0], ramp[-1]]
    else:
        assert kind == 'u' and bits <= 8


@pytest.mark.parametrize(
    'dtype', ['u1', 'i1', 'u2', 'i2', 'u4', 'i4', 'u8', 'i8', 'f4', 'f8']
)
def test_no_value_is_lost(dtype):
    """Every bit of the file's numbers arrives."""
    rng = np.random.default_rng(0)
    kind, bits = dtype[0], 8 * int(dtype[1])
    values = np.frombuffer(rng.bytes(7 * 5 * bits // 8), dtype)
    values = np.nan_to_num(values).reshape(7, 5)
    for order in '<>':
        data = write_tiff(
            pack(values, kind, bits, order), (7, 5), order,
            t258=bits, t339=FORMATS[kind],
        )  # fmt: skip
        decoded = decode_tiff(data).values
        assert decoded.dtype == values.dtype
        np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize('form', [None, 4])
def test_missing_sample_format_is_unsigned(read, form):
    for bits in (16, 32):
        data = write_ramp('u', bits, t339=form)
        np.testing.assert_array_equal(read(data), read(write_ramp('u', bits)))


def test_tight_ranges_keep_their_levels(read):
    """Values whose differences float32 does not hold."""
    steps = np.arange(256).reshape(16, 16)
    for kind, values in (
        ('u', 4_000_000_000 + steps),
        ('f', 1000 + 1e-9 * steps),
    ):
        bits = 32 if kind == 'u' else 64
        pixels = pack(values, kind, bits, '<')
        data = write_tiff(pixels, (16, 16), t258=bits, t339=FORMATS[kind])
        np.testing.assert_array_equal(read(data), steps)


@pytest.mark.parametrize('compression', [1, 5, 8, 32773, 32946])
def test_compressed(read, compression):
    """No compression, LZW, deflate (two numbers) and PackBits."""
    values = np.random.default_rng(0).integers(0, 2**16, (40, 50))
    values = values.astype(np.uint16)
    settings = [cv2.IMWRITE_TIFF_COMPRESSION, compression]
    data = cv2.imencode('.tif', values, settings)[1].tobytes()
    np.testing.assert_array_equal(decode_tiff(data).values, values)
    white = bytearray(data)  # the tag's value is the low half of a word
    place = data.index(struct.pack('<HHI', 262, 3, 1)) + 8
    assert white[place] == 1
    white[place] = 0
    decoded = decode_tiff(bytes(white))
    np.testing.assert_array_equal(decoded.values, 65535 - values)
    assert decoded.white == 65535


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize(
    ('kind', 'bits', 'predictor'),
    [
        *[('u', bits, 1) for bits in (6, 12, 16, 24)],
        ('f', 64, 1),
        *[('u', bits, 2) for bits in (8, 16, 32)],
        *[('i', bits, 2) for bits in (8, 16, 32)],
    ],
)
def test_deflated_at_every_depth(kind, bits, order, predictor):
    ramp = draw(kind, bits)
    stored = ramp
    if predictor == 2:
        stored = np.diff(ramp, prepend=0, axis=1)
    pixels = zlib.compress(pack(stored, kind, bits, order))
    data = write_tiff(
        pixels, ramp.shape, order, t258=bits, t339=FORMATS[kind], t259=8,
        t279=len(pixels), t317=predictor,
    )  # fmt: skip
    np.testing.assert_array_equal(decode_tiff(data).values, ramp)


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGB', 'RGBA', 'CMYK'])
@pytest.mark.parametrize('compression', ['raw', 'tiff_lzw', 'tiff_deflate'])
def test_up_to_8_bits_is_pillows(read, grey, mode, compression):
    image = Image.fromarray(grey).convert(mode)
    file = io.BytesIO()
    image.save(file, 'tiff', compression=compression)
    expected = image.convert('L' if mode in '1L' else 'RGB')
    expected = np.asarray(expected)
    if expected.ndim == 3:
        expected = cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(read(file.getvalue()), expected)


def test_palette_is_looked_up(read):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), 'P')
    image.putpalette([10, 10, 10, 200, 200, 200])
    file = io.BytesIO()
    image.save(file, 'tiff')
    pixels, decisions = read(file.getvalue(), decisions=True)
    np.testing.assert_array_equal(pixels, [[10, 200], [200, 10]])
    assert decisions['photometric'] == 'palette'


@pytest.mark.parametrize('bits', [8, 16])
def test_planar_colours(read, grey, bits):
    """Right or refused: OpenCV mixes planes of 16 bits up."""
    planes = np.stack([grey, grey // 2, grey // 3]).astype(f'<u{bits // 8}')
    data = bytearray(
        write_tiff(
            planes.tobytes(),
            grey.shape,
            t258=None,
            t262=2,
            t277=3,
            t284=2,
            t273=None,
            t279=None,
        )  # fmt: skip
    )
    # lists of three numbers, written behind the end
    size = grey.size * bits // 8
    lists = {
        258: [bits] * 3,
        273: [8 + size * plane for plane in range(3)],
        279: [size] * 3,
    }
    start = struct.unpack_from('<I', data, 4)[0]
    count = struct.unpack_from('<H', data, start)[0]
    entries = [
        bytes(data[start + 2 + 12 * k : start + 14 + 12 * k])
        for k in range(count)
    ]
    behind = start + 2 + 12 * (count + 3) + 4
    tail = b''
    for tag, numbers in lists.items():
        place = behind + len(tail)
        entries.append(struct.pack('<HHII', tag, 4, 3, place))
        tail += struct.pack('<3I', *numbers)
    entries.sort(key=lambda entry: struct.unpack_from('<H', entry))
    data = data[:start] + struct.pack('<H', count + 3) + b''.join(entries)
    data = bytes(data + bytes(4) + tail)
    if bits == 16:
        with pytest.raises(ImageReadError, match='3 samples of 16 bits'):
            read(data)
        return
    colours = planes.transpose(1, 2, 0).astype(np.uint8)
    expected = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(read(data), expected)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(('kind', 'bits'), [('u', 8), ('u', 12), ('f', 64)])
def test_orientation_is_applied_at_every_depth(read, kind, bits, orientation):
    data = write_ramp(kind, bits, t274=orientation)
    image, decisions = read(data, decisions=True)
    stored = read(write_ramp(kind, bits))
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, 'png', exif=exif)
    expected = ImageOps.exif_transpose(Image.open(file))
    np.testing.assert_array_equal(image, np.asarray(expected))
    assert decisions['orientation'] == orientation


def test_missing_photometric_is_taken_with_a_warning(read):
    for bits in (8, 16):
        image, decisions = read(
            write_ramp('u', bits, t262=None), decisions=True
        )
        np.testing.assert_array_equal(image, read(write_ramp('u', bits)))
        (warning,) = decisions['warnings']
        assert 'no PhotometricInterpretation; MinIsBlack' in warning


@pytest.mark.parametrize('bits', [8, 16])
def test_several_pages_are_refused(read, bits):
    with pytest.raises(ImageReadError, match='3 frames'):
        read(write_ramp('u', bits, pages=3))


@pytest.mark.parametrize(
    ('tags', 'reason'),
    [
        (dict(t277=2), '2 samples of 16 bits'),
        (dict(t339=6), 'sample format 6'),
        (dict(t262=32803), 'photometric|32803'),
        (dict(t259=34712), 'its compression, JPEG 2000, is'),
        (dict(t259=34925), 'its compression, LZMA, is'),
        (dict(t259=50000), 'its compression, Zstandard, is'),
        (dict(t259=12345), 'its compression, number 12345, is'),
        (dict(t259=50000, t273=10**6), 'cut off'),
        (dict(t259=50000, t277=2), '2 samples of 16 bits'),
        (dict(t256=2**31), 'cannot be decoded|cut off'),
        (dict(t256=2**32 - 1, t258=12), 'damaged'),
        (dict(t273=10**6), 'cut off'),
    ],
)
def test_what_cannot_be_read_is_named(read, tags, reason):
    with pytest.raises(ImageReadError, match=reason):
        read(write_ramp('u', 16, **tags))


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA'])
def test_a_damaged_jpeg_within_is_refused(mode):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    image = Image.fromarray(noise).convert(mode)
    file = io.BytesIO()
    image.save(file, 'tiff', compression='jpeg')
    data = file.getvalue()
    assert decode_tiff(data).values.shape[:2] == (64, 64)
    (start, *_) = Directory(data).numbers(273)
    middle = start + 400
    data = data[:middle] + bytes(200) + data[middle + 200 :]
    with pytest.raises(UnreadableError, match='damaged inside'):
        decode_tiff(data)


@pytest.mark.parametrize('bits', [8, 12, 16])
def test_damage_of_what_is_deflated_is_found(read, bits):
    noise = np.random.default_rng(0).integers(0, 2**bits, (SIDE, SIDE))
    packed = zlib.compress(pack(noise, 'u', bits, '<'), 1)
    tags = dict(t258=bits, t259=8)
    assert read(write_tiff(packed, noise.shape, **tags)).shape == noise.shape
    half = len(packed) // 2
    packed = packed[:half] + bytes(9) + packed[half + 9 :]
    with pytest.raises(ImageReadError, match='damaged'):
        read(write_tiff(packed, noise.shape, **tags))


@pytest.mark.parametrize('bits', [8, 16])
def test_missing_strips_are_found(read, bits):
    data = write_ramp('u', bits, t278=SIDE // 2)
    with pytest.raises(ImageReadError, match='1 of 3 strips'):
        read(data)


@pytest.mark.parametrize('photometric', [4, 9])
def test_forms_of_8_bits_that_pillow_does_not_know(read, photometric):
    samples = 3 if photometric == 9 else 1
    data = write_ramp('u', 8, t262=photometric, t277=samples)
    with pytest.raises(ImageReadError, match='samples of 8 bits'):
        read(data)


@pytest.mark.parametrize('place', [0, 2**31, 2**64 - 1])
def test_a_directory_outside_of_the_file_is_named(read, place):
    data = write_ramp('u', 8, big=True)
    data = data[:8] + struct.pack('<Q', place) + data[16:]
    with pytest.raises(ImageReadError, match='cut off|cannot be read'):
        read(data)


def test_masks_are_upright_and_keep_their_values(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 300
    path = tmp_path / 'mask.tif'
    path.write_bytes(write_tiff(values.tobytes(), (2, 3), t258=16, t274=6))
    read = BIT_CODE.read(str(path)).values
    np.testing.assert_array_equal(read, np.rot90(values, -1))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_tiff_is_read_or_refused(data):
    kind, bits = data.draw(st.sampled_from(DEPTHS))
    order = data.draw(st.sampled_from('<>'))
    whole = bytearray(write_ramp(kind, bits, order=order))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 16))
        place = -place if place else data.draw(st.integers(-140, 8))
        whole[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableError):
        assert decode_tiff(bytes(whole)).values.ndim in (2, 3)


@settings(max_examples=60, deadline=None)
@given(
    depth=st.sampled_from(DEPTHS),
    order=st.sampled_from('<>'),
    share=st.floats(0, 1, exclude_max=True),
)
def test_every_cut_off_tiff_is_refused(depth, order, share):
    whole = write_ramp(*depth, order=order)
    with pytest.raises(UnreadableError):
        decode_tiff(whole[: int(len(whole) * share)])
