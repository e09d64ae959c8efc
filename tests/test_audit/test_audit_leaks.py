"""Leaks that names alone tell: the short form of the audit."""

import json
import time
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from fx_mm.audit import quick_audit, warn_of_leaks
from fx_mm.audit.patients import find_shared
from fx_mm.audit.task_splits import open_splits, task_table
from fx_mm.datasets.records import Records
from fx_mm.utils.errors import UserError


def names(findings, level='leak'):
    return [f.name for f in findings if f.level == level]


def test_clean_data(clean):
    findings = quick_audit(clean.cfg())
    assert names(findings) == []
    assert names(findings, 'error') == []


def test_shared_patient(data, phantoms, make_rows):
    data.cls(
        'one',
        patients=True,
        train=make_rows(phantoms[:4], 'a', 0, list('ppqr')),
        test=make_rows(phantoms[4:7], 'a', 4, list('rst')),
    )
    (leak,) = [f for f in quick_audit(data.cfg()) if f.level == 'leak']
    assert leak.name == 'shared-patients:one/train:one/test'
    assert (leak.count, leak.examples) == (1, ['r'])
    assert '1 of 3 patients of one/test' in leak.message


def test_patient_by_pattern(data, phantoms, make_rows):
    data.cls(
        'one',
        train=make_rows(phantoms[:3], '007_'),
        test=make_rows(phantoms[3:5], '007_', 3),
    )
    assert names(quick_audit(data.cfg())) == []
    data.datasets['one']['patient'] = r'^(\d+)_'
    assert names(quick_audit(data.cfg())) == [
        'shared-patients:one/train:one/test'
    ]
    data.datasets['one']['patient'] = r'nobody'
    (warning,) = [
        f for f in quick_audit(data.cfg()) if f.check == 'unknown-patients'
    ]
    assert (warning.level, warning.count) == ('warning', 5)
    data.datasets['one']['patient'] = '('
    with pytest.raises(UserError, match='not a regular expression'):
        quick_audit(data.cfg())


def test_patients_of_a_table_hold_for_other_tasks(data, phantoms, make_rows):
    """NIH's boxes lie on test images: training them leaks, by patient too."""
    data.cls(
        'nih',
        patients=True,
        train=make_rows(phantoms[:2], 'a', 0, list('pq')),
        test=make_rows(phantoms[2:5], 'a', 2, list('rrs')),
    )
    data.loc('nih', train=[('a2.png', 256, [])], test=[('a4.png', 256, [])])
    leaks = [f for f in quick_audit(data.cfg()) if f.level == 'leak']
    by_name = {leak.name: leak for leak in leaks}
    assert set(by_name) == {
        'shared-images:nih/train:nih/test',
        'shared-patients:nih/train:nih/test',
    }
    shared = by_name['shared-images:nih/train:nih/test']
    assert 'nih/loc/train and nih/cls/test' in shared.message


def test_val_equals_test(data, phantoms, make_rows):
    rows = make_rows(phantoms[3:6], 'a', 3)
    data.cls('one', train=make_rows(phantoms[:3], 'a'), val=rows, test=rows)
    assert names(quick_audit(data.cfg())) == ['same-split:one/val:one/test']
    # not all of them
    data.cls(
        'one', train=make_rows(phantoms[:3], 'a'), val=rows, test=rows[:2]
    )
    assert names(quick_audit(data.cfg())) == ['shared-images:one/val:one/test']


def test_one_folder_of_two_datasets(data, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:3], 'a'))
    data.cls('two', test=make_rows(phantoms[:2], 'a'))
    data.datasets['two']['img_dir'] = '../one/images'
    assert names(quick_audit(data.cfg())) == [
        'shared-images:one/train:two/test'
    ]


def test_identifiers_of_two_datasets(data, phantoms):
    """COVIDx has RSNA's images under RSNA's names."""
    uid = '0a1b2c3d-0000-4000-8000-00000000000{}'
    train = [(f'{uid.format(i)}.png', phantoms[i], 0, 1) for i in range(3)]
    test = [(f'x/{uid.format(2)}.jpg', phantoms[3], 1, 0)]
    data.cls('rsna', train=[*train, ('1.png', phantoms[4], 0, 1)])
    data.cls('covidx', test=[*test, ('1.png', phantoms[5], 0, 1)])
    (leak,) = [f for f in quick_audit(data.cfg()) if f.level == 'leak']
    assert leak.name == 'shared-ids:covidx/test:rsna/train'
    assert leak.examples == [uid.format(2)]


def test_levels_between_datasets(data, phantoms, make_rows):
    for name, splits in (
        ('one', ('train', 'val')),
        ('two', ('test', 'train')),
    ):
        data.cls(name, **{s: make_rows(phantoms[:2], 'a') for s in splits})
    data.datasets['two']['img_dir'] = '../one/images'
    levels = {f.name: f.level for f in quick_audit(data.cfg())}
    assert levels['shared-images:one/train:two/test'] == 'leak'
    assert levels['shared-images:one/val:two/test'] == 'warning'
    assert levels['shared-images:one/train:two/train'] == 'note'


