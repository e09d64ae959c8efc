"""What a DICOM says of its display is used where it fits the pixels."""

import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from fx_mm.image_io.xray import ImageReadError, read_xray

SIDE = 64
RAMP12 = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
RAMP8 = (RAMP12 % 256).astype(np.uint8)
SIGNED = (RAMP12.astype(np.int32) - 2048).astype(np.int16)
FULL = (np.arange(4096) / 4095 * 255).reshape(SIDE, SIDE)


@pytest.fixture
def read(write_dicom, tmp_path):
    """Write a DICOM and read it; ``raw`` are elements as bytes."""

    def call(pixels, raw=None, percentiles=None, **elements):
        if pixels.dtype == np.uint16:
            elements.setdefault('BitsStored', 12)
        path = write_dicom(pixels, **elements)
        if raw:
            put_raw(path, raw)
        image, decisions = read_xray(path, True, percentiles)
        assert image.shape == pixels.shape
        return image, decisions

    return call


def put_raw(path, raw):
    """Set elements to bytes that pydicom would not write."""
    with open(path, 'rb') as file:
        dataset = pydicom.dcmread(file)
    for keyword, value in raw.items():
        vr = 'DS'
        if isinstance(value, tuple):
            vr, value = value
        value += b' ' * (len(value) % 2)
        tag = pydicom.datadict.tag_for_keyword(keyword)
        dataset[tag] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True
        )
    dataset.save_as(path)


def table(first, count, bits, data, vr='US'):
    """An item of a LUT sequence."""
    item = Dataset()
    kind = 'US' if first >= 0 else 'SS'
    item.add_new('LUTDescriptor', kind, [count, first, bits])
    item.add_new('LUTData', 'OW' if isinstance(data, bytes) else vr, data)
    return item


def levels(image):
    return np.unique(image).size


@pytest.mark.parametrize(
    ('center', 'width', 'word'),
    [
        ('2048', '0', 'width 0'),
        ('2048', '-5', 'width -5'),
        ('2048', '0.5', 'width 0.5'),
        ('inf', '400', 'WindowCenter is "inf"'),
        ('2048', '1e999', 'WindowWidth is "1e999"'),
        ('nan', 'nan', 'WindowCenter is "nan"'),
        ('abc', '400', 'WindowCenter is "abc"'),
        ('2048,5', '4096', 'WindowCenter is "2048,5"'),
        ('', '4096', 'WindowCenter is empty'),
        ('2048', '', 'WindowWidth is empty'),
        ('', '', 'WindowCenter is empty'),
    ],
)
@pytest.mark.parametrize('pixels', [RAMP8, RAMP12], ids=['8', '12'])
def test_what_is_no_window_is_skipped(read, pixels, center, width, word):
    raw = dict(WindowCenter=center.encode(), WindowWidth=width.encode())
    image, decisions = read(pixels, raw)
    np.testing.assert_array_equal(image, read(pixels)[0])
    assert word in ' '.join(decisions['warnings'])


def test_a_window_needs_both_tags(read):
    for tags in (dict(WindowCenter=2048), dict(WindowWidth=4096)):
        image, decisions = read(RAMP12, **tags)
        np.testing.assert_array_equal(image, read(RAMP12)[0])
        assert 'window center' in decisions['warnings'][0]


@pytest.mark.parametrize(
    ('pixels', 'center', 'width'),
    [
        (RAMP8, 2048, 4096),  # of 12 bits
        (RAMP8, 512, 1024),  # of 10
        (RAMP8, -600, 1500),  # of a CT's lungs
        (RAMP8, 40000, 400),
        (RAMP12, 32768, 65536),
        (RAMP12, 8192, 16384),
        (RAMP12, 40, 400),  # of a CT's soft tissue
        (RAMP12, -600, 1500),
        (RAMP12, 40000, 400),
        (RAMP12, 2048, 10),
        (RAMP12, 2048, '1e6'),
        (RAMP12, '1e30', '1e30'),
        (SIGNED, -20000, 4096),
        (SIGNED, 0, 65536),
    ],
)
@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
def test_a_window_that_does_not_fit_gives_way(
    read, pixels, center, width, photometric
):
    image, decisions = read(
        pixels,
        WindowCenter=center,
        WindowWidth=width,
        PhotometricInterpretation=photometric,
    )
    assert levels(image) == 256
    assert decisions['mapping'] == 'value range'
    assert decisions['range'] == [pixels.min(), pixels.max()]
    (warning,) = decisions['warnings']
    assert 'does not fit the pixels' in warning
    inverted = photometric == 'MONOCHROME1'
    assert decisions['inverted'] == inverted
    darkest = np.unravel_index(pixels.argmin(), pixels.shape)
    assert image[darkest] == (255 if inverted else 0)


