"""Patient IDs: which column has them, and which mean the same patient."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fx_mm.datasets.readers.patient_ids import (
    find_patient_name,
    patient_key,
    read_patient,
    unify_patients,
)
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.tasks import Task


def task(type='CsvLabelReader', **reader):
    return Task(
        'x', 'cls', ('a',), config=dict(reader=dict(reader, type=type))
    )


def test_nothing_to_unify():
    assert unify_patients([]) == ({}, {})
    assert find_patient_name([]) is None


@pytest.mark.parametrize(
    'text',
    [
        '13', '13.0', '13.00', '0013', '00000013', ' 13 ', 'P13', 'p0013',
        'patient13', 'Patient 13', 'PATIENT_0013', 'patient-13.0', 'pt13',
        'Pat. 13', 'subject 13', 'sub-13', 'Patient ID: 13', 'ID13', '"13"',
        '(13)', '[13]', '13.', '13,0', '13\u200b', 'patient13/', 'MRN13',
        'case_13', "'13", '#13', 'patient_id_00013', 'Patient No. 13',
        '\uff11\uff13', 'MRN 13', 'P_13', '13_', 'P-13-',
    ],
)  # fmt: skip
def test_ways_to_write_patient_13(text):
    assert patient_key(text) == '13'


@pytest.mark.parametrize(
    'text',
    [
        '130', '1.3', '13.5', '13a', '1-3', '1_13', '13-1', 'A13', 'B13',
        '1,3', '13,000', 'S-013', 'site2/13', '1.2.840.13', 'COVID-00013',
        'ANON13', 'C13', '013-0013',
    ],
)  # fmt: skip
def test_other_patients_than_13(text):
    assert patient_key(text) != '13'


def test_case_signs_and_zeros_within_other_ids():
    assert patient_key('COVID-00013') == patient_key('covid 13')
    assert patient_key('A13') != patient_key('B13')
    assert patient_key('Muller  Jo') == patient_key('MULLER JO')
    assert patient_key('Mu\u0308ller') == patient_key('M\xfcller')
    assert patient_key('0') == patient_key('000') == '0'


@given(st.text(max_size=12) | st.text('0 1pid\'"_.\x1f#\u0345', max_size=9))
@example('00\x1f')
@example('0)_')
def test_a_key_is_its_own_key(text):
    assert patient_key(patient_key(text)) == patient_key(text)


def test_ids_written_in_one_way_stay_as_they_are():
    texts = ['00000013', '00000014', 'A-1', '1.2.840.1']
    assert unify_patients(texts * 2).names == dict(zip(texts, texts))
    unified = unify_patients(['13', '13.0', '0014', '14', 'x', '14'])
    assert unified.names == {
        '13': '13', '13.0': '13', '0014': '14', '14': '14', 'x': 'x'
    }  # fmt: skip
    assert unified.variants == {'13': ['13', '13.0'], '14': ['0014', '14']}
    assert unified.describe() == (
        '2 patients are written in several ways and count as one each: '
        '"13" and "13.0"; "0014" and "14"'
    )


def test_a_letter_that_all_others_have_too_says_nothing():
    unified = unify_patients(['S-013', '13', 'S-014', '15'])
    assert unified.variants == {'13': ['13', 'S-013']}
    assert unified.names['S-013'] == '13'
    assert unified.names['S-014'] == 'S-014'
    assert unify_patients(['Record 13', '0013']).variants
    kept = unify_patients(['S-013', 'S-014'])
    assert kept.names == {'S-013': 'S-013', 'S-014': 'S-014'}


@pytest.mark.parametrize('other', ['T-014', 'site 2/14', 'Jo', '2-14', 'S1-4'])
def test_a_letter_among_others_may_be_a_site(other):
    assert not unify_patients(['S-013', '13', other]).variants


@pytest.mark.parametrize('text', ['HC-013', 'anon 13', 'T-013'])
def test_a_word_that_may_be_a_group_counts(text):
    assert not unify_patients([text, '13']).variants


def test_many_ids_take_no_time():
    texts = [f'patient{number:07d}' for number in range(65_000)]
    start = time.process_time()
    unify_patients(texts * 4)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    'value',
    [None, '', ' ', 'nan', 'NaN', 'None', 'null', 'NA', 'n/a', '<NA>', '-',
     'Unknown', 'ANONYMOUS', True, [], {}],
)  # fmt: skip
def test_what_is_no_patient(value):
    assert read_patient(value) is None


@pytest.mark.parametrize(
    ('value', 'text'), [(0, '0'), (13, '13'), (13.0, '13.0'), (' p ', 'p')]
)
def test_what_is_a_patient(value, text):
    assert read_patient(value) == text


@pytest.mark.parametrize(
    'name',
    ['patient', 'Patient', 'PatientID', 'patient_id', 'Patient ID',
     'patientId', 'PATIENT-ID', 'Patient Number', 'subject_id', 'Subject',
     'subjectID', 'ParticipantID', 'MRN', 'pid', 'anon_patient_id',
     'deid_patient_id', 'id_patient', 'ID Patient', 'patients', 'PatientName',
     'patient_sn', 'hashed_patient_id', 'anon_patientid'],
)  # fmt: skip
def test_the_column_is_found_and_said(tmp_path, log, name):
    file = tmp_path / 'test.csv'
    file.write_text(f'name,{name},a,patient_age\n1.png,7,0,50\n2.png,07,1,9\n')
    found = find_patients(
        task(image_column='name'), str(file), ['1.png', '2.png'], None
    )
    assert found == ['7', '7']
    said = f'takes the patient IDs from column "{name}"'
    assert (said in log.text) == (name != 'patient')
    assert '"07" and "7"' in log.text


def test_the_documented_column_comes_first(tmp_path):
    file = tmp_path / 'test.csv'
    file.write_text('image,subject_id,PatientID,patient,a\n1.png,3,2,1,0\n')
    assert find_patients(task(), str(file), ['1.png'], None) == ['1']


@pytest.mark.parametrize(
    'header',
    ['PatientID,other', 'image,Patient Age', 'image,Patient Gender',
     'image,patient_weight', 'image,Patient Position', 'image,outpatient'],
)  # fmt: skip
def test_other_columns_are_no_patients(tmp_path, log, header):
    """The image's own column, a class, what only begins so."""
    file = tmp_path / 'test.csv'
    file.write_text(f'{header},a\n1.png,7,0\n')
    assert find_patients(task(), str(file), ['1.png'], None) is None
    file.write_text('image,patient_id\n1.png,1\n')
    one = Task('x', 'cls', ('patient_id',), config=task().config)
    assert find_patients(one, str(file), ['1.png'], None) is None
    assert not log.records


