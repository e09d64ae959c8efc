"""What is written of predictions, read back with highdicom and pydicom."""

import hashlib
import logging
import sys
import warnings

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_fixtures import MASKS, PATIENT, grey_values, predictions
from drawn_chests import as_result, plain_chest
from highdicom.sr import ComprehensiveSR

from fx_mm.analysis.image_report.measurements import measure
from fx_mm.apis import ImageResult, read_xray
from fx_mm.dicom_out import DicomDelivery, DicomResults, DicomWeb, SourceError
from fx_mm.dicom_out.delivery import to_bytes
from fx_mm.dicom_out.source import read_source
from fx_mm.image_io.dicom_geometry import read_geometry
from fx_mm.utils.errors import UserError
from fx_mm.version import __version__


def read_back(dataset, tmp_path):
    path = tmp_path / 'back.dcm'
    path.write_bytes(to_bytes(dataset))
    return path


def groups(dataset, tmp_path):
    """Finding, quantity, value and region of each group of a report."""
    report = ComprehensiveSR.from_dataset(
        pydicom.dcmread(read_back(dataset, tmp_path))
    )
    found = []
    content = report.content
    for group in (
        *content.get_image_measurement_groups(),
        *content.get_planar_roi_measurement_groups(),
    ):
        (number,) = group.get_measurements()
        region = None
        if hasattr(group, 'roi'):
            region = group.roi
        found.append(
            (
                group.finding_type.meaning,
                number.name.meaning,
                number.value,
                region,
            )
        )
    return found


def test_no_box_and_empty_masks(source, make, tmp_path):
    """As of most chest X-rays: said so, and nothing is drawn."""
    made = make(predictions(source(), boxes=0, masks=False))
    assert [*made] == ['a_seg_segmentation', 'report', 'boxes']
    masks = hd.seg.segread(read_back(made['a_seg_segmentation'], tmp_path))
    assert masks.number_of_segments == len(MASKS)
    assert not masks.pixel_array.any()
    assert 'GraphicAnnotationSequence' not in made['boxes']
    found = groups(made['report'], tmp_path)
    counts = [each for each in found if each[1] == 'Number of lesions']
    assert [each[2] for each in counts] == [0, 0]
    areas = [each for each in found if each[1] == 'Area']
    assert [each[2:] for each in areas] == 4 * [(0, None)]


def test_masks_lie_on_the_pixels_of_the_source(source, make, tmp_path):
    """Also of an inverted one, whose header turns nothing."""
    path = source(
        PhotometricInterpretation='MONOCHROME1', PixelSpacing=[0.2, 0.1]
    )
    result = predictions(path)
    made = make(result)['a_seg_segmentation']
    back = hd.seg.segread(read_back(made, tmp_path))
    frames = back.get_pixels_by_source_instance(
        [pydicom.dcmread(path).SOPInstanceUID], segment_numbers=[1, 2, 3, 4]
    )
    assert frames.shape == (1, 40, 60, 4)
    masks = result['a/seg'].masks
    np.testing.assert_array_equal(frames[0].transpose(2, 0, 1), masks)


def test_segments_say_what_they_are(source, make):
    made = make(predictions(source()))['a_seg_segmentation']
    lung, rib, nodule, strange = made.SegmentSequence
    assert lung.SegmentedPropertyTypeCodeSequence[0].CodeValue == '44029006'
    (kind,) = rib.SegmentedPropertyTypeCodeSequence
    assert kind.CodeMeaning == 'Third rib'
    (side,) = kind.SegmentedPropertyTypeModifierCodeSequence
    assert side.CodeMeaning == 'Right'
    (category,) = nodule.SegmentedPropertyCategoryCodeSequence
    assert category.CodeMeaning == 'Morphologically Abnormal Structure'
    (local,) = strange.SegmentedPropertyTypeCodeSequence
    assert local.CodingSchemeDesignator == '99FX_MM'
    assert [s.SegmentLabel for s in made.SegmentSequence] == [*MASKS]
    (by,) = lung.SegmentationAlgorithmIdentificationSequence
    digest = hashlib.sha256(b'weights').hexdigest()
    assert by.AlgorithmName == 'fx_mm FoundationX'
    assert by.AlgorithmVersion == f'{__version__}+{digest[:16]}'
    assert 'checkpoint=iter_7.pth' in by.AlgorithmParameters
    assert f'sha256={digest}' in by.AlgorithmParameters


