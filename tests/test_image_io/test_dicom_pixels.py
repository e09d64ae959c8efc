"""DICOMs whose tags and pixels disagree on bits, signs and colours."""

import io

import numpy as np
import openjpeg.utils
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.xray import read_xray

SMOOTH = np.add.outer(np.sin(np.arange(48) / 9), np.cos(np.arange(40) / 7))
SMOOTH = (SMOOTH - SMOOTH.min()) / np.ptp(SMOOTH)


@pytest.fixture
def save(write_dicom):
    """Write values, compressed."""

    def write(pixels, syntax, frame=None, precision=None, **elements):
        path = write_dicom(pixels, **elements)
        dataset = pydicom.dcmread(path)
        if frame is None:
            frame = openjpeg.utils.encode_array(
                pixels, bits_stored=precision, photometric_interpretation=2
            )
        dataset.PixelData = encapsulate([bytes(frame)])
        dataset['PixelData'].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path)
        return path

    return write


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'jpeg', quality=95)
    return file.getvalue()


def assert_smooth(image):
    assert np.corrcoef(image.ravel(), SMOOTH.ravel())[0, 1] > 0.999


@pytest.mark.parametrize('signed', [False, True])
@pytest.mark.parametrize('tag', [0, 1])
@pytest.mark.parametrize('bits', [8, 12, 16])
def test_the_picture_settles_the_sign_of_a_jpeg_2000(save, bits, tag, signed):
    values = np.rint(SMOOTH * (2**bits - 1)).astype(int)
    values -= 2 ** (bits - 1) * signed
    pixels = values.astype(f'{"i" if signed else "u"}{1 if bits == 8 else 2}')
    path = save(
        pixels,
        JPEG2000Lossless,
        precision=bits,
        BitsStored=bits,
        PixelRepresentation=tag,
    )
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    if tag == signed:
        assert not decisions['warnings']
    else:
        assert decisions['warnings'] == [
            f'PixelRepresentation is {tag}; {1 - tag} is taken.'
        ]


def test_the_tag_is_right_where_the_picture_agrees(save):
    """As of a CT whose 13 bits were compressed as if without a sign."""
    values = np.rint((SMOOTH - 0.5) * 4000).astype(np.int16)
    stored = (values & 2**13 - 1).astype(np.uint16)
    path = save(
        stored,
        JPEG2000Lossless,
        precision=13,
        BitsStored=13,
        PixelRepresentation=1,
    )
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    assert decisions['range'] == [values.min(), values.max()]
    (warning,) = decisions['warnings']
    assert 'unsigned' in warning and 'agrees' in warning


@pytest.mark.parametrize('stored', [8, 10])
@pytest.mark.parametrize('syntax', [JPEG2000Lossless, RLELossless])
def test_compressed_values_above_the_stored_bits_count(
    save, write_dicom, syntax, stored
):
    pixels = np.rint(SMOOTH * 4095).astype(np.uint16)
    if syntax == RLELossless:
        path = write_dicom(pixels)
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.BitsStored, dataset.HighBit = stored, stored - 1
        dataset.save_as(path)
    else:
        path = save(pixels, syntax, precision=12, BitsStored=stored)
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    assert decisions['depth'] == 12
    assert decisions['warnings'] == [f'BitsStored is {stored}; 12 is taken.']


def test_more_precision_than_stored_bits_does_no_harm(save):
    pixels = np.rint(SMOOTH * 4095).astype(np.uint16)
    path = save(pixels, JPEG2000Lossless, precision=16, BitsStored=12)
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    assert decisions['depth'] == 12


COLOURS = dict(
    SamplesPerPixel=3,
    PlanarConfiguration=0,
    Rows=SMOOTH.shape[0],
    Columns=SMOOTH.shape[1],
)


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('grey', [False, True])
def test_8_bits_that_are_said_to_be_7(save, write_dicom, compressed, grey):
    pixels = np.rint(SMOOTH * 255).astype(np.uint8)
    elements = dict(BitsStored=7)
    if not grey:
        pixels = np.stack([pixels] * 3, -1)
        elements |= dict(COLOURS, PhotometricInterpretation='YBR_FULL')
    if compressed:
        path = save(pixels, JPEGBaseline8Bit, jpeg(pixels), **elements)
    else:
        if not grey:
            pixels = np.array(Image.fromarray(pixels).convert('YCbCr'))
        path = write_dicom(pixels, **elements)
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    assert decisions['depth'] == 8
    assert decisions['warnings'] == ['BitsStored is 7; 8 is taken.']


