"""Reports that are files of their own, as MIMIC-CXR and Indiana have them."""

import pytest

from fx_mm.datasets.readers import (
    IndianaReportReader,
    MimicReportReader,
    report_files,
)
from fx_mm.datasets.readers.report_files import split_sections
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

TASK = Task('toy', 'report', ('Pneumothorax',))
MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough: eval  // pneumonia?

 FINDINGS:

 The lungs are clear.  No pleural effusion
 or pneumothorax.

 IMPRESSION:
 Normal.
"""
INDIANA = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">Normal chest.</AbstractText>
</Abstract></Article></MedlineCitation>
<parentImage id="CXR1_1_IM-0001-3001"><figureId>F1</figureId></parentImage>
<parentImage id="CXR1_1_IM-0001-4001"><figureId>F2</figureId></parentImage>
</eCitation>
"""


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(
        report_files, 'log_once', lambda text, level: lines.append(text)
    )
    return lines


def test_without_headings_there_are_no_sections():
    assert split_sections('') == split_sections('Clear lungs: yes.') == {}


def test_sections_begin_with_a_heading():
    found = split_sections(MIMIC)
    assert list(found) == [
        'examination',
        'indication',
        'findings',
        'impression',
    ]
    assert found['impression'] == 'Normal.'


@pytest.mark.parametrize(
    ('text', 'findings'),
    [
        ('Findings: A.\n impression : B.', 'A.'),
        ('FINDINGS AND IMPRESSION: A.', 'A.'),
        ('FINDINGS/IMPRESSIONS:\nA.\nRECOMMENDATION(S): C.', 'A.'),
        ('FINDINGS: A.\nNOTE: B.\nPA AND LATERAL: C.\nWet  read: D.', None),
        ('FINDINGS: A.\nCOMPARISONS: None.\nFINDINGS:\n', 'A.'),
        ('FINDINGS: B.\nFINDINGS: A.', 'A.'),
        ('FINDINGS: A.\nConclusion: B.\nREASON FOR EXAM: C.', 'A.'),
    ],
)
def test_known_headings_alone_cut(text, findings):
    wanted = findings or 'A.\nNOTE: B.\nPA AND LATERAL: C.'
    assert split_sections(text)['findings'] == wanted


def test_a_section_that_is_asked_for_is_known():
    text = 'Findings: A.\nMy  note (s): B.'
    assert split_sections(text, ['my note (s)']) == {
        'findings': 'A.',
        'my note (s)': 'B.',
    }


def test_mimic(tmp_path, write_images, said):
    names = [f'files/p10/p10000001/s5000000{i}/x.png' for i in range(4)]
    write_images(*names)
    root = tmp_path / 'images'
    study = root / 'files/p10/p10000001'
    (study / 's50000000.txt').write_text(MIMIC)
    (study / 's50000001.txt').write_text('IMPRESSION:\nNo change.')
    (study / 's50000002.txt').write_text('NOTIFICATION: called.')
    (root / 'prepared').mkdir()
    table = root / 'prepared/train.csv'
    table.write_text('\n'.join(['image,Edema', *(f'{n},1' for n in names)]))
    read = MimicReportReader(data_root=str(root))
    records = read(str(table), str(root), TASK)
    assert [record['gt_report'] for record in records] == [
        'The lungs are clear. No pleural effusion or pneumothorax.',
        'No change.',
    ]
    assert [record['img_id'] for record in records] == names[:2]
    assert '2 of 4 images have no report with findings or' in said[0]
    read = MimicReportReader(data_root=str(root), sections=['IMPRESSION'])
    assert read(str(table), str(root), TASK)[0]['gt_report'] == 'Normal.'


def test_indiana(tmp_path, write_images, said):
    names = [f'CXR1_1_IM-0001-{n}.png' for n in (3001, 4001, 5001)]
    images = write_images(*names)
    folder = tmp_path / 'ecgen-radiology'
    folder.mkdir()
    table = tmp_path / 'train.csv'
    table.write_text('\n'.join(['image', *names]))
    with pytest.raises(UserError, match='holds no .xml file'):
        IndianaReportReader(reports=folder.name)(str(table), images, TASK)
    for findings, wanted in (
        ('Lungs &amp; heart normal.', 'Lungs & heart normal.'),
        ('', 'Normal chest.'),
        ('No <b>large</b> <i>mass</i>.', 'No large mass.'),
        (
            'Clear.</AbstractText><AbstractText Label="FINDINGS"> ',
            'Clear.',
        ),
    ):
        (folder / '1.xml').write_text(INDIANA.format(findings=findings))
        read = IndianaReportReader(reports=folder.name)
        records = read(str(table), images, TASK)
        assert [record['gt_report'] for record in records] == [wanted] * 2
    assert '1 of 3 images' in said[0]
    (folder / '2.xml').write_text('<eCitation>')
    with pytest.raises(UserError, match='2.xml: cannot be read as XML'):
        IndianaReportReader(reports=folder.name)(str(table), images, TASK)


@pytest.mark.parametrize('sections', ['findings', 3, [3]])
def test_sections_are_a_list(sections):
    with pytest.raises(UserError, match='sections is .*; it must be a list'):
        MimicReportReader(sections=sections)


def test_what_is_refused(tmp_path, write_images):
    images = write_images('a.png')
    table = tmp_path / 'train.csv'
    table.write_text('image\na.png')
    with pytest.raises(UserError, match='"../../x", are no folder'):
        MimicReportReader(reports='../../x')(str(table), images, TASK)
    asks = Task('t', 'report', ('A',), config=dict(questions=True))
    with pytest.raises(UserError, match='remove questions=True'):
        MimicReportReader()(str(table), images, asks)