def test_patient_and_study_are_the_sources(source, make, tmp_path):
    """And their characters, whatever set the source had."""
    path = source()
    image = pydicom.dcmread(path)
    made = make(predictions(path))
    series = set()
    for each in made.values():
        back = pydicom.dcmread(read_back(each, tmp_path))
        for keyword in PATIENT:
            if keyword not in (
                'SeriesInstanceUID', 'Modality', 'SpecificCharacterSet',
            ):  # fmt: skip
                assert back[keyword].value == image[keyword].value, keyword
        assert back.SpecificCharacterSet == 'ISO_IR 192'
        assert str(back.PatientName) == 'Müller^Änne'
        assert image.SOPInstanceUID in str(back)
        series.add(back.SeriesInstanceUID)
    assert len(series) == 3 and image.SeriesInstanceUID not in series


def test_report(source, make, tmp_path):
    path = source(PixelSpacing=[0.5, 0.2])
    found = groups(make(predictions(path))['report'], tmp_path)
    plain = [each[:3] for each in found]
    assert ('Nodule', 'Certainty of Finding', 25.0) in plain
    assert ('No finding', 'Certainty of Finding', 50.0) in plain
    assert ('Cardiothoracic ratio', 'Cardiothoracic ratio', 0.5) in plain
    assert ('Pneumothorax', 'Number of lesions', 1.0) in plain
    assert ('Left lung', 'Area', pytest.approx(17 * 4 * 0.1)) in plain
    assert ('Third rib', 'Area', 0.0) in plain
    boxes = {
        each[0]: each[3].value
        for each in found
        if each[1] == 'Certainty of Finding' and each[3] is not None
    }
    np.testing.assert_allclose(
        boxes['Pneumothorax'],
        [(5.5, 2), (20, 2), (20, 30), (5.5, 30), (5.5, 2)],
    )
    # what is outside of the image is cut off
    assert boxes['Nodule'].min() == 0 and boxes['Nodule'].max() == 60


def measured_groups(dataset, tmp_path):
    """Finding to its numbers with their units, and its site, per group."""
    report = ComprehensiveSR.from_dataset(
        pydicom.dcmread(read_back(dataset, tmp_path))
    )
    found = []
    for group in (
        *report.content.get_image_measurement_groups(),
        *report.content.get_planar_roi_measurement_groups(),
    ):
        numbers = {
            m.name.meaning: (m.value, m.unit.value)
            for m in group.get_measurements()
        }
        sites = [
            (site.topographical_modifier, site.value.meaning, site.laterality)
            for site in group.finding_sites
        ]
        found.append((group.finding_type.meaning, numbers, sites))
    return found


def test_measurements_of_a_report_are_in_the_sr(source, make, tmp_path):
    path = source(PixelSpacing=[0.5, 0.25], PatientOrientation=['L', 'F'])
    result = predictions(path)
    measured = measure(result, read_geometry(str(path)))
    found = measured_groups(make(result, measured)['report'], tmp_path)
    (box,) = [n for f, n, _ in found if f == 'Pneumothorax' and 'Width' in n]
    assert box['Certainty of Finding'][1] == '%'
    assert box['Width'] == (pytest.approx(14.5 * 0.25, abs=1e-4), 'mm')
    assert box['Height'] == (pytest.approx(14), 'mm')
    (piece,) = [g for g in found if 'Area' in g[1] and 'Width' in g[1]]
    assert piece[0] == 'Nodule'
    assert piece[1]['Area'] == (pytest.approx(30 * 0.125), 'mm2')
    ((_, where, side),) = piece[2]
    assert (where, side.meaning) == ('Lung', 'Left')


