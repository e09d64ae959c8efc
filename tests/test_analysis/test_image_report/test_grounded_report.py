"""Sentences, what they came from, and the table of words."""

import csv
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from drawn_chests import as_result, plain_chest

from fx_mm.analysis.image_report.comparison_sentences import write_comparison
from fx_mm.analysis.image_report.decision_thresholds import (
    DecisionThresholds,
    find_thresholds,
    read_thresholds,
)
from fx_mm.analysis.image_report.grounded_report import ReportWriter
from fx_mm.analysis.image_report.measurements import measure
from fx_mm.analysis.image_report.wording import SHIPPED, Wording
from fx_mm.apis import ClsResult, ImageResult
from fx_mm.image_io.dicom_geometry import Geometry
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

NODULE = np.zeros((100, 100), bool)
NODULE[22:30, 70:82] = True
THRESHOLDS = DecisionThresholds(
    'results.json', {'a/cls': {'Nodule': 0.4, 'Mass': 0.6}}
)


def labels(nodule=0.5, mass=0.2, other=0.3):
    task = Task('a', 'cls', ('Mass', 'Nodule', 'Other'))
    scores = np.array([mass, nodule, other], np.float32)
    return ClsResult(task, scores)


def predictions(findings=(NODULE,), **scores):
    result = as_result(plain_chest(), findings)
    result.predictions['a/cls'] = labels(**scores)
    return result


def write(result, geometry=None, thresholds=THRESHOLDS, wording=None):
    writer = ReportWriter(Wording(wording), thresholds, 0.3)
    found = measure(result, geometry or Geometry())
    return writer.write(found)


def texts(said, section):
    return [each.text for each in said if each.section == section]


def test_nothing_predicted_nothing_said():
    assert write(ImageResult('x', size=(9, 9))) == []


def test_no_finding_is_said_by_task_and_class():
    said = write(predictions(()))
    (sentence,) = [each for each in said if each.section == 'boxes']
    assert sentence.text == ('No box of Nodule with a score of at least 0.30.')
    assert sentence.evidence['task'] == 'a/loc'
    assert texts(said, 'masks') == ['No mask of Nodule.']


def test_labels_are_held_against_their_thresholds():
    said = write(predictions())
    above, open_, below = texts(said, 'labels')
    assert above == (
        'Nodule: probability 0.50, at or above the threshold 0.40 from '
        'validation images.'
    )
    assert 'no threshold was chosen' in open_ and 'below' in below
    evidence = said[0].evidence
    assert evidence['task'] == 'a/cls' and evidence['class'] == 'Nodule'
    assert evidence['probability'] == 0.5 and evidence['threshold'] == 0.4
    assert evidence['threshold_from'] == 'results.json'


def test_a_probability_that_is_none_is_on_no_side_of_a_threshold():
    said = write(predictions(nodule=np.nan))
    (text,) = [t for t in texts(said, 'labels') if t.startswith('Nodule')]
    assert text == 'Nodule: the model gave no probability.'


def test_findings_say_where_and_how_large():
    said = write(predictions())
    (box,) = [each for each in said if each.section == 'boxes']
    assert box.text == (
        'Finding 0 in the left upper zone: box of 12 x 8.0 px, score 0.90 '
        '(shown from 0.30, not chosen on validation images), found in 1 of '
        '1 readings.'
    )
    assert box.evidence['box'] == [70, 22, 82, 30]
    assert box.evidence['place_by'] == 'lung masks'
    (mask,) = [each for each in said if each.section == 'masks']
    assert 'mask of 12 x 8.0 px, area 96 px2' in mask.text
    assert texts(said, 'chest')[0] == 'Cardiothoracic ratio 0.50.'
    notes = texts(said, 'notes')
    assert any('does not say where' in note for note in notes)
    assert any('no pixel spacing' in note for note in notes)


def test_notes_on_scale_view_and_sides():
    geometry = Geometry((0.2, 0.2), 'ImagerPixelSpacing', 'right', 'AP')
    said = write(predictions(), geometry)
    notes = ' '.join(texts(said, 'notes'))
    assert 'at the detector (ImagerPixelSpacing)' in notes
    assert 'The view is AP' in notes and 'does not say' not in notes
    result = predictions()
    result.predictions['a/seg'].masks[0] = False
    said = write(result)
    assert 'by the halves of the image' in ' '.join(texts(said, 'notes'))
    ratio = texts(said, 'chest')[0]
    assert ratio.startswith('The cardiothoracic ratio was not measured: ')


def test_every_sentence_is_grounded_and_ready_for_json():
    for each in write(predictions()):
        assert each.section == 'notes' or 'task' in each.evidence
        json.dumps(each.to_dict())


def test_comparison_with_a_prior_image():
    writer = ReportWriter(Wording(), THRESHOLDS, 0.3)
    now = measure(predictions(), Geometry(view='PA'))
    before = measure(predictions((), nodule=0.1), Geometry(view='AP'))
    said = list(write_comparison(writer, now, before))
    found = ' '.join(each.text for each in said)
    assert found.count('New: Finding 0 in the left upper zone') == 2
    assert 'New: Nodule, probability 0.50' in found
    assert 'Cardiothoracic ratio 0.50, in the prior image 0.50' in found
    assert 'in the frame of the lungs' in found and 'views differ' in found
    for each in said:
        json.dumps(each.to_dict())


