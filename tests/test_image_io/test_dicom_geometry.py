"""Scale and directions of DICOM files."""

import pydicom
import pytest

from fx_mm.image_io.dicom_geometry import UNKNOWN, read_geometry


@pytest.fixture
def geometry(source):
    """Read the geometry of an X-ray with these elements."""
    return lambda **elements: read_geometry(str(source(**elements)))


def test_a_file_that_says_nothing(geometry):
    assert geometry() == UNKNOWN


def test_the_spacing_that_is_in_the_body_goes_first(geometry):
    found = geometry(PixelSpacing=[0.2, 0.1], ImagerPixelSpacing=[0.25, 0.125])
    assert found.spacing == (0.2, 0.1)
    assert found.spacing_from == 'PixelSpacing'


def test_the_detectors_spacing_is_named_as_such(geometry):
    """Also where it is written twice, unless it says how it was calibrated."""
    assert geometry(ImagerPixelSpacing=[0.2, 0.1]).spacing == (0.2, 0.1)
    twice = dict(PixelSpacing=[0.2, 0.1], ImagerPixelSpacing=[0.2, 0.1])
    for elements in (dict(ImagerPixelSpacing=[0.2, 0.1]), twice):
        assert geometry(**elements).spacing_from == 'ImagerPixelSpacing'
    found = geometry(PixelSpacingCalibrationType='FIDUCIAL', **twice)
    assert found.spacing_from == 'PixelSpacing'


@pytest.mark.parametrize('spacing', ([0, 0.1], [0.1], [0.1, 0.1, 0.1]))
def test_a_spacing_that_is_none_is_not_used(geometry, spacing):
    found = geometry(PixelSpacing=spacing, ImagerPixelSpacing=[0.2, 0.1])
    assert found.spacing_from == 'ImagerPixelSpacing'
    (note,) = found.notes
    assert 'PixelSpacing is no pair of lengths' in note


@pytest.mark.parametrize(
    'orientation, left_at',
    [(['L', 'F'], 'right'), (['R', 'F'], 'left'), (['LF', 'F'], 'right')],
)
def test_where_the_patients_left_is(geometry, orientation, left_at):
    found = geometry(PatientOrientation=orientation, ViewPosition='PA')
    assert (found.left_at, found.refusal) == (left_at, '')
    assert found.view == 'PA'


@pytest.mark.parametrize(
    'orientation, why',
    [
        (['P', 'F'], 'a lateral view'),
        (['L', 'H'], 'not upright'),
        (['F', 'L'], 'not upright'),
    ],
)
def test_directions_that_no_side_can_be_told_of(geometry, orientation, why):
    assert why in geometry(PatientOrientation=orientation).refusal


def test_a_lateral_view_is_refused(geometry):
    assert geometry(ViewPosition='LL').refusal


@pytest.mark.parametrize(
    'meaning, view, refused',
    [
        ('left lateral', '', True),
        ('antero-posterior', 'AP', False),
        ('postero-anterior', 'PA', False),
    ],
)
def test_a_view_that_is_a_code(geometry, meaning, view, refused):
    code = pydicom.Dataset()
    code.CodeMeaning = meaning
    found = geometry(ViewCodeSequence=[code])
    assert (found.view, bool(found.refusal)) == (view, refused)


def test_a_damaged_header_says_nothing(tmp_path):
    path = tmp_path / 'x.dcm'
    path.write_bytes(b'\0' * 128 + b'DICM' + b'\xff' * 9)
    found = read_geometry(str(path))
    assert found.spacing is None and found.left_at == ''


def test_half_an_orientation_is_none(source):
    path = source()
    whole = pydicom.dcmread(path)
    whole.PatientOrientation = 'L'
    whole.save_as(path)
    assert read_geometry(str(path)).left_at == ''