def chest(collimated=0.3, marker=True):
    """Noise as in a chest X-ray's body, a dark frame, a bright letter."""
    rng = np.random.default_rng(0)
    values = rng.normal(2000, 300, (96, 96)).clip(0, 4000)
    values[: int(collimated * 96)] = rng.integers(0, 60, 96)
    if marker:
        values[-6:, -6:] = 4095
    return values.astype(np.uint16)


@pytest.mark.parametrize(
    ('pixels', 'center', 'width'),
    [
        (RAMP12, 2048, 4096),
        (RAMP12, 2048, 3891),  # clips 5 %
        (RAMP12, 1500, 1001),
        (RAMP12, 2048, 8000),
        (RAMP8, 128, 256),
        (RAMP8, 128, 100),
        (SIGNED, 0, 4096),
        (SIGNED, -500, 2000),
        (chest(), 2000, 1200),
        (chest(), 2000, 400),
        (chest(), 2048, 4096),
        (chest(0.6), 2000, 1200),
        (chest(0), 2000, 1800),
        (np.full((8, 8), 1000, np.uint16), 1000, 400),
    ],
)
def test_a_window_that_fits_is_used(read, pixels, center, width):
    image, decisions = read(pixels, WindowCenter=center, WindowWidth=width)
    low = center - 0.5 - (width - 1) / 2
    expected = (pixels.astype(float) - low) * 255 / (width - 1)
    expected = np.rint(expected).clip(0, 255)
    assert np.abs(image - expected).max() <= 1
    assert decisions['mapping'] == 'window'
    assert decisions['range'] == [low, low + width - 1]
    assert not decisions['warnings']


def body(bits, dark_frame=False):
    """Noisy values from 0.1 to 0.6 of the range of so many bits."""
    rng = np.random.default_rng(0)
    values = np.add.outer(np.arange(96), np.arange(96)) / 190 * 0.5 + 0.1
    values += rng.normal(0, 0.02, (96, 96))
    if dark_frame:
        values[:40] = rng.uniform(0, 0.04, (40, 96))
    dtype = np.uint8 if bits == 8 else np.uint16
    return (values * (2**bits - 1)).astype(dtype)


@pytest.mark.parametrize(
    ('bits', 'center', 'width', 'dark_frame'),
    [
        (14, 2048, 4096, False),
        (12, 512, 1024, False),
        (16, 2048, 4096, True),
        (12, 300, 1500, False),  # of a CT's bones
        (8, 30, 60, False),
    ],
)
@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
def test_a_window_of_fewer_bits_gives_way(
    read, bits, center, width, dark_frame, photometric
):
    pixels = body(bits, dark_frame)
    image, decisions = read(
        pixels,
        WindowCenter=center,
        WindowWidth=width,
        BitsStored=bits,
        PhotometricInterpretation=photometric,
    )
    assert decisions['range'] == [pixels.min(), pixels.max()]
    assert levels(image) > 100
    (warning,) = decisions['warnings']
    assert 'would be white; it is not used' in warning


def test_a_window_that_may_be_of_fewer_bits_is_warned_of(read):
    pixels = body(12)
    pixels[::2] //= 4
    _, decisions = read(pixels, WindowCenter=530, WindowWidth=1060)
    assert decisions['mapping'] == 'window'
    (warning,) = decisions['warnings']
    assert 'may be of fewer bits than the pixels' in warning


