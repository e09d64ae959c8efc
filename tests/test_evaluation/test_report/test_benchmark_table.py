"""The benchmark table."""

import csv
import hashlib
import json
import math

import pytest

from fx_mm.evaluation import BenchmarkTable
from fx_mm.evaluation.report.results_file import (
    check_checkpoint,
    read_results,
    save_results,
)
from fx_mm.evaluation.statistics.bootstrap import Interval, PairedInterval
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

NAN = float('nan')
TASKS = [
    Task('phantom_a', 'cls', ('nodule', 'mass')),
    Task('phantom_b', 'cls', ('nodule', 'mass')),
    Task('phantom_b', 'loc', ('nodule', 'mass')),
    Task(
        'phantom_c',
        'seg',
        ('lungs', 'nodule'),
        config=dict(class_groups=dict(organs=('lungs',))),
    ),
]
METRICS = {
    'phantom_a/cls/AUC': 0.9,
    'phantom_a/cls/n_classes': 2,
    'phantom_a/cls/AUC/nodule': 0.8,
    'phantom_a/cls/AUC/mass': 1.0,
    'phantom_b/cls/AUC': NAN,
    'phantom_b/loc/mAP_40': 0.345678,
    'phantom_b/loc/AP_40/mass': 0.345678,
    'phantom_b/loc/AP_40/nodule': NAN,
    'phantom_c/seg/Dice': 0.75,
    'phantom_c/seg/Dice_pos': 0.5,
    'phantom_c/seg/Dice_pos/lungs': 0.93,
    'phantom_c/seg/Dice_pos/organs': 0.94,
    'student/phantom_a/cls/AUC': 0.7,
    'student/phantom_c/seg/Dice_pos': 0.25,
    'another/key': 3.0,
}


@pytest.fixture
def table():
    return BenchmarkTable(
        TASKS, METRICS, config='tiny', checkpoint='iter_9.pth'
    )


def test_summary(table):
    header, rows = table.summary()
    assert header[:3] == ['dataset', 'Cls AUC, teacher', 'Cls AUC, student']
    cells = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert list(cells) == ['phantom_a', 'phantom_b', 'phantom_c', 'mean']
    assert cells['phantom_a']['Cls AUC, teacher'] == '0.900'
    assert cells['phantom_a']['Cls AUC, student'] == '0.700'
    assert cells['phantom_a']['Loc mAP40, teacher'] == '-'
    assert cells['phantom_b']['Cls AUC, teacher'] == 'n/a'
    assert cells['phantom_b']['Loc mAP40, teacher'] == '0.346'
    assert cells['phantom_b']['Loc mAP40, student'] == 'n/a'
    assert cells['phantom_c']['Seg Dice, present, student'] == '0.250'
    assert cells['phantom_c']['Seg Dice, empty=1, teacher'] == '0.750'
    assert cells['mean']['Cls AUC, teacher'] == '0.900'


def test_per_class(table):
    header, rows = table.per_class()
    assert header == ['task', 'class', 'metric', 'teacher', 'student']
    assert rows[0] == ['phantom_a/cls', 'nodule', 'AUC', '0.800', 'n/a']
    assert rows[4] == ['phantom_b/loc', 'nodule', 'AP_40', 'n/a', 'n/a']
    assert rows[-1][:4] == ['phantom_c/seg', '(organs)', 'Dice_pos', '0.940']


def test_text_is_aligned(table):
    title, blank, *lines = table.text().splitlines()
    assert title == 'Results on the test split (tiny, iter_9.pth)'
    assert blank == ''
    first = lines[: lines.index('')]
    assert 'Seg Dice' in first[0] and 'Cls AUC' in first[1]
    assert first[2].split()[:3] == ['dataset', 'teacher', 'student']
    assert max(map(len, first[:8])) < 100
    block = first[2:8]
    assert len({len(line) for line in block}) == 1
    assert lines[-1].startswith('phantom_c/seg')