@pytest.mark.parametrize(
    ('names', 'shown'),
    [
        ('pt_no', '"pt_no"'),
        ('case_id', '"case_id"'),
        ('CaseID,caseno', '"CaseID", "caseno"'),
        ('medical record number', '"medical record number"'),
        ('hospital_mrn,age', '"hospital_mrn"'),
        ('patient_study_id', '"patient_study_id"'),
        ('anon_patient_id,patient_sn', '"anon_patient_id", "patient_sn"'),
    ],
)
def test_columns_that_may_be_patients_are_warned_of(
    tmp_path, log, names, shown
):
    file = tmp_path / 'test.csv'
    cells = ',1' * len(names.split(','))
    file.write_text(f'image,{names},a\n1.png{cells},0\n')
    assert find_patients(task(), str(file), ['1.png'], None) is None
    assert [(r.levelname, r.getMessage()) for r in log.records] == [
        (
            'WARNING',
            f'{file}: takes no patient IDs, though {shown} may be them; name '
            'the one that has them "patient".',
        )
    ]


def test_unknown_patients_are_not_one_patient(tmp_path):
    file = tmp_path / 'test.csv'
    file.write_text('image,patient,a\n1.png,nan,0\n2.png,NaN,0\n3.png,7,0\n')
    found = find_patients(task(), str(file), ['1.png', '2.png', '3.png'], None)
    assert found == ['image 1.png', 'image 2.png', '7']


@pytest.mark.parametrize('key', ['patient', 'patient_id', 'PatientName'])
def test_images_of_a_coco_file(tmp_path, key):
    file = tmp_path / 'test.json'
    patients = [0, 13, 13.0, '0013', None, 'nan']
    images = [
        {'id': i, 'file_name': f'{i}.png', key: patient}
        for i, patient in enumerate(patients)
    ]
    images[5].pop(key)
    content = dict(images=images, annotations=[], categories=[])
    file.write_text(json.dumps(content))
    names = [image['file_name'] for image in images]
    found = find_patients(task('CocoReader'), str(file), names, None)
    assert found == ['0', '13', '13', '13', 'image 4.png', 'image 5.png']


@pytest.mark.parametrize('sign', [' ', ',', ';'])
def test_lists_with_a_header(tmp_path, sign):
    file = tmp_path / 'list.txt'
    rows = ['patient_id file class', 'P1 a.png a', '01 b.png a', '2 c.png a']
    file.write_text('\n'.join(rows).replace(' ', sign))
    columns = task(
        'ListLabelReader', header=True, image_column=1, class_column=2
    )
    names = ['a.png', 'b.png', 'c.png']
    assert find_patients(columns, str(file), names, None) == ['1', '1', '2']


def test_patients_of_names_are_unified_with_those_of_the_table(tmp_path):
    file = tmp_path / 'test.csv'
    file.write_text('image,patient,a\n0013_1.png,13,0\n0013_2.png,,0\n')
    names = ['0013_1.png', '0013_2.png']
    found = find_patients(task(), str(file), names, r'^(\d+)_')
    assert found == ['13', '13']