def test_split_that_cannot_be_read_or_is_not_there(data, phantoms, make_rows):
    """What its reader refuses does not hide its leaks."""
    rows = make_rows(phantoms[:3], 'a')
    val = [('wrong.png', phantoms[4], 'x', 1), rows[0]]
    data.cls('one', train=rows, val=val)
    findings = {f.check: f for f in quick_audit(data.cfg())}
    assert findings['unread-split'].name == 'unread-split:one/cls/val'
    assert findings['unread-split'].level == 'error'
    assert 'row 2' in findings['unread-split'].message
    assert findings['shared-images'].examples == ['a0.png']
    assert findings['no-split'].name == 'no-split:one/cls/test'
    assert findings['no-split'].level == 'note'


def test_boxes_that_are_refused_hide_no_leak(data, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:2], 'a'))
    bad = ('a0.png', 256, [('A', 9, 9, 0, 10)])
    data.loc('one', test=[bad, ('gone.png', 256, [])])
    findings = {f.check: f for f in quick_audit(data.cfg())}
    assert 'has no area' in findings['unread-split'].message
    assert findings['shared-images'].level == 'leak'
    assert findings['missing-images'].name == 'missing-images:one/test'


def test_missing_images_are_counted(data, phantoms, make_rows):
    rows = make_rows(phantoms[:3], 'a')
    gone = [(f'gone{i}.png', None, 0, 1) for i in range(30)]
    data.cls('one', train=[*rows, *gone], val=[rows[1], gone[0]])
    found = [f for f in quick_audit(data.cfg()) if f.check != 'no-split']
    missing = {f.name: f for f in found if f.check == 'missing-images'}
    assert [f.level for f in missing.values()] == ['error'] * 2
    train = missing['missing-images:one/train']
    assert train.message == '30 of 33 images of one/train do not exist.'
    # and they hide nothing else
    assert {f.check for f in found} >= {'shared-images', 'unknown-patients'}
    # the few that training replaces are no error
    reader = data.datasets['one']['tasks']['cls']['reader']
    reader['max_missing'] = 0.95
    levels = {f.name: f.level for f in quick_audit(data.cfg())}
    assert levels['missing-images:one/train'] == 'warning'
    assert levels['missing-images:one/val'] == 'error'


def test_levels_by_config(data, phantoms, make_rows):
    rows = make_rows(phantoms[:3], 'a')
    data.cls('one', train=rows, test=rows)
    levels = {'same-split': 'note', 'unknown-patients:one': 'error'}
    found = quick_audit(data.cfg(audit=dict(levels=levels)))
    assert {f.check: f.fails for f in found if f.check != 'no-split'} == {
        'same-split': False,
        'unknown-patients': True,
    }
    for wrong, text in (
        ({'same-split': 'fatal'}, 'audit.levels.*same-split.*fatal'),
        (['same-split'], 'must be a dict'),
    ):
        with pytest.raises(UserError, match=text):
            quick_audit(data.cfg(audit=dict(levels=wrong)))


def test_class_without_positives(data, phantoms):
    data.cls('one', train=[('a.png', phantoms[0], 1, 0)])
    (finding,) = [
        f for f in quick_audit(data.cfg()) if f.check == 'no-positives'
    ]
    assert finding.examples == ['B']


def test_allowed_by_config(data, phantoms, make_rows):
    rows = make_rows(phantoms[:3], 'a')
    data.cls('one', train=rows, test=rows)
    findings = quick_audit(data.cfg(audit=dict(allow=['one:one'])))
    assert [f.allowed for f in findings if f.level == 'leak'] == [True]


@pytest.mark.parametrize(
    ('audit', 'message'),
    [
        (dict(alow=['x']), 'Unknown key "alow" in audit'),
        (dict(allow='x'), 'audit.allow is .x.; it must be a list'),
        (dict(on_leak='cry'), 'audit.on_leak is .cry.; use one of warn, stop'),
    ],
)
def test_wrong_config(clean, audit, message):
    with pytest.raises(UserError, match=message):
        quick_audit(clean.cfg(audit=audit))


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, text):
        self.lines.append(text)


def test_start_of_a_training(data, phantoms, make_rows):
    rows = make_rows(phantoms[:3], 'a')
    data.cls('one', train=rows, test=rows)
    log = Log()
    (leak,) = warn_of_leaks(data.cfg(), (), log)
    assert any(leak.name in line for line in log.lines)
    with pytest.raises(UserError, match='same 3 images; fix the splits'):
        warn_of_leaks(data.cfg(audit=dict(on_leak='stop')), (), log)
    allow = dict(on_leak='stop', allow=['one:one'])
    assert warn_of_leaks(data.cfg(audit=allow), (), log) == []


