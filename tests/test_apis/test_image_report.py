"""Reports of images: readings, files, prior images, and tools/predict.py."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn_chests import as_result, plain_chest

from fx_mm.apis.image_report import ImageReporter, choose_prior
from fx_mm.apis.image_sources import ImageSource
from fx_mm.apis.prior_image import check_same_patient
from fx_mm.apis.readings import other_readings
from fx_mm.utils.errors import UserError

NODULE = np.zeros((100, 100), bool)
NODULE[22:30, 70:82] = True
GREY = np.zeros((100, 100), np.uint8)
GREY[NODULE] = 200
GREY[0, :3] = 1, 64, 255


class StandIn:
    """Predicts a plain chest, and a nodule where the image is bright."""

    checkpoint = 'iter_7.pth'
    predict_on = 'teacher'

    def __init__(self, predictors=('teacher', 'student')):
        self.model = SimpleNamespace(predictors=predictors, using=self._using)
        self.seen = []

    @contextlib.contextmanager
    def _using(self, name):
        before, self.predict_on = self.predict_on, name
        yield
        self.predict_on = before

    def pipeline(self, source):
        pixels, reading = source.read()
        self.seen.append((self.predict_on, pixels))
        pad = (len(pixels) - 100) // 2
        organs = np.pad(plain_chest(), ((0, 0), (pad, pad), (pad, pad)))
        bright = pixels > 150
        bright[:5] = False
        result = as_result(organs, [bright], source.path, reading)
        return SimpleNamespace(result=result)

    def forward(self, batch):
        return batch

    def iterate(self, inputs):
        for origin in inputs:
            yield self.pipeline(ImageSource('x', Path('x'), origin)).result


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'chest.png'
    cv2.imwrite(str(path), GREY)
    return ImageSource('chest.png', Path('chest.png'), str(path))


def dicom(source, name, **elements):
    path = str(source(name, pixels=GREY, **elements))
    return ImageSource(name, Path(name), path)


def report_of(reporter, infer, image, folder):
    (result,) = infer.iterate([image.origin])
    found = reporter.measure(image, result)
    reporter.save(image, result, found, folder)
    text = (folder / 'report.txt').read_text()
    return text, json.loads((folder / 'report.json').read_text())


def test_readings_are_of_the_other_model_and_of_views(image):
    infer = StandIn()
    found = other_readings(infer, image, (100, 100))
    assert [*found] == ['student', 'margin', 'brighter', 'darker']
    who, pixels = zip(*infer.seen)
    assert who == ('student', 'teacher', 'teacher', 'teacher')
    assert infer.predict_on == 'teacher'
    assert [len(each) for each in pixels] == [100, 104, 100, 100]
    corners = [each[0, :3].tolist() for each in pixels[2:]]
    assert corners == [[3, 84, 255], [0, 45, 255]]
    for result in found.values():  # all in pixels of the image
        assert result.size == (100, 100)
        masks = result['a/seg'].masks
        np.testing.assert_array_equal(masks[:3], plain_chest())
        np.testing.assert_array_equal(masks[3], NODULE)
        boxes = result['a/loc'].boxes
        np.testing.assert_array_equal(boxes, [[70, 22, 82, 30]])


def test_one_model_has_views_alone(image):
    infer = StandIn(('teacher',))
    assert len(other_readings(infer, image, (100, 100))) == 3


def test_text_and_json_of_a_report(image, tmp_path):
    infer = StandIn()
    text, content = report_of(
        ImageReporter(infer), infer, image, tmp_path / 'out'
    )
    assert text.startswith('Not for diagnosis')
    assert 'Cardiothoracic ratio 0.50 (0.50 to 0.50 in 5 readings)' in text
    assert 'Finding 0 in the left upper zone: box of 12 x 8.0 px' in text
    assert 'found in 5 of 5 readings. [a/loc]' in text
    assert content['notice'].startswith('Not for diagnosis')
    assert content['sides']['by'] == 'lung masks'
    assert content['sides']['said_by_file'] is False
    for sentence in content['sentences']:
        assert sentence['section'] == 'notes' or sentence['evidence']['task']
    chest = {each['quantity']: each for each in content['measurements']}
    assert chest['cardiothoracic_ratio']['classes'] == [
        'Heart', 'Left lung', 'Right lung',
    ]  # fmt: skip


def test_numbers_that_are_not_measured_are_null(image, tmp_path):
    infer = StandIn()
    reporter = ImageReporter(infer)
    (result,) = infer.iterate([image.origin])
    result['a/seg'].masks[0] = False
    found = reporter.measure(image, result)
    reporter.save(image, result, found, tmp_path)
    content = json.loads((tmp_path / 'report.json').read_text())
    chest = {each['quantity']: each for each in content['measurements']}
    ratio = chest['cardiothoracic_ratio']
    assert ratio['value'] is None and 'no pixels' in ratio['reason']


def test_a_dicom_is_in_millimetres(source, tmp_path):
    image = dicom(
        source,
        'a.dcm',
        ImagerPixelSpacing=[2.5, 3.0],
        PatientOrientation=['L', 'F'],
    )
    infer = StandIn()
    text, content = report_of(
        ImageReporter(infer), infer, image, tmp_path / 'out'
    )
    assert 'Greatest width of the thorax 240 mm' in text
    assert 'at the detector (ImagerPixelSpacing)' in text
    assert "not an adult's" not in text
    assert content['geometry']['spacing_from'] == 'ImagerPixelSpacing'
    assert content['sides']['said_by_file'] is True
    small = dicom(source, 'b.dcm', PixelSpacing=[0.5, 0.5])
    text, _ = report_of(ImageReporter(infer), infer, small, tmp_path / 'out')
    assert "A thorax of 40 mm is not an adult's" in text


def test_what_changed_since_a_prior_image(image, tmp_path):
    before = np.zeros((100, 100), np.uint8)
    path = tmp_path / 'before.png'
    cv2.imwrite(str(path), before)
    prior = ImageSource('before.png', Path('before.png'), str(path))
    infer = StandIn()
    reporter = ImageReporter(infer, prior=prior)
    text, content = report_of(reporter, infer, image, tmp_path / 'out')
    assert 'New: Finding 0 in the left upper zone' in text
    assert 'one patient was not checked' in text
    assert content['prior'] == str(path)


def test_a_prior_image_is_of_the_same_patient_and_earlier(source):
    now = dicom(source, 'a.dcm')
    same = dicom(source, 'b.dcm', StudyDate='20240101')
    both = ('DICOM', 'DICOM')
    assert check_same_patient(now, same, both)
    assert not check_same_patient(now, same, ('DICOM', 'PNG'))
    nobody = dicom(source, 'c.dcm', PatientID='')
    assert not check_same_patient(now, nobody, both)
    other = dicom(source, 'd.dcm', PatientID='SECRET')
    with pytest.raises(UserError, match='PatientID is not that') as error:
        check_same_patient(now, other, both)
    assert 'SECRET' not in str(error.value)
    later = dicom(source, 'e.dcm', StudyDate='20260101')
    with pytest.raises(UserError, match='StudyDate is later'):
        check_same_patient(now, later, both)


def test_one_image_has_one_prior(image):
    assert choose_prior([image], 1) is image
    for priors, count in (([image, image], 1), ([image], 2)):
        with pytest.raises(UserError, match='one prior image'):
            choose_prior(priors, count)