def test_lengths_at_the_detector_are_pixels_in_the_sr(source, make, tmp_path):
    path = source(ImagerPixelSpacing=[0.5, 0.25])
    result = predictions(path)
    measured = measure(result, read_geometry(str(path)))
    found = measured_groups(make(result, measured)['report'], tmp_path)
    (box,) = [n for f, n, _ in found if f == 'Pneumothorax' and 'Width' in n]
    assert box['Width'] == (pytest.approx(14.5), '{pixels}')


def test_heart_and_lungs_in_the_sr(source, make, tmp_path):
    path = source(pixels=np.zeros((100, 100), np.uint16))
    nodule = np.zeros((100, 100), bool)
    nodule[22:30, 70:82] = True
    _, reading = read_xray(str(path), True)
    result = as_result(plain_chest(), [nodule], str(path), reading)
    measured = measure(result)
    found = measured_groups(make(result, measured)['report'], tmp_path)
    chest = [(f, n) for f, n, _ in found]
    assert ('Cardiothoracic ratio', {'Cardiothoracic ratio': (0.5, '1')}) in (
        chest
    )
    assert ('Heart', {'Width': (40, '{pixels}')}) in chest
    assert ('Thoracic structure', {'Width': (80, '{pixels}')}) in chest
    sites = {(w, s and s.meaning) for _, _, sites in found
             for _, w, s in sites}  # fmt: skip
    assert sites == {('Upper zone of lung', 'Left')}
    # what is not measured is left out
    result['a/seg'].masks[0] = False
    found = measured_groups(make(result, measure(result))['report'], tmp_path)
    names = [n for _, numbers, _ in found for n in numbers]
    assert 'Cardiothoracic ratio' not in names


def test_numbers_that_are_not_finite_are_left_out(source, make, tmp_path):
    result = predictions(source())
    result['a/cls'].scores[0] = np.nan
    result['a/reg'].values[0] = np.inf
    result['a/loc'].boxes[0, 2] = np.nan
    result['a/loc'].scores[1] = np.nan
    made = make(result)
    names = [each[:2] for each in groups(made['report'], tmp_path)]
    assert ('No finding', 'Certainty of Finding') in names
    assert ('Nodule', 'Certainty of Finding') not in names
    assert not [n for n in names if 'ratio' in n[0]]
    assert 'GraphicAnnotationSequence' not in made['boxes']


def test_presentation_state(source, make):
    path = source()
    state = make(predictions(path))['boxes']
    (annotation,) = state.GraphicAnnotationSequence
    first, second = annotation.GraphicObjectSequence
    assert first.GraphicType == 'POLYLINE' and first.GraphicFilled == 'N'
    assert first.GraphicData == [5.5, 2, 20, 2, 20, 30, 5.5, 30, 5.5, 2]
    assert first.GraphicAnnotationUnits == 'PIXEL'
    texts = [
        each.UnformattedTextValue for each in annotation.TextObjectSequence
    ]
    assert texts == ['Pneumothorax 0.90', 'Nodule 0.40']
    assert second.GraphicData[0] == 0


def test_a_colour_image(source, make):
    pixels = np.repeat(grey_values().astype(np.uint8)[..., None], 3, axis=2)
    path = source(
        pixels=pixels,
        Rows=40,
        Columns=60,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation='RGB',
    )
    assert [*make(predictions(path))] == ['a_seg_segmentation', 'report']


def test_objects_are_for_dicom_alone(make):
    assert make(ImageResult('array 0', reading=dict(format='array'))) == {}
    png = ImageResult('a.png', 'a.png', reading=dict(format='PNG'))
    assert make(png) == {}


@pytest.mark.parametrize('keyword', ('StudyInstanceUID', 'SeriesInstanceUID'))
@pytest.mark.parametrize(
    'value', (None, '', 'my study', '1..2.', '1.2.03', '1.' + 32 * '22')
)
def test_a_source_without_its_uids_is_refused(source, make, keyword, value):
    path = source()
    whole = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        setattr(whole, keyword, value)
    if value is None:
        delattr(whole, keyword)
    whole.save_as(path)
    with pytest.raises(SourceError, match=f'no valid {keyword}'):
        make(predictions(path))


def test_another_pixel_grid_is_refused(source, make):
    result = predictions(source())
    result.size = (60, 40)
    with pytest.raises(SourceError, match='40x60 pixels and its predictions'):
        make(result)


