import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fx_mm.image_io.errors import ImageReadError, UnreadableError
from fx_mm.image_io.metaimage import (
    METAIMAGE_TYPES,
    decode_jsrt,
    decode_metaimage,
)
from fx_mm.image_io.xray import decode, read_xray


@pytest.fixture
def write(tmp_path):
    def write(data, name):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write


def metaimage(pixels, big=False, compressed=False, frames=None, **header):
    """Encode with any header, right or wrong."""
    kinds = {np.dtype(code): name for name, code in METAIMAGE_TYPES.items()}
    sizes = [pixels.shape[1], pixels.shape[0], *([frames] if frames else [])]
    body = pixels.astype(pixels.dtype.newbyteorder('><'[not big])).tobytes()
    lines = dict(
        ObjectType='Image',
        NDims=len(sizes),
        BinaryData=True,
        BinaryDataByteOrderMSB=big,
        CompressedData=compressed,
        TransformMatrix='1 0 0 1',
        ElementSpacing='0.139 0.139',
        DimSize=' '.join(map(str, sizes)),
        ElementType=kinds[pixels.dtype],
    )
    lines |= header | dict(ElementDataFile=header.get('file', 'LOCAL'))
    lines.pop('file', None)
    text = ''.join(
        f'{key} = {value}\n' for key, value in lines.items() if value != ''
    )
    return text.encode() + (zlib.compress(body) if compressed else body)


@pytest.mark.parametrize('frames', [None, 1])
@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('code', METAIMAGE_TYPES.values())
def test_what_simpleitk_writes(tmp_path, grey, code, compressed, frames):
    pixels = (grey // 2).astype(code)
    path = str(tmp_path / 'a.mha')
    stack = pixels if frames is None else pixels[None]
    sitk.WriteImage(sitk.GetImageFromArray(stack), path, compressed)
    with open(path, 'rb') as file:
        data = file.read()
    values = decode_metaimage(data)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(path))
    assert values.dtype == theirs.dtype
    np.testing.assert_array_equal(values, theirs.reshape(grey.shape))
    for place in range(len(data) - 9, len(data)) if compressed else ():
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(UnreadableError, match='damaged|cut off'):
            decode_metaimage(bytes(damaged))


@pytest.mark.parametrize('frames', [None, 1])
@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('code', METAIMAGE_TYPES.values())
def test_metaimage_of_every_type(grey, code, big, compressed, frames):
    pixels = (grey // 2).astype(code)
    values = decode_metaimage(metaimage(pixels, big, compressed, frames))
    assert values.dtype == np.dtype(code)
    assert values.dtype.isnative
    np.testing.assert_array_equal(values, pixels)


def test_deep_metaimage_is_mapped_from_its_value_range(write, grey):
    deep = 14 * grey.astype(np.int16) - 1000
    path = write(metaimage(deep, compressed=True), 'n0001.mha')
    np.testing.assert_array_equal(read_xray(path), grey)
    path = write(metaimage(grey), 'n0002.mha')
    np.testing.assert_array_equal(read_xray(path), grey)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(frames=3), '3 frames'),
        (dict(ElementNumberOfChannels=3), '3 channels'),
        (dict(DimSize='7'), 'the size 7'),
        (dict(DimSize=''), 'no usable .DimSize'),
        (dict(DimSize='a b'), "no usable .*'a'"),
        (dict(ElementType='MET_STRING'), 'no usable .MET_STRING'),
        (dict(file='n0001.raw'), r'another file \(n0001.raw\)'),
        (dict(BinaryData=False), 'as text'),
    ],
)
def test_other_metaimages_are_refused(write, grey, change, reason):
    path = write(metaimage(grey, **change), 'a.mha')
    with pytest.raises(ImageReadError, match=reason):
        read_xray(path)


@pytest.mark.parametrize('compressed', [False, True])
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_cut_off_metaimage_is_refused(compressed, share):
    pixels = np.random.default_rng(0).integers(0, 4096, (24, 32))
    data = metaimage(pixels.astype(np.int16), compressed=compressed)
    with pytest.raises(UnreadableError):
        decode(data[: int(len(data) * share)])


header_text = st.text(
    'ObjectTypeDimSizeElementDataFile=LOCAL MET_SHORT\n -19.', max_size=90
)


@settings(max_examples=200, deadline=None)
@given(text=header_text, noise=st.binary(max_size=60))
def test_noise_is_refused_in_one_way(text, noise):
    data = b'ObjectType = Image\n' + text.encode() + noise
    with pytest.raises(UnreadableError):
        decode(data)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_metaimage_is_read_or_refused(data):
    whole = metaimage(np.ones((3, 4), np.int16), compressed=True)
    place = data.draw(st.integers(10, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        values = decode(bytes(damaged)).values
    except UnreadableError:
        return
    assert values.ndim == 2 and values.size <= 12


def test_jsrt_is_inverted_and_mapped_from_its_range(write):
    density = np.array([[0, 4095], [1024, 2048]], '>u2')
    path = write(density.tobytes(), 'JPCLN001.IMG')
    np.testing.assert_array_equal(read_xray(path), [[255, 0], [191, 127]])


@given(arrays(np.uint16, (5, 5), elements=st.integers(0, 4095)))
def test_jsrt_round_trip(density):
    values = decode_jsrt(density.astype('>u2').tobytes())
    np.testing.assert_array_equal(values, 4095 - density)


def test_jsrt_of_the_official_size(write):
    pixels = np.full((2048, 2048), 7, '>u2')
    assert len(pixels.tobytes()) == 8388608
    assert read_xray(write(pixels.tobytes(), 'a.img')).shape == (2048, 2048)


def test_what_is_no_jsrt_file_is_refused(write):
    density = np.full((8, 8), 2000, '>u2')
    with pytest.raises(ImageReadError, match='127 bytes.*8388608'):
        read_xray(write(density.tobytes()[:-1], 'cut.IMG'))
    little = density.astype('<u2').tobytes()
    with pytest.raises(ImageReadError, match='value 53255.*12 bits'):
        read_xray(write(little, 'little.IMG'))