def test_plain_names_may_be_the_students():
    table = BenchmarkTable(
        TASKS[:1],
        {'phantom_a/cls/AUC': 0.6, 'teacher/phantom_a/cls/AUC': 0.8},
        predict_on='student',
    )
    assert table.predict_on == ['teacher', 'student']
    assert table.value('student', 'phantom_a/cls', 'AUC') == 0.6
    assert table.value('teacher', 'phantom_a/cls', 'AUC') == 0.8


def test_only_the_columns_that_were_evaluated():
    header, rows = BenchmarkTable(
        TASKS[:1], {'phantom_a/cls/AUC': 0.6}
    ).summary()
    assert header == ['dataset', 'Cls AUC, teacher']
    assert rows == [['phantom_a', '0.600']]


def test_without_metrics_it_still_prints_and_saves(tmp_path):
    table = BenchmarkTable(TASKS, {})
    assert 'phantom_a' in table.text()
    assert (
        json.loads(save_results(table, tmp_path)[0].read_text())['metrics']
        == {}
    )


def test_files(table, tmp_path):
    files = save_results(table, tmp_path / 'new')
    assert [f.name for f in files] == [
        'results.json',
        'results.csv',
        'results.md',
    ]
    assert sorted(p.name for p in (tmp_path / 'new').iterdir()) == sorted(
        f.name for f in files
    )

    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    content = json.loads(files[0].read_text(), parse_constant=refuse)
    assert content['schema_version'] == 2
    assert content['config'] == 'tiny'
    assert content['versions']['mmengine']
    assert content['tasks']['phantom_c/seg']['classes'] == ['lungs', 'nodule']
    teacher = content['metrics']['teacher']
    assert teacher['phantom_b/loc']['mAP_40'] == 0.345678
    assert teacher['phantom_b/cls']['AUC'] is None
    assert content['metrics']['student']['phantom_a/cls']['AUC'] == 0.7

    rows = list(csv.DictReader(files[1].open()))
    assert len(rows) == len(METRICS) - 1
    found = {
        (r['predict_on'], r['dataset'], r['kind'], r['metric']): r['value']
        for r in rows
    }
    key = ('teacher', 'phantom_b', 'loc', 'mAP_40')
    assert float(found[key]) == 0.345678
    assert found['teacher', 'phantom_b', 'cls', 'AUC'] == ''
    assert found['student', 'phantom_c', 'seg', 'Dice_pos'] == '0.25'

    markdown = files[2].read_text()
    assert '| phantom_b | n/a | n/a | 0.346 | n/a | - | - | - | - |' in (
        markdown
    )


def test_nan_in_value(table):
    assert math.isnan(table.value('teacher', 'phantom_a/cls', 'nothing'))


@pytest.fixture
def full_table(table):
    """Results with everything that a report may add."""
    name = 'phantom_a/cls'
    table.bootstrap = dict(
        level=0.95,
        method='percentile',
        resamples=10,
        seed=3,
        units={name: 'patients', 'phantom_b/cls': 'images'},
    )
    table.intervals = dict(teacher={name: dict(AUC=Interval(0.85, 0.95))})
    table.compared_with = 'other.pth'
    table.differences = dict(
        teacher={
            name: dict(AUC=PairedInterval(0.1, 0.05, 0.15, 0.02, 0.04)),
            'phantom_b/cls': dict(AUC=PairedInterval(NAN, NAN, NAN)),
        }
    )
    table.correction = 'holm'
    table.normal_intervals = dict(teacher={name: dict(AUC=Interval(0.8, 1))})
    table.normal_differences = dict(
        teacher={name: dict(AUC=PairedInterval(0.1, 0.02, 0.18, 0.014))}
    )
    table.n_images = {name: 7}
    table.notes = {name: ['AUC is the mean of 1 class.']}
    table.skipped = {'phantom_d/cls': 'there is no test.csv'}
    return table