def own_table(tmp_path, **changes):
    with open(SHIPPED, newline='') as file:
        rows = {row['key']: row['text'] for row in csv.DictReader(file)}
    rows |= changes
    path = tmp_path / 'own.csv'
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['key', 'text'])
        writer.writerows((k, v) for k, v in rows.items() if v is not None)
    return path


def test_a_hospital_has_words_of_its_own(tmp_path):
    path = own_table(
        tmp_path,
        **{'name:Nodule': 'Rundherd', 'side:left': 'linken'},
        label_above='{name} ({probability})',
        place='im {side} Feld',
    )
    said = write(predictions(), wording=path)
    assert said[0].text == 'Rundherd (0.50)'
    assert texts(said, 'boxes')[0].startswith('Finding 0 im linken Feld')


@pytest.mark.parametrize(
    'changes, why',
    [
        ({'notice': None}, 'has no row "notice"'),
        ({'notise': 'x'}, 'no sentence is called "notise"'),
        ({'box': '{nmae}'}, 'asks for {nmae}'),
        ({'box': '{name.__class__}'}, 'no plain name'),
        ({'box': '{name!r}'}, 'no plain name'),
        ({'box': '{name'}, 'cannot be filled in'),
        ({'box': '{}'}, 'no plain name'),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, changes, why):
    with pytest.raises(UserError) as error:
        Wording(own_table(tmp_path, **changes))
    assert why in str(error.value) and 'own.csv' in str(error.value)


@pytest.mark.parametrize(
    'text, why',
    [
        ('', 'empty'),
        ('a,b\n1,2\n', 'no columns key and text'),
        ('key,text\nnotice\n', 'line 2: has no key or no text'),
        ('key,text\nnotice,a\nnotice,b\n', 'a second row "notice"'),
    ],
)
def test_a_file_that_is_no_table(tmp_path, text, why):
    path = tmp_path / 'own.csv'
    path.write_text(text)
    with pytest.raises(UserError, match=why):
        Wording(path)


def results(tmp_path, **changes):
    path = tmp_path / 'results.json'
    metrics = {
        'a/cls': {
            'AUC': 0.9,
            'threshold/Nodule': 0.4,
            'threshold_F1/Nodule': 0.3,
            'threshold/Mass': None,
        },
        'a/loc': {'mAP_40': 0.4},
    }
    content = dict(
        schema_version=2,
        checkpoint='iter_7.pth',
        predict_on='teacher',
        metrics=dict(teacher=metrics),
        tasks={},
    )
    path.write_text(json.dumps(content | changes))
    return path


def test_thresholds_of_a_test(tmp_path):
    path = results(tmp_path)
    found = read_thresholds(path, 'x/iter_7.pth', 'teacher')
    assert found.values == {'a/cls': {'Nodule': 0.4}}
    assert found.of('a/cls', 'Mass') is None
    assert found.of('b/cls', 'Nodule') is None
    checkpoint = tmp_path / 'iter_7.pth'
    checkpoint.touch()
    os.utime(checkpoint, (0, 0))
    beside = find_thresholds(str(checkpoint), 'teacher')
    assert beside.values == found.values


def test_thresholds_beside_a_newer_checkpoint_are_of_another(tmp_path):
    path = results(tmp_path)
    os.utime(path, (0, 0))
    checkpoint = tmp_path / 'iter_7.pth'
    checkpoint.touch()
    assert find_thresholds(str(checkpoint), 'teacher').values == {}


def test_thresholds_are_found_by_the_hash(tmp_path, log):
    checkpoint = tmp_path / 'renamed.pth'
    checkpoint.write_bytes(b'weights')
    digest = hashlib.sha256(b'weights').hexdigest()
    path = results(tmp_path, checkpoint_sha256=digest)
    os.utime(path, (0, 0))
    for found in (
        read_thresholds(path, str(checkpoint), 'teacher'),
        find_thresholds(str(checkpoint), 'teacher'),
    ):
        assert found.of('a/cls', 'Nodule') == 0.4
    assert not log.records
    other = tmp_path / 'iter_7.pth'
    other.write_bytes(b'other weights')
    with pytest.raises(UserError, match='is of another checkpoint'):
        read_thresholds(path, str(other), 'teacher')
    assert find_thresholds(str(other), 'teacher').path is None
    read_thresholds(results(tmp_path), str(other), 'teacher')
    assert 'by the name of the file alone' in log.text


@pytest.mark.parametrize('value', ['abc', float('nan'), True])
def test_a_threshold_is_a_number(tmp_path, value):
    path = results(tmp_path)
    text = path.read_text().replace('0.4', json.dumps(value))
    path.write_text(text)
    with pytest.raises(UserError, match='no thresholds of the teacher'):
        read_thresholds(path, 'iter_7.pth', 'teacher')


def test_thresholds_of_another_model_are_refused(tmp_path):
    path = results(tmp_path)
    with pytest.raises(UserError, match=r'is of iter_7.pth, the checkpoin'):
        read_thresholds(path, 'iter_8.pth', 'teacher')
    with pytest.raises(UserError, match='no thresholds of the student'):
        read_thresholds(path, 'iter_7.pth', 'student')
    beside = str(tmp_path / 'iter_8.pth')
    Path(beside).touch()
    assert find_thresholds(beside, 'teacher').path is None
    nowhere = str(tmp_path / 'none/iter_7.pth')
    assert find_thresholds(nowhere, 'teacher').values == {}
