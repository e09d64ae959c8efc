"""What raw files are made of: codes, outlines, image files, cases."""

import zlib

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fx_mm.phantom.class_meanings import means, report_label
from fx_mm.phantom.mask_encoding import encode_runs, outline
from fx_mm.phantom.raw_image_files import (
    save_dicom,
    save_image,
    save_meta_image,
    save_raw,
)
from fx_mm.phantom.raw_writer import draw_raw_cases

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def decode(code, height, width, column_major, relative):
    """Read a code as the competitions' discussions do."""
    flat = np.zeros(height * width, bool)
    numbers = [int(number) for number in code.split()]
    end = 0
    for start, length in zip(numbers[::2], numbers[1::2]):
        start = end + start if relative else start - 1
        end = start + length
        flat[start:end] = True
    if column_major:
        return flat.reshape(width, height).T
    return flat.reshape(height, width)


@pytest.fixture
def grey_image():
    """Grey values of 48x40 pixels, smooth enough for JPEG."""
    ramp = np.add.outer(np.arange(48) * 3, np.arange(40) * 2)
    ramp[0, :2] = 0, 255
    return ramp.astype(np.uint8)


def test_empty_mask_has_an_empty_code():
    assert encode_runs(np.zeros((3, 4), bool), True, True) == ''


@pytest.mark.parametrize(
    'column_major, relative, code',
    [
        (True, True, '3 2 1 1'),
        (True, False, '4 2 7 1'),
        (False, True, '1 2 1 1'),
        (False, False, '2 2 5 1'),
    ],
)
def test_dialects_of_one_mask(column_major, relative, code):
    mask = np.array([[0, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
    assert encode_runs(mask, column_major, relative) == code


@given(MASKS, st.booleans(), st.booleans())
def test_codes_are_read_back(mask, column_major, relative):
    code = encode_runs(mask, column_major, relative)
    again = decode(code, *mask.shape, column_major, relative)
    assert np.array_equal(again, mask)


@settings(max_examples=30)
@given(
    st.tuples(st.integers(8, 24), st.integers(8, 24)),
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
    st.integers(0, 180),
)
def test_outline_encloses_the_mask(centre, radii, angle):
    mask = np.zeros((32, 32), np.uint8)
    cv2.ellipse(mask, centre, radii, angle, 0, 360, 1, -1)
    again = np.zeros((32, 32), np.uint8)
    cv2.fillPoly(again, [np.array(outline(mask > 0))], 1)
    assert np.array_equal(again, mask)


@pytest.mark.parametrize('codec', [None, 'jpeg2000'])
@pytest.mark.parametrize('inverse', [False, True])
@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_dicom_shows_the_image(tmp_path, grey_image, bits, inverse, codec):
    path = tmp_path / 'x.dcm'
    save_dicom(
        path, grey_image, '2.25.1', dict(PatientSex='F'), bits, inverse, codec
    )
    data = pydicom.dcmread(path)
    assert (data.BitsStored, data.PatientSex) == (bits, 'F')
    assert data.SOPInstanceUID == '2.25.1'
    values = data.pixel_array.astype(float)
    assert values.max() < 2**bits
    if bits > 8:
        # PS3.3, C.11.2.1.2: the linear window function
        middle, width = float(data.WindowCenter), float(data.WindowWidth)
        values = 255 * ((values - middle + 0.5) / (width - 1) + 0.5)
    if data.PhotometricInterpretation == 'MONOCHROME1':
        values = 255 - values
    assert (data.PhotometricInterpretation == 'MONOCHROME1') == inverse
    assert np.abs(values - grey_image).max() < 1e-3


def test_jpeg_dicom_shows_about_the_image(tmp_path, grey_image):
    path = tmp_path / 'x.dcm'
    save_dicom(path, grey_image, '2.25.1', {}, codec='jpeg')
    data = pydicom.dcmread(path)
    assert data.file_meta.TransferSyntaxUID.is_compressed
    assert np.abs(data.pixel_array - grey_image.astype(int)).mean() < 2


@pytest.mark.parametrize('compress', [False, True])
def test_meta_image(tmp_path, grey_image, compress):
    save_meta_image(tmp_path / 'x.mha', grey_image, compress)
    content = (tmp_path / 'x.mha').read_bytes()
    mark = b'ElementDataFile = LOCAL\n'
    header, values = content.split(mark, 1)
    fields = dict(line.split(' = ') for line in header.decode().splitlines())
    assert fields['CompressedData'] == str(compress)
    if compress:
        assert int(fields['CompressedDataSize']) == len(values)
        values = zlib.decompress(values)
    width, height = map(int, fields['DimSize'].split())
    again = np.frombuffer(values, '<u2').reshape(height, width)
    assert np.array_equal(again, grey_image.astype(int) * 16)


def test_raw_densities_are_low_where_the_image_is_bright(tmp_path):
    image = np.array([[0, 255], [1, 128]], np.uint8)
    save_raw(tmp_path / 'x.IMG', image)
    values = np.fromfile(tmp_path / 'x.IMG', '>u2')
    assert values.tolist() == [4095, 15, 4079, 2047]


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', '1'])
def test_png_modes(tmp_path, grey_image, mode):
    mask = grey_image > 99
    save_image(tmp_path / 'x.png', mask if mode == '1' else grey_image, mode)
    picture = Image.open(tmp_path / 'x.png')
    assert picture.mode == mode
    again = np.asarray(picture)
    if mode == '1':
        assert np.array_equal(again, mask)
    else:
        first = again if mode == 'L' else again[..., 0]
        assert np.array_equal(first, grey_image)


def test_reports_have_doubts_and_gaps():
    values = {
        (
            found,
            report_label('Edema', {'Cardiomegaly'} if found else (), str(key)),
        )
        for found in (False, True)
        for key in range(50)
    }
    assert values == {(False, None), (False, 0.0), (True, 1.0), (True, -1.0)}
    normal = {report_label('No Finding', (), str(key)) for key in range(50)}
    assert normal == {1.0}
    assert not means('No Finding', {'Mass'})


def test_studies_share_findings_and_patients_do_not_cross_splits():
    cases = draw_raw_cases('mimic_cxr', dict(train=20, val=6, test=6), size=32)
    splits, studies = {}, {}
    for case in cases:
        splits.setdefault(case.patient, set()).add(case.split)
        studies.setdefault((case.patient, case.study), []).append(case)
    assert all(len(split) == 1 for split in splits.values())
    assert len(splits) < len(studies) < len(cases)
    assert [case.number for case in cases] == list(range(1, len(cases) + 1))
    for views in studies.values():
        drawn = set().union(
            *({name for name, _ in case.phantom.boxes} for case in views)
        )
        assert all(case.findings == drawn for case in views)
        assert len({(case.sex, case.age) for case in views}) == 1
        assert [case.position == 'LATERAL' for case in views] == (
            [False, True][: len(views)]
        )


def test_more_images_leave_the_first_ones_alone():
    few = draw_raw_cases('rsna', dict(train=3, val=0, test=2), size=32)
    many = draw_raw_cases('rsna', dict(train=8, val=0, test=2), size=32)
    for first, second in zip(few, many):
        assert first.key == second.key
        assert np.array_equal(first.phantom.image, second.phantom.image)