def test_intervals_differences_notes_and_skipped_tasks(full_table, tmp_path):
    for text in (
        full_table.text(),
        save_results(full_table, tmp_path)[2].read_text(),
    ):
        assert '0.900 [0.850, 0.950]' in text
        assert '**+0.100 [+0.050, +0.150]**' in text
        assert 'Percentile bootstrap, 10 resamples, seed 3' in text
        assert '(Holm)' in text and 'take at least' in text
        assert 'patients of phantom_a/cls; images of phantom_b/cls' in text
        assert 'phantom_a/cls: AUC is the mean of 1 class.' in text
        assert 'phantom_d/cls, there is no test.csv' in text
    content = read_results(tmp_path / 'results.json')
    teacher = content['intervals']['teacher']['phantom_a/cls']
    assert teacher['AUC'] == dict(low=0.85, high=0.95)
    change = content['differences']['teacher']['phantom_b/cls']['AUC']
    assert set(change) == {'difference', 'low', 'high', 'p', 'p_adjusted'}
    assert not any(change.values())
    assert content['correction'] == 'holm'
    text = (tmp_path / 'results.md').read_text()
    assert '## AUC by DeLong' in text and '[+0.020, +0.180]' in text
    assert content['tasks']['phantom_a/cls']['n_images'] == 7
    assert content['skipped'] == full_table.skipped
    rows = list(csv.DictReader((tmp_path / 'results.csv').open()))
    assert (rows[0]['low'], rows[0]['high']) == ('0.85', '0.95')
    assert rows[1]['low'] == ''


def test_a_note_of_several_tasks_is_said_once(table, tmp_path):
    loc, seg = 'phantom_b/loc', 'phantom_c/seg'
    table.notes = {
        'phantom_a/cls': ['no thresholds', 'own'],
        'phantom_b/cls': ['no thresholds'],
        loc: ['both'],
        seg: ['both', 'alone'],
    }
    expected = [
        'all cls tasks: no thresholds',
        'phantom_a/cls: own',
        f'{loc}, {seg}: both',
        f'{seg}: alone',
    ]
    assert table.text().splitlines()[-4:] == expected
    markdown = save_results(table, tmp_path)[2].read_text()
    assert markdown.splitlines()[-4:] == [f'- {line}' for line in expected]


@pytest.mark.parametrize(
    'text, message',
    [
        ('{"schema_version": 1, "metrics": {}, "tasks": {}}', 'version 1'),
        ('{"schema_version": 3, "metrics": {}, "tasks": {}}', 'version 3'),
        ('{"metrics": {}}', 'is not a results.json'),
        ('[]', 'is not a results.json'),
        ('half a fi', 'is not a results.json'),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    file = tmp_path / 'results.json'
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        read_results(file)


@pytest.mark.parametrize(
    'content, message',
    [
        (
            {},
            r'^r\.json: is of an unnamed file, the checkpoint is a\.pth; x\.$',
        ),
        (
            dict(checkpoint='a.pth', checkpoint_sha256=5),
            r'^r\.json: its checkpoint_sha256 is not 64 digits in hex; x\.$',
        ),
        (
            dict(checkpoint='a.pth', checkpoint_sha256='é' * 64),
            r'^r\.json: its checkpoint_sha256 is not 64 digits in hex; x\.$',
        ),
        (
            dict(checkpoint_sha256='A' * 64),
            r'another checkpoint \(an unnamed file, SHA-256 aaaaaaaa\.\.\.\)',
        ),
    ],
)
def test_results_of_another_checkpoint(tmp_path, content, message):
    checkpoint = tmp_path / 'a.pth'
    checkpoint.touch()
    with pytest.raises(UserError, match=message):
        check_checkpoint(content, 'r.json', str(checkpoint), 'x')


def test_the_hash_in_upper_case(tmp_path):
    checkpoint = tmp_path / 'a.pth'
    checkpoint.touch()
    digest = hashlib.sha256().hexdigest()
    for same in (digest, digest.upper()):
        content = dict(checkpoint_sha256=same)
        check_checkpoint(content, 'r.json', str(checkpoint), 'x')