@pytest.mark.parametrize(
    ('modality', 'center', 'width', 'word'),
    [
        ('DX', 3400, 2000, 'black'),
        ('CR', 950, 1300, 'white'),
        ('CR', 1600, 2600, None),
        ('CT', 3400, 2000, None),
    ],
)
def test_a_window_that_hides_most_of_an_x_ray_is_warned_of(
    read, modality, center, width, word
):
    pixels = np.random.default_rng(0).beta(2, 2, (96, 96)) * 4095
    image, decisions = read(
        pixels.astype(np.uint16),
        WindowCenter=center,
        WindowWidth=width,
        Modality=modality,
    )
    assert decisions['mapping'] == 'window'
    if word is None:
        assert not decisions['warnings']
    else:
        (warning,) = decisions['warnings']
        assert f'of the pixels not at the ends are {word}' in warning
        assert (image == dict(black=0, white=255)[word]).mean() > 0.5


@pytest.mark.parametrize('kind', ['VOI', 'Modality'])
def test_a_lut_of_fewer_bits_gives_way(read, kind):
    item = table(0, 1024, 10, list(range(1024)))
    pixels = body(12)
    image, decisions = read(pixels, **{f'{kind}LUTSequence': [item]})
    np.testing.assert_array_equal(image, read(pixels)[0])
    assert 'not used' in decisions['warnings'][0]


@pytest.mark.parametrize(
    ('centers', 'widths'),
    [
        ('40000\\2048', '400\\4096'),
        ('abc\\2048', '400\\4096'),
        ('\\2048', '\\4096'),
        ('nan\\2048', '1\\4096'),
        ('0\\2048', '-1\\4096'),
    ],
)
def test_the_first_window_that_fits_counts(read, centers, widths):
    raw = dict(WindowCenter=centers.encode(), WindowWidth=widths.encode())
    image, decisions = read(RAMP12, raw)
    assert decisions['mapping'] == 'window'
    assert decisions['range'] == [0, 4095]
    assert decisions['warnings']
    assert levels(image) == 256


def test_uneven_windows_are_warned_of(read):
    _, decisions = read(RAMP12, WindowCenter=[2048, 40], WindowWidth=4096)
    assert decisions['mapping'] == 'window'
    assert '2 window centers and 1 widths' in decisions['warnings'][0]


def test_window_functions_are_judged_too(read):
    tiny = dict(WindowCenter=2048, WindowWidth='0.0001')
    image, decisions = read(RAMP12, VOILUTFunction='SIGMOID', **tiny)
    np.testing.assert_array_equal(image, read(RAMP12)[0])
    assert 'does not fit' in decisions['warnings'][0]
    good = dict(WindowCenter=2048, WindowWidth=2000)
    image, decisions = read(RAMP12, VOILUTFunction='SIGMOID', **good)
    assert levels(image) > 200 and not decisions['warnings']
    image, decisions = read(RAMP12, VOILUTFunction='CUBIC', **good)
    assert 'VOILUTFunction is "CUBIC"' in decisions['warnings'][0]
    np.testing.assert_array_equal(image, read(RAMP12, **good)[0])


def test_percentiles_stand_in_for_a_window_that_does_not_fit(read):
    pixels = chest(0)
    image, decisions = read(
        pixels, WindowCenter=40000, WindowWidth=9, percentiles=(1, 99)
    )
    assert decisions['mapping'] == 'percentiles'
    plain, _ = read(pixels, percentiles=(1, 99))
    np.testing.assert_array_equal(image, plain)