def test_a_missing_test_split_does_not_stop_a_training(clean):
    (clean.home('two') / 'test.csv').unlink()
    log = Log()
    assert warn_of_leaks(clean.cfg(audit=dict(on_leak='stop')), (), log) == []
    assert any('unread-split:two/cls/test' in x for x in log.lines)


def test_built_datasets_are_not_read_again(clean, monkeypatch):
    cfg = clean.cfg()
    splits, _ = open_splits(cfg, task_table(cfg))

    class Dataset:
        def __init__(self, part):
            self.task, self.ann_file = part.task, part.ann_file
            self.data_list = part.records

    monkeypatch.setattr('fx_mm.audit.task_splits.TaskDataset', None)
    again, findings = open_splits(cfg, task_table(cfg), map(Dataset, splits))
    assert [part.records for part in again] == [p.records for p in splits]
    assert findings == []


def test_file_of_a_dataset(clean):
    cfg = Config(dict(one=clean.datasets['one']))
    assert names(quick_audit(cfg)) == []


def test_config_without_datasets():
    with pytest.raises(UserError, match='no "datasets"'):
        quick_audit(Config(dict(model={})))


def test_speed_of_names(data):
    """A twentieth of the 400,000 rows that take two seconds."""
    stems = [f'{i // 4:08d}_{i % 4:03d}' for i in range(20_000)]
    header = ['image', 'patient', 'A', 'B']
    built = []
    for split, part in (('train', stems[:12_000]), ('test', stems[12_000:])):
        rows = [[f'{stem}.png', stem[:8], 1, 0] for stem in part]
        data.table('big', f'{split}.csv', header, rows)
        built.append([dict(img_path=f'/x/{r[0]}', img_id=r[0]) for r in rows])
    data.add('big', 'cls', ('A', 'B'), 'CsvLabelReader', '.csv')
    cfg = data.cfg()
    table = task_table(cfg)
    datasets = []
    for split, records in zip(('train', 'test'), built):
        task = table['big/cls']
        datasets.append(
            SimpleNamespace(
                task=task,
                ann_file=task.ann_file(split),
                data_list=Records(records),
            )
        )
    # of this process: other programs may hold the cores
    start = time.process_time()
    splits, _ = open_splits(cfg, table, datasets)
    findings = find_shared(splits)
    assert time.process_time() - start < 0.5
    assert [f.check for f in findings] == []
    assert len(set(splits[0].patients)) == 3_000


def test_patients_of_a_coco_file(data, phantoms):
    for number in range(4):
        data.image('one', f'{number}.png', phantoms[number])
    boxes = dict(train=('0.png', '1.png'), test=('2.png', '3.png'))
    data.loc('one', **{s: [(n, 256, []) for n in b] for s, b in boxes.items()})
    for split in boxes:
        path = data.home('one') / f'{split}.json'
        content = json.loads(path.read_text())
        for image in content['images']:
            image['patient'] = 'p'
        path.write_text(json.dumps(content))
    assert names(quick_audit(data.cfg())) == [
        'shared-patients:one/train:one/test'
    ]


WAYS = (['13', '14'], ['13.0', '0014'], ['P13', 'patient_14'], ['p13', '#14'])


@pytest.mark.parametrize('train', WAYS)
@pytest.mark.parametrize('test', WAYS[1:])
def test_patients_who_are_written_in_other_ways(
    data, phantoms, make_rows, train, test
):
    if train == test:
        train = WAYS[0]
    data.cls(
        'one',
        patients=True,
        train=make_rows(phantoms[:2], 'a', 0, train),
        test=make_rows(phantoms[2:4], 'a', 2, test),
    )
    findings = quick_audit(data.cfg())
    (leak,) = [f for f in findings if f.level == 'leak']
    assert leak.name == 'shared-patients:one/train:one/test'
    assert (leak.count, leak.examples) == (2, ['13', '14'])
    (warning,) = [f for f in findings if f.check == 'patient-spellings']
    assert (warning.level, warning.count) == ('warning', 2)
    assert '2 patients are written in several ways' in warning.message


@pytest.mark.parametrize('column', ['PatientID', 'patient_id', 'Patient ID'])
@pytest.mark.parametrize('packed', [False, True])
def test_columns_and_packed_tables(data, phantoms, column, packed):
    for split, patient in (('train', '13'), ('test', '13')):
        image = f'{split}.png'
        data.image('one', image, phantoms[len(split)])
        rows = [[image, patient, 1, 0]]
        data.table('one', f'{split}.csv', ['image', column, 'A', 'B'], rows)
    data.add('one', 'cls', ('A', 'B'), 'CsvLabelReader', '.csv')
    if packed:
        data.pack('one', '.csv.gz')
    findings = quick_audit(data.cfg())
    assert names(findings) == ['shared-patients:one/train:one/test']
    assert 'unused-classes' not in {f.check for f in findings}