def test_malformed_elements_are_left_out(source, make, log):
    """And no value of them, nor a name, goes to the log."""
    path = source()
    whole = pydicom.dcmread(path)
    with pytest.warns(UserWarning):
        whole.PatientBirthDate = 'yesterday'
        whole.StudyTime = 'noon'
        whole.PatientSex = 'unknown, perhaps'
        whole.PatientAge = 'old'
        whole.PatientName = 'A=B=C=D^1^2^3^4^5^6'
    for keyword in ('PatientID', 'AccessionNumber', 'StudyID'):
        delattr(whole, keyword)
    whole.save_as(path)
    log.clear()
    log.set_level(logging.DEBUG)
    source_header = read_source(path)
    assert source_header.PatientBirthDate == source_header.StudyTime == ''
    assert source_header.PatientSex == source_header.PatientID == ''
    assert 'PatientAge' not in source_header
    made = make(predictions(path))
    assert len(made) == 3
    left_out = 'PatientBirthDate, StudyTime, PatientSex, PatientAge.'
    assert f'left out of its DICOM results: {left_out}' in log.text
    for secret in ('yesterday', 'noon', 'perhaps', 'A=B'):
        assert secret not in log.text


def change(path, **values):
    whole = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for keyword, value in values.items():
            setattr(whole, keyword, value)
        whole.save_as(path)


def test_texts_of_several_values_and_long_ones(source, log):
    path = source()
    change(
        path,
        PatientName=['Doe', 'Roe'],
        AccessionNumber='A' * 17,
        StudyID='1' * 16,
        StudyDescription='x' * 65,
    )
    header = read_source(path)
    # half a number would be that of another order
    assert header.PatientName == header.AccessionNumber == ''
    assert header.StudyID == '1' * 16
    assert 'StudyDescription' not in header
    assert 'AccessionNumber, StudyDescription, PatientName' in log.text
    for secret in ('AAA', 'xxx', 'Doe'):
        assert secret not in log.text
    change(path, PatientName='Doe^' + 'J' * 61, StudyDescription='x' * 64)
    header = read_source(path)
    assert header.PatientName == ''
    assert header.StudyDescription == 'x' * 64


@pytest.mark.parametrize('value', (['A', 'B'], 'A' * 65))
def test_results_are_never_of_no_patient(source, value):
    path = source()
    change(path, PatientID=value)
    with pytest.raises(SourceError, match='PatientID that is not valid'):
        read_source(path)


def test_delivery_to_a_folder(source, make, tmp_path, log):
    checkpoint = tmp_path / 'iter_7.pth'
    results = DicomResults('FoundationX', checkpoint, codes={})
    deliver = DicomDelivery(results, str(tmp_path / 'out'))
    deliver(predictions(source()), 'sub/image')
    deliver(ImageResult('a.png', 'a.png', reading={}), 'a')
    assert deliver.counts == {'made': 1, 'no DICOM': 1}
    assert sorted(path.name for path in tmp_path.glob('out/sub/*')) == [
        'image_a_seg_segmentation.dcm',
        'image_boxes.dcm',
        'image_report.dcm',
    ]
    with pytest.raises(UserError, match='give another folder'):
        DicomDelivery(results, str(checkpoint))(predictions(source()), 'a')


def test_missing_packages_are_named(tmp_path, monkeypatch):
    for name in ('highdicom', 'dicomweb_client', 'dicomweb_client.web'):
        monkeypatch.setitem(sys.modules, name, None)
    said = r'package "{}"; run: pip install "onedl-fx-mm\[dicom\]"'
    with pytest.raises(UserError, match=said.format('highdicom')):
        DicomResults('FoundationX', tmp_path / 'iter_7.pth')
    with pytest.raises(UserError, match=said.format('dicomweb_client')):
        DicomWeb('dicomweb://host/path')


def test_codes_of_a_config_are_checked_at_once(tmp_path):
    checkpoint = tmp_path / 'iter_7.pth'
    checkpoint.write_bytes(b'weights')
    with pytest.raises(UserError, match='dicom_codes'):
        DicomResults('FoundationX', checkpoint, codes={'A': {}})