@pytest.mark.parametrize(
    ('first', 'count', 'bits', 'data'),
    [
        (0, 4096, 12, list(range(4096))),
        (0, 4096, 8, [value // 16 for value in range(4096)]),
        (0, 4096, 12, np.arange(4096, dtype='<u2').tobytes()),
        (0, 4096, 8, (np.arange(4096) // 16).astype('u1').tobytes()),
        (0, 0, 16, [min(16 * value, 65520) for value in range(65536)]),
    ],
)
def test_voi_luts_of_all_forms(read, first, count, bits, data):
    image, decisions = read(
        RAMP12, VOILUTSequence=[table(first, count, bits, data)]
    )
    assert np.abs(image - FULL).max() <= 1
    assert decisions['mapping'] == 'VOI LUT'
    assert not decisions['warnings']


def test_voi_lut_of_signed_pixels(read):
    for first in (-2048, 2**16 - 2048):
        item = table(first, 4096, 12, list(range(4096)))
        image, decisions = read(SIGNED, VOILUTSequence=[item])
        assert np.abs(image - FULL).max() <= 1
        assert decisions['range'] == [-2048, 2047]


@pytest.mark.parametrize(
    ('item', 'word'),
    [
        (Dataset(), 'cannot be read'),
        (table(30000, 4096, 12, list(range(4096))), 'does not fit'),
        (table(0, 4096, 12, [5] * 4096), 'has one value'),
        (table(0, 0, 12, list(range(4096))), '4096 entries instead of 65536'),
        (table(0, 4096, 12, list(range(400))), '400 entries instead of 4096'),
    ],
)
@pytest.mark.parametrize('kind', ['VOI', 'Modality'])
def test_a_lut_that_cannot_be_used_is_skipped(read, item, word, kind):
    image, decisions = read(RAMP12, **{f'{kind}LUTSequence': [item]})
    np.testing.assert_array_equal(image, read(RAMP12)[0])
    (warning,) = decisions['warnings']
    if kind == 'Modality':
        word = word.replace('does not fit', '100% of the pixels are outside')
    assert word in warning


@pytest.mark.parametrize('kind', ['VOI', 'Modality'])
def test_a_lut_one_entry_short_is_used(read, kind):
    item = table(0, 4096, 12, list(range(4095)))
    image, decisions = read(RAMP12, **{f'{kind}LUTSequence': [item]})
    assert np.abs(image - FULL).max() <= 1
    assert '4095 entries instead of 4096' in decisions['warnings'][0]


def test_the_window_follows_a_voi_lut_that_does_not_fit(read):
    item = table(30000, 4096, 12, list(range(4096)))
    _, decisions = read(
        RAMP12, VOILUTSequence=[item], WindowCenter=2048, WindowWidth=4096
    )
    assert decisions['mapping'] == 'window'


def test_a_modality_lut_of_12_bits(read):
    inverse = list(range(4095, -1, -1))
    item = table(0, 4096, 12, inverse)
    image, decisions = read(RAMP12, ModalityLUTSequence=[item])
    assert np.abs(image - FULL[::-1, ::-1]).max() <= 1
    assert not decisions['warnings']


@pytest.mark.parametrize(
    ('slope', 'intercept', 'word'),
    [
        ('', '', 'RescaleSlope is empty'),
        ('2', '', 'no usable RescaleIntercept; 0'),
        ('', '5', 'no usable RescaleSlope; 1'),
        ('abc', '0', 'RescaleSlope is "abc"'),
        ('1,0', '0', 'RescaleSlope is "1,0"'),
        ('1', 'abc', 'RescaleIntercept is "abc"'),
        ('0', '0', 'RescaleSlope is 0'),
        ('nan', '0', 'RescaleSlope is "nan"'),
        ('1e300', '0', 'RescaleSlope is 1e+300'),
        ('1', '1e300', 'RescaleIntercept is 1e+300'),
    ],
)
def test_a_rescale_that_is_none_is_skipped(read, slope, intercept, word):
    raw = dict(
        RescaleSlope=slope.encode(), RescaleIntercept=intercept.encode()
    )
    for pixels in (RAMP8, RAMP12):
        image, decisions = read(pixels, raw)
        np.testing.assert_array_equal(image, read(pixels)[0])
        assert word in ' '.join(decisions['warnings'])


def test_the_window_is_in_units_of_a_lone_slope(read):
    image, decisions = read(
        RAMP12, RescaleSlope=2, WindowCenter=4096, WindowWidth=8192
    )
    assert decisions['mapping'] == 'window'
    assert np.abs(image - FULL).max() <= 1
    assert 'no usable RescaleIntercept; 0' in decisions['warnings'][0]


def test_a_rescale_of_a_ct_on_an_x_ray(read):
    image, decisions = read(
        RAMP8,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=500,
        WindowWidth=2000,
    )
    np.testing.assert_array_equal(image, RAMP8)
    assert decisions['range'] == [-1024, -769]
    assert 'does not fit' in decisions['warnings'][0]


@pytest.mark.parametrize(
    ('pixels', 'padding', 'tags'),
    [
        (SIGNED, -2000, dict(PixelPaddingValue=('US', 63536))),
        (SIGNED, -2000, dict(PixelPaddingValue=('SS', -2000))),
        (RAMP12, 63536, dict(PixelPaddingValue=('SS', -2000))),
        (RAMP12, 63536, dict(PixelPaddingValue=('US', 63536))),
        (
            RAMP12,
            63536,
            dict(
                PixelPaddingValue=('US', 63000),
                PixelPaddingRangeLimit=('US', 64000),
            ),
        ),
        (
            RAMP12,
            63536,
            dict(
                PixelPaddingValue=('SS', -1000),
                PixelPaddingRangeLimit=('SS', -3000),
            ),
        ),
    ],
)
def test_padding_of_either_sign(read, pixels, padding, tags):
    padded = pixels.copy()
    padded[:8] = padding
    raw = {}
    for keyword, (vr, value) in tags.items():
        dtype = np.int16 if vr == 'SS' else np.uint16
        raw[keyword] = vr, dtype(value).tobytes()
    image, decisions = read(padded, raw, BitsStored=16)
    assert decisions['range'] == [pixels[8:].min(), pixels.max()]
    np.testing.assert_array_equal(
        image[8:], read(pixels[8:], BitsStored=16)[0]
    )
    assert not decisions['warnings']


def test_padding_beyond_the_stored_bits(read):
    """-2000 of signed pixels of 12 bits, as 12 and as 16 bits."""
    padded = SIGNED.copy()
    padded[:8] = -2000
    for value in (2096, 63536):
        raw = dict(PixelPaddingValue=('US', np.uint16(value).tobytes()))
        _, decisions = read(padded, raw, BitsStored=12)
        assert decisions['range'][0] == SIGNED[8:].min()


@pytest.mark.parametrize(
    ('raw', 'word'),
    [
        (dict(PixelPaddingValue=b'abc'), 'PixelPaddingValue is "abc"'),
        (dict(PixelPaddingValue=b''), 'PixelPaddingValue is empty'),
        (
            dict(
                PixelPaddingValue=('US', b'\0\0'),
                PixelPaddingRangeLimit=('US', b'\xff\xff'),
            ),
            'would take all pixels',
        ),
    ],
)
def test_padding_that_is_none_is_skipped(read, raw, word):
    image, decisions = read(RAMP12, raw)
    np.testing.assert_array_equal(image, read(RAMP12)[0])
    assert word in decisions['warnings'][0]


@pytest.mark.parametrize(
    ('elements', 'word'),
    [
        (dict(PhotometricInterpretation=None), 'is missing; MONOCHROME2'),
        (dict(PhotometricInterpretation='GREY'), 'is GREY; MONOCHROME2'),
        (dict(SamplesPerPixel=None), 'SamplesPerPixel is missing; 1'),
        (dict(SamplesPerPixel=7), 'SamplesPerPixel is 7; 1'),
        (dict(PixelRepresentation=None), 'is missing; 0'),
        (dict(PresentationLUTShape='ROUND'), 'Shape is ROUND'),
    ],
)
def test_what_the_standard_demands_is_filled_in(read, elements, word):
    image, decisions = read(RAMP12, **elements)
    np.testing.assert_array_equal(image, read(RAMP12)[0])
    assert word in decisions['warnings'][0]


def test_small_letters_are_no_fault(read):
    image, decisions = read(RAMP12, PhotometricInterpretation='monochrome1')
    np.testing.assert_array_equal(image, 255 - read(RAMP12)[0])
    assert not decisions['warnings']


@pytest.mark.parametrize(
    ('stored', 'high', 'shift'),
    [(20, 19, 0), (0, 11, 0), (12, 7, 0), (12, 99, 0), (12, 15, 4)],
)
def test_bits_that_do_not_agree(write_dicom, stored, high, shift):
    path = write_dicom(RAMP12 << shift)
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = stored, high
    dataset.save_as(path)
    image, decisions = read_xray(path, True)
    assert np.abs(image - FULL).max() <= 1
    assert 'Bit' in decisions['warnings'][0]


def test_a_high_bit_above_fewer_stored_bits(write_dicom):
    path = write_dicom(RAMP12)
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = 8, 11
    dataset.save_as(path)
    image, decisions = read_xray(path, True)
    assert np.abs(image - FULL).max() <= 1
    assert decisions['depth'] == 12
    assert 'BitsStored is 8; 12' in decisions['warnings'][0]


@pytest.mark.parametrize(
    'keyword', ['Rows', 'BitsStored', 'BitsAllocated', 'PixelRepresentation']
)
def test_of_several_numbers_the_first_is_taken(read, write_dicom, keyword):
    first = pydicom.dcmread(write_dicom(RAMP12, BitsStored=12))[keyword].value
    several = np.array([first, 7], np.uint16).tobytes()
    image, decisions = read(RAMP12, {keyword: ('US', several)})
    np.testing.assert_array_equal(image, read(RAMP12)[0])
    assert f'{first}\\7; {first} is taken' in decisions['warnings'][0]


def test_a_modality_lut_of_few_levels_is_skipped(read):
    item = table(0, 4096, 12, [value // 1024 for value in range(4096)])
    image, decisions = read(RAMP12, ModalityLUTSequence=[item])
    np.testing.assert_array_equal(image, read(RAMP12)[0])
    assert 'leave 4 of 4096 grey levels' in decisions['warnings'][0]


@pytest.mark.parametrize('bits', [1, 4, 7])
def test_fewer_than_8_bits_are_stretched(read, bits):
    pixels = RAMP8 >> (8 - bits)
    image, decisions = read(pixels, BitsStored=bits)
    top = 2**bits - 1
    np.testing.assert_array_equal(image, np.rint(pixels / top * 255))
    assert decisions['range'] == [0, top]


@pytest.mark.parametrize('text', [b'x', b'', b'0'])
def test_number_of_frames_that_is_none(read, text):
    image, _ = read(RAMP12, dict(NumberOfFrames=('IS', text)))
    np.testing.assert_array_equal(image, read(RAMP12)[0])


def test_more_pixels_than_one_frame_are_refused(read):
    """A number of frames that is lost does not drop frames in silence."""
    with pytest.raises(ImageReadError, match='frame'):
        read(
            RAMP12,
            dict(NumberOfFrames=('IS', b'1A')),
            Rows=SIDE // 2,
        )


@pytest.fixture
def write_colors(write_dicom):
    """Write three equal channels."""

    def write(grey, **tags):
        return write_dicom(
            np.stack([grey] * 3, -1),
            SamplesPerPixel=3,
            PlanarConfiguration=0,
            PhotometricInterpretation='RGB',
            Rows=SIDE,
            Columns=SIDE,
            **tags,
        )

    return write


@pytest.mark.parametrize('depth', [12, 16])
def test_deep_colours_use_their_bits(write_colors, depth):
    grey = (RAMP12.astype(np.uint32) * (2**depth - 1) // 4095).astype('u2')
    path = write_colors(grey, BitsStored=depth)
    image, decisions = read_xray(path, True)
    assert np.abs(image - FULL).max() <= 1
    assert not decisions['warnings']


def test_colours_below_their_bits_are_stretched(write_colors):
    path = write_colors(RAMP12)
    image, decisions = read_xray(path, True)
    assert levels(image) == 256
    assert 'no value above 4095' in decisions['warnings'][0]


@pytest.mark.parametrize('bits', [7, 8])
def test_colours_of_few_bits_in_16(write_colors, bits):
    grey = (RAMP12 % 2**bits).astype(np.uint16)
    path = write_colors(grey, BitsStored=bits)
    image, decisions = read_xray(path, True)
    expected = np.rint(grey / (2**bits - 1) * 255)
    np.testing.assert_array_equal(image, expected)
    assert not decisions['warnings']


@pytest.mark.parametrize('stored', [8, 10, 12, 13])
@pytest.mark.parametrize('noisy', [False, True])
@pytest.mark.parametrize('signed', [False, True])
def test_values_above_the_stored_bits_count(read, stored, noisy, signed):
    smooth = np.add.outer(np.arange(96), np.arange(96)) * 80
    pixels = body(14) if noisy else smooth.astype(np.uint16)
    if signed:
        pixels = pixels.astype(np.int16) - 8192
    image, decisions = read(pixels, BitsStored=stored)
    np.testing.assert_array_equal(image, read(pixels, BitsStored=14)[0])
    assert decisions['depth'] == 14
    assert decisions['warnings'] == [f'BitsStored is {stored}; 14 is taken.']


@pytest.mark.parametrize('planes', [0x1000, 0x3000, 0xF000])
def test_overlays_above_the_stored_bits_do_not_count(read, planes):
    smooth = (body(12) // 64 + RAMP12.max() // 2).astype(np.uint16)
    rng = np.random.default_rng(0)
    overlay = rng.integers(0, 2**16, smooth.shape).astype(np.uint16) & planes
    overlay[:, 20:] = 0
    image, decisions = read(smooth | overlay)
    np.testing.assert_array_equal(image, read(smooth)[0])
    assert not decisions['warnings']


@pytest.mark.parametrize('size', [1, 12])
def test_a_picture_within_few_levels_is_warned_of(read, size):
    pixels = body(12)
    good = read(pixels, BitsStored=16)[1]
    pixels[0, :size] = 65535
    image, decisions = read(pixels, BitsStored=16)
    assert levels(image) >= 8
    assert not good['warnings']
    (warning,) = decisions['warnings']
    assert 'of the pixels lie within' in warning


def test_few_levels_of_many_are_warned_of(read):
    pixels = (RAMP12 % 300).astype(np.uint16)
    pixels[0, 0] = 65535
    image, decisions = read(pixels, BitsStored=16)
    assert levels(image) < 8
    assert 'Only 3 of 301 grey levels' in decisions['warnings'][0]


@pytest.mark.parametrize(
    ('pixels', 'elements', 'checksum'),
    [
        (RAMP8, {}, 2727420034),
        (RAMP12, {}, 3301767153),
        (SIGNED, {}, 3301767153),
        (RAMP12, dict(WindowCenter=2000, WindowWidth=3000), 778912553),
        (
            RAMP12,
            dict(WindowCenter=[2000, 9], WindowWidth=[3000, 9]),
            778912553,
        ),
        (SIGNED, dict(WindowCenter='-3.7', WindowWidth='1503.3'), 1970889782),
        (
            RAMP12,
            dict(
                RescaleSlope='1.37',
                RescaleIntercept='-1024',
                WindowCenter=1700,
                WindowWidth=5000,
            ),
            1713475668,
        ),
        (RAMP12, dict(RescaleSlope='-1', RescaleIntercept='4095'), 4068774122),
        (
            RAMP12,
            dict(
                VOILUTFunction='SIGMOID', WindowCenter=2048, WindowWidth=1800
            ),
            242496900,
        ),
        (
            RAMP12,
            dict(
                VOILUTFunction='LINEAR_EXACT',
                WindowCenter=2048,
                WindowWidth=1800,
            ),
            1509759078,
        ),
        (
            RAMP12,
            dict(
                VOILUTSequence=[
                    table(100, 3000, 14, [int(v**1.1) for v in range(3000)])
                ]
            ),
            1571191083,
        ),
        (chest(), dict(WindowCenter=2000, WindowWidth=1200), 206806213),
        (chest(), dict(PhotometricInterpretation='MONOCHROME1'), 3728097854),
    ],
)
def test_good_files_keep_their_bytes(read, pixels, elements, checksum):
    """Checksums of the reader before windows were judged."""
    image, decisions = read(pixels, **elements)
    assert not decisions['warnings']
    assert zlib.crc32(image.tobytes()) == checksum