@pytest.mark.parametrize('bits', [8, 12])
def test_a_palette_has_entries_for_all_bits(write_dicom, bits):
    count = 2**bits
    places = np.random.default_rng(0).permutation(count)
    entries = np.empty(count, '<u2')
    entries[places] = np.linspace(0, 65535, count)
    pixels = places[np.rint(SMOOTH * (count - 1)).astype(int)]
    pixels = pixels.astype(np.uint8 if bits == 8 else np.uint16)
    tables = {}
    for colour in ('Red', 'Green', 'Blue'):
        name = f'{colour}PaletteColorLookupTable'
        tables[f'{name}Descriptor'] = [count, 0, 16]
        tables[f'{name}Data'] = entries.tobytes()
    path = write_dicom(
        pixels,
        PhotometricInterpretation='PALETTE COLOR',
        BitsStored=bits - 2,
        **tables,
    )
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    assert decisions['warnings'] == [
        f'BitsStored is {bits - 2}; {bits} is taken.'
    ]


@pytest.mark.parametrize('grey', [False, True])
def test_a_damaged_jpeg_within_is_refused(save, grey):
    pixels = np.rint(SMOOTH * 255).astype(np.uint8)
    elements = {}
    if not grey:
        pixels = np.stack([pixels] * 3, -1)
        elements = dict(COLOURS, PhotometricInterpretation='YBR_FULL')
    frame = jpeg(pixels)
    half = frame.find(b'\xff\xda') + 80
    frame = frame[:half] + bytes(60) + frame[half + 60 :]
    path = save(pixels, JPEGBaseline8Bit, frame, **elements)
    with pytest.raises(ImageReadError, match='the JPEG is damaged inside'):
        read_xray(path)


def wrapped(bits, signed):
    """Noisy values around where the other sign would wrap."""
    rng = np.random.default_rng(0)
    values = (SMOOTH - 0.5) * 2 ** (bits - 1)
    values += rng.normal(0, 2 ** (bits - 8), SMOOTH.shape)
    values += 0 if signed else 2 ** (bits - 1)
    kind = f'{"i" if signed else "u"}{1 if bits == 8 else 2}'
    return np.rint(values).astype(kind)


@pytest.mark.parametrize('signed', [False, True])
@pytest.mark.parametrize('bits', [8, 12, 16])
def test_values_that_wrap_around_have_the_other_sign(
    write_dicom, bits, signed
):
    pixels = wrapped(bits, signed)
    elements = dict(BitsStored=bits)
    image, decisions = read_xray(
        write_dicom(pixels, **elements), decisions=True
    )
    assert not decisions['warnings']
    tag = int(not signed)
    path = write_dicom(pixels, PixelRepresentation=tag, **elements)
    wrong, decisions = read_xray(path, decisions=True)
    assert np.abs(wrong.astype(int) - image).max() <= 1
    assert decisions['warnings'][0] in (
        f'PixelRepresentation is {tag}; {1 - tag} is taken.',
        'BitsStored is 12; 13 is taken.',
    )


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('background', [0, 1])
def test_letters_and_air_are_no_wraps(write_dicom, bits, background):
    """Content of one half of the range next to values of its other end."""
    full = 2**bits
    rng = np.random.default_rng(0)
    low = full // 32 if background else full // 2 + full // 8
    pixels = (low + SMOOTH * full / 3).astype(int)
    pixels += rng.integers(0, full // 64, pixels.shape)
    pixels[10:30, 5:15] = pixels[40:, ::3] = (full - 1) * background
    path = write_dicom(pixels.astype('u1' if bits == 8 else 'u2'))
    assert not read_xray(path, decisions=True)[1]['warnings']


@pytest.mark.parametrize('stored', [12, 16])
def test_bytes_in_the_wrong_order_are_exchanged(write_dicom, stored):
    pixels = np.rint(SMOOTH * (2**stored - 1)).astype(np.uint16)
    path = write_dicom(pixels.byteswap(), BitsStored=stored)
    image, decisions = read_xray(path, decisions=True)
    assert_smooth(image)
    (warning,) = decisions['warnings']
    assert 'bytes' in warning and 'exchanged' in warning


@pytest.mark.parametrize('scale', [1, 256, 257])
def test_bytes_of_8_bits_in_16_stay(write_dicom, scale):
    pixels = np.rint(SMOOTH * 255).astype(np.uint16) * scale
    image, decisions = read_xray(write_dicom(pixels), decisions=True)
    assert_smooth(image)
    assert not decisions['warnings']
