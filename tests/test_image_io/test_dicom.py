import io
import os
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from fx_mm.image_io.dicom import decode_dicom
from fx_mm.image_io.xray import ImageReadError, UnreadableError, read_xray


@pytest.fixture
def deep(grey):
    """12-bit values in 16 bits; ``grey`` is what its range maps to."""
    return (100 + 14 * grey.astype(np.uint16)).astype(np.uint16)


def test_8_bit_stays(write_dicom):
    pixels = np.arange(40, 104, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(read_xray(write_dicom(pixels)), pixels)


def test_8_bit_with_identity_rescale_stays(write_dicom):
    pixels = np.arange(40, 104, dtype=np.uint8).reshape(8, 8)
    path = write_dicom(pixels, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(read_xray(path), pixels)


def test_8_bits_stored_in_16_stay(write_dicom):
    pixels = np.arange(40, 104, dtype=np.uint16).reshape(8, 8)
    path = write_dicom(pixels, BitsStored=8)
    np.testing.assert_array_equal(read_xray(path), pixels)


def test_12_bit_is_mapped_from_its_value_range(write_dicom, deep, grey):
    path = write_dicom(deep, BitsStored=12)
    np.testing.assert_array_equal(read_xray(path), grey)


def test_window(write_dicom):
    pixels = np.array([[0, 999, 1000], [1500, 2000, 4095]], np.uint16)
    path = write_dicom(
        pixels, BitsStored=12, WindowCenter=1500, WindowWidth=1001
    )
    # PS3.3 C.11.2.1.2.1: 1500 - 0.5 -+ 500 are the borders
    expected = [[0, 0, 0], [128, 255, 255]]
    np.testing.assert_array_equal(read_xray(path), expected)


def test_first_of_several_windows_counts(write_dicom, deep):
    one = write_dicom(deep, WindowCenter=900, WindowWidth=800)
    two = write_dicom(
        deep, 'b.dcm', WindowCenter=[900, 2000], WindowWidth=[800, 3000]
    )
    np.testing.assert_array_equal(read_xray(one), read_xray(two))


def test_window_functions(write_dicom):
    pixels = np.array([[400, 500, 600]], np.uint16)
    window = dict(WindowCenter=500, WindowWidth=200)
    exact = write_dicom(pixels, VOILUTFunction='LINEAR_EXACT', **window)
    np.testing.assert_array_equal(read_xray(exact), [[0, 128, 255]])
    sigmoid = write_dicom(pixels, VOILUTFunction='SIGMOID', **window)
    np.testing.assert_array_equal(read_xray(sigmoid), [[30, 128, 225]])


def test_window_of_width_1_is_a_threshold(write_dicom):
    pixels = np.array([[99, 100]], np.uint16)
    path = write_dicom(pixels, WindowCenter=100, WindowWidth=1)
    np.testing.assert_array_equal(read_xray(path), [[0, 255]])


def test_forbidden_window_is_not_used(write_dicom, deep, grey):
    path = write_dicom(deep, WindowCenter=100, WindowWidth=0)
    np.testing.assert_array_equal(read_xray(path), grey)


def test_window_is_in_rescaled_units(write_dicom, deep, grey):
    plain = write_dicom(deep, WindowCenter=1500, WindowWidth=1001)
    rescaled = write_dicom(
        deep,
        'b.dcm',
        RescaleSlope=2,
        RescaleIntercept=-1024,
        # the linear window's half-unit offsets scale with the slope
        WindowCenter=(1500 - 0.5) * 2 - 1024 + 0.5,
        WindowWidth=1000 * 2 + 1,
    )
    np.testing.assert_array_equal(read_xray(plain), read_xray(rescaled))


def test_negative_slope_inverts(write_dicom, deep, grey):
    path = write_dicom(deep, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_array_equal(read_xray(path), 255 - grey)
    path = write_dicom(grey, 'b.dcm', RescaleSlope=-1, RescaleIntercept=255)
    np.testing.assert_array_equal(read_xray(path), 255 - grey)


def test_signed(write_dicom, deep, grey):
    pixels = deep.astype(np.int16) - 2000
    assert pixels.min() < 0 < pixels.max()
    np.testing.assert_array_equal(read_xray(write_dicom(pixels)), grey)


@pytest.mark.parametrize('window', [{}, dict(WindowCenter=9, WindowWidth=6)])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16])
def test_monochrome1_is_the_exact_negative(write_dicom, grey, dtype, window):
    pixels = grey.astype(dtype) // 7
    one = write_dicom(
        pixels, 'a.dcm', PhotometricInterpretation='MONOCHROME1', **window
    )
    two = write_dicom(pixels, 'b.dcm', **window)
    np.testing.assert_array_equal(read_xray(one), 255 - read_xray(two))


@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
@pytest.mark.parametrize('window', [{}, dict(WindowCenter=9, WindowWidth=6)])
def test_inverse_presentation_inverts_once(
    write_dicom, grey, photometric, window
):
    plain = read_xray(write_dicom(grey // 7, 'a.dcm', **window))
    path = write_dicom(
        grey // 7,
        'b.dcm',
        PhotometricInterpretation=photometric,
        PresentationLUTShape='INVERSE',
        **window,
    )
    np.testing.assert_array_equal(read_xray(path), 255 - plain)
    path = write_dicom(
        grey // 7, 'c.dcm', PresentationLUTShape='IDENTITY', **window
    )
    np.testing.assert_array_equal(read_xray(path), plain)


@pytest.mark.parametrize('signed', [False, True])
def test_bits_that_are_not_stored_do_not_count(
    write_dicom, deep, grey, signed
):
    pixels = deep.astype(np.int32) - (2000 if signed else 0)
    dirty = (pixels & 0x0FFF | 0x5000).astype(np.uint16)
    path = write_dicom(dirty, BitsStored=12, PixelRepresentation=int(signed))
    np.testing.assert_array_equal(read_xray(path), grey)


def test_percentiles_stand_in_for_a_window_only(write_dicom, deep, grey):
    pixels = np.tile(deep, (8, 8))
    pixels[0, 0], pixels[0, 1] = 0, 65535
    path = write_dicom(pixels)
    read = read_xray(path, percentiles=(0.5, 99.5))
    assert np.abs(read[1:].astype(int) - np.tile(grey, (8, 8))[1:]).max() < 3
    assert np.ptp(read_xray(path)[1:]) < 20
    path = write_dicom(pixels, 'b.dcm', WindowCenter=1885, WindowWidth=3571)
    np.testing.assert_array_equal(
        read_xray(path, percentiles=(0.5, 99.5)), read_xray(path)
    )


def test_percentiles_do_not_count_padding(write_dicom, deep, grey):
    pixels = np.tile(deep, (4, 1))
    pixels[24:] = 0
    path = write_dicom(pixels)
    dataset = pydicom.dcmread(path)
    dataset.add_new('PixelPaddingValue', 'US', 0)
    dataset.save_as(path)
    read = read_xray(path, percentiles=(0, 100))
    np.testing.assert_array_equal(read[:24], grey)


def test_modality_lut(write_dicom):
    pixels = np.array([[0, 1, 2, 3, 9]], np.uint16)
    table = Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.LUTData = [1000, 3000, 2000, 1500]
    table.ModalityLUTType = 'US'
    table['LUTDescriptor'].VR = table['LUTData'].VR = 'US'
    path = write_dicom(pixels, ModalityLUTSequence=[table])
    np.testing.assert_array_equal(read_xray(path), [[0, 255, 128, 64, 64]])
    # the window is in the units of the table
    path = write_dicom(
        pixels,
        'b.dcm',
        ModalityLUTSequence=[table],
        WindowCenter=1500.5,
        WindowWidth=1001,
    )
    np.testing.assert_array_equal(read_xray(path), [[0, 255, 255, 128, 128]])


def test_palette_is_looked_up(write_dicom):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    values = np.array([10, 100, 250], np.uint16) * 257
    colours = {}
    for colour in ('Red', 'Green', 'Blue'):
        name = f'{colour}PaletteColorLookupTable'
        colours[f'{name}Descriptor'] = [3, 0, 16]
        colours[f'{name}Data'] = values.tobytes()
    path = write_dicom(
        indices, PhotometricInterpretation='PALETTE COLOR', **colours
    )
    np.testing.assert_array_equal(read_xray(path), [[10, 100], [250, 100]])


def test_big_endian(write_dicom, deep, grey, tmp_path):
    little = pydicom.dcmread(write_dicom(deep))
    dataset = Dataset()
    dataset.update({element.tag: element for element in little})
    dataset.file_meta = little.file_meta
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.preamble = little.preamble
    dataset.PixelData = deep.astype('>u2').tobytes()
    path = tmp_path / 'big.dcm'
    dataset.save_as(path)
    np.testing.assert_array_equal(read_xray(str(path)), grey)


def save_jpeg(write_dicom, image, syntax, form, **elements):
    """Write a compressed DICOM of a Pillow image."""
    file = io.BytesIO()
    image.save(file, form, **({} if form == 'jpeg2000' else {'quality': 95}))
    path = write_dicom(np.zeros(image.size[::-1], np.uint8), **elements)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([file.getvalue()])
    dataset['PixelData'].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
@pytest.mark.parametrize(
    ('syntax', 'form'), [(JPEGBaseline8Bit, 'jpeg'), (JPEG2000, 'jpeg2000')]
)
def test_lossy_jpeg_is_read(write_dicom, syntax, form, photometric):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    path = save_jpeg(
        write_dicom,
        Image.fromarray(smooth),
        syntax,
        form,
        PhotometricInterpretation=photometric,
    )
    read = read_xray(path).astype(int)
    expected = 255 - smooth if photometric == 'MONOCHROME1' else smooth
    assert np.abs(read - expected).max() <= 4
    data = Path(path).read_bytes()
    for cut in np.linspace(1, len(data) - 60, 30).astype(int):
        with pytest.raises(UnreadableError):
            decode_dicom(data[:cut])


def test_colour_jpeg_becomes_luminance(write_dicom):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    path = save_jpeg(
        write_dicom,
        Image.fromarray(smooth).convert('RGB'),
        JPEGBaseline8Bit,
        'jpeg',
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation='YBR_FULL_422',
    )
    assert np.abs(read_xray(path).astype(int) - smooth).max() <= 4


def test_missing_decoder_says_what_to_install(write_dicom, monkeypatch):
    image = Image.fromarray(np.zeros((8, 8), np.uint8))
    path = save_jpeg(write_dicom, image, JPEGLosslessSV1, 'jpeg')
    decoder = get_decoder(JPEGLosslessSV1)
    monkeypatch.setattr(decoder, '_available', {})
    with pytest.raises(ImageReadError) as info:
        read_xray(path)
    assert 'JPEG Lossless' in str(info.value)
    assert 'python-gdcm' in str(info.value)
    assert 'pip install pylibjpeg-libjpeg' in str(info.value)
    assert '\n' not in str(info.value)


def test_jpeg_of_12_bits_says_what_to_install(write_dicom, monkeypatch):
    path = write_dicom(np.zeros((8, 8), np.uint16), BitsStored=12)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([b'\xff\xd8\xff\xd9'])
    dataset['PixelData'].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    dataset.save_as(path)
    # Pillow and GDCM say that they decode it, but only with 8 bits
    decoder = get_decoder(JPEGExtended12Bit)
    monkeypatch.setattr(
        decoder, '_available', dict.fromkeys(('pillow', 'gdcm'))
    )
    with pytest.raises(ImageReadError) as info:
        read_xray(path)
    assert 'JPEG Extended' in str(info.value)
    assert 'with 12 bits' in str(info.value)
    assert 'pip install pylibjpeg-libjpeg' in str(info.value)
    assert 'gdcm' not in str(info.value)


def test_syntax_that_is_no_image_s_is_named(write_dicom, grey):
    path = write_dicom(grey)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.PixelData = encapsulate([grey.tobytes()])
    dataset['PixelData'].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(ImageReadError, match='MPEG2.*does not decode'):
        read_xray(path)


def test_padding_does_not_stretch_the_range(write_dicom, deep, grey):
    pixels = deep.copy()
    pixels[:2] = 0
    path = write_dicom(pixels)
    dataset = pydicom.dcmread(path)
    dataset.add_new('PixelPaddingValue', 'US', 0)
    dataset.save_as(path)
    read = read_xray(path)
    np.testing.assert_array_equal(read[2:], grey[2:])
    assert (read[:2] == 0).all()


def test_voi_lut(write_dicom):
    pixels = np.array([[0, 1, 2, 3, 9]], np.uint16)
    table = Dataset()
    table.LUTDescriptor = [4, 0, 12]
    table.LUTData = [1000, 3000, 2000, 1500]
    table['LUTDescriptor'].VR = table['LUTData'].VR = 'US'
    path = write_dicom(
        pixels, VOILUTSequence=[table], WindowCenter=1, WindowWidth=1
    )
    np.testing.assert_array_equal(read_xray(path), [[0, 255, 128, 64, 64]])


def test_colour_becomes_luminance(write_dicom, grey):
    planes = np.stack([grey] * 3, -1)
    path = write_dicom(
        planes,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation='RGB',
        Rows=grey.shape[0],
        Columns=grey.shape[1],
    )
    np.testing.assert_array_equal(read_xray(path), grey)


@pytest.mark.parametrize('syntax', [RLELossless, JPEG2000Lossless])
def test_compressed_equals_uncompressed(write_dicom, deep, grey, syntax):
    path = write_dicom(np.tile(deep, (4, 4)), BitsStored=12)
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_xray(path), np.tile(grey, (4, 4)))


def test_several_frames_are_refused(write_dicom):
    path = write_dicom(np.zeros((3, 4, 5), np.uint16), NumberOfFrames=3)
    with pytest.raises(ImageReadError, match='3 frames'):
        read_xray(path)


def test_missing_pixel_data_is_named(write_dicom, grey):
    path = write_dicom(grey, PixelData=None)
    with pytest.raises(ImageReadError, match='no pixel data'):
        read_xray(path)


def test_unknown_compression_is_one_sentence(write_dicom, grey):
    path = write_dicom(grey, PixelData=encapsulate([b'not an image']))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset['PixelData'].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(ImageReadError) as info:
        read_xray(path)
    assert str(info.value).startswith(f'{path}: the DICOM cannot be decoded')
    assert '\n' not in str(info.value)


def test_other_files_named_dcm_are_refused(tmp_path):
    path = tmp_path / 'a.dcm'
    path.write_bytes(b'no picture at all' * 40)
    with pytest.raises(ImageReadError, match='not a DICOM file|cannot be'):
        read_xray(str(path))


def test_file_without_preamble_is_read(write_dicom, tmp_path, grey):
    path = write_dicom(grey)
    dataset = pydicom.dcmread(path)
    bare = Dataset()
    bare.update(dict(dataset.items()))
    bare.save_as(tmp_path / 'b.dcm', implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_xray(str(tmp_path / 'b.dcm')), grey)


@pytest.mark.parametrize('compressed', [False, True])
def test_every_cut_off_file_is_refused(write_dicom, deep, compressed):
    path = write_dicom(np.tile(deep, (4, 4)))
    if compressed:
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEG2000Lossless)
        dataset.save_as(path)
    data = Path(path).read_bytes()
    for cut in np.linspace(1, len(data) - 1, 60).astype(int):
        if compressed and cut >= len(data) - 8:
            continue  # only the closing delimiter is lost, no pixels
        with pytest.raises(UnreadableError):
            decode_dicom(data[:cut])


def test_warnings_do_not_flood(write_dicom, grey):
    path = write_dicom(grey)
    dataset = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        dataset.add_new('PatientBirthDate', 'DA', 'not a date')
        dataset.save_as(path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        read_xray(path)


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=400))
def test_noise_is_refused_in_one_way(noise):
    with pytest.raises(UnreadableError):
        decode_dicom(b'\0' * 128 + b'DICM' + noise)


@pytest.mark.realdata
@pytest.mark.skipif(
    'FX_MM_REAL_DATA' not in os.environ, reason='needs FX_MM_REAL_DATA'
)
def test_real_pair_is_an_exact_negative():
    folder = Path(os.environ['FX_MM_REAL_DATA'], 'rsna')
    one = read_xray(str(folder / 'monochrome1.dcm'))
    (other,) = set(folder.glob('*.dcm')) - {folder / 'monochrome1.dcm'}
    two = read_xray(str(other))
    assert one.shape == two.shape == (1024, 1024)
    np.testing.assert_array_equal(one, 255 - two)
    # the field's border is dark where bone is bright
    assert two[:40].mean() < one[:40].mean()
