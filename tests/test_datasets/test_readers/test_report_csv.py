"""Reports from tables: what is read, what is refused."""

import pytest

from fx_mm.datasets import TaskDataset
from fx_mm.datasets.readers import CsvReportReader
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

NAMES = ('a.png', 'b.png')
TASK = Task('toy', 'report', ('Nodule',))
ASKS = Task('toy', 'report', ('Nodule',), config=dict(questions=True))
ASKED = (
    'image,question,answer\na.png,Is it?,yes\nb.png,Is it?,no\n'
    'a.png,Where?,left  lung\n'
)


@pytest.fixture
def read(tmp_path, write_images):
    """Write a table beside two images and read it."""

    def run(text, task=TASK, **reader):
        images = write_images(*NAMES)
        path = tmp_path / 'reports.csv'
        path.write_text(text, encoding='utf-8', newline='')
        return CsvReportReader(**reader)(str(path), images, task)

    return run


def test_a_blank_report_is_refused(read):
    with pytest.raises(UserError, match='row 3: the report is blank; delete'):
        read('image,report\na.png,Clear.\nb.png,  \n')


@pytest.mark.parametrize(
    ('cell', 'words'),
    [('nan', 'the report is nan; delete'), ('A\0', 'has a NUL character')],
)
def test_what_is_no_text_is_refused(read, cell, words):
    with pytest.raises(UserError, match=f'row 3: .*{words}'):
        read(f'image,report\na.png,No nan.\nb.png,{cell}\n')


@pytest.mark.parametrize('key', ['report_column', 'question_column'])
def test_a_column_without_a_name_is_refused(key):
    with pytest.raises(UserError, match='is blank; write the name'):
        CsvReportReader(**{key: ''})


def test_white_space_becomes_one_blank(read):
    records = read('image,report\nb.png,"Two\n  lines, ä ""quoted"". "\n')
    assert records[0]['gt_report'] == 'Two lines, ä "quoted".'
    assert records[0]['img_id'] == 'b.png'


def test_the_column_has_a_name(read):
    records = read(
        'image,x,findings\na.png,1,Clear.\n', report_column='findings'
    )
    assert records[0]['gt_report'] == 'Clear.'
    with pytest.raises(UserError, match='report'):
        read('image,text\na.png,Clear.\n')


def test_an_image_has_one_report(read):
    with pytest.raises(UserError, match='was already in row 2'):
        read('image,report\na.png,One.\na.png,Two.\n')


def test_an_image_has_many_questions(read):
    records = read(ASKED, ASKS)
    wanted = [
        ('a.png #1', 'Is it?', 'yes'),
        ('b.png #1', 'Is it?', 'no'),
        ('a.png #2', 'Where?', 'left lung'),
    ]
    keys = ('img_id', 'question', 'gt_report')
    assert [tuple(r[key] for key in keys) for r in records] == wanted
    assert records[0]['img_path'] == records[2]['img_path']
    some = read(ASKED, ASKS, img_ids=['b.png'])
    assert [r['img_id'] for r in some] == ['b.png #1']
    with pytest.raises(UserError, match='row 2: the question is blank'):
        read('image,question,answer\na.png,,yes\n', ASKS)


def test_a_question_is_asked_of_an_image_once(read):
    text = f'{ASKED}b.png,Is  it?,yes\n'
    with pytest.raises(
        UserError, match='row 5: "Is it.*image "b.png" in row 3; keep one'
    ):
        read(text, ASKS)
    assert len(read(text, ASKS, img_ids=['a.png'])) == 2


def test_questions_about_an_image_are_of_one_patient(tmp_path, read):
    records = read(ASKED, ASKS)
    names = [record['img_id'] for record in records]
    config = dict(questions=True, reader=dict(type='CsvReportReader'))
    task = Task('toy', 'report', ('Nodule',), config=config)
    table = str(tmp_path / 'reports.csv')
    one, other, same = find_patients(task, table, names, None)
    assert one == same != other


def test_a_sample_has_its_texts(tmp_path, write_images):
    write_images(*NAMES)
    (tmp_path / 'q.csv').write_text(ASKED)
    steps = [
        dict(type='LoadXray'),
        dict(type='LoadXrayAnnotations'),
        dict(type='PackXray'),
    ]
    task = Task(
        'toy',
        'report',
        ('Nodule',),
        str(tmp_path),
        'images',
        dict(
            questions=True,
            reader=dict(type='CsvReportReader'),
            splits=dict(train='q.csv'),
            train_pipeline=steps,
        ),
    )
    sample = TaskDataset(task, 'train').sample(2, 0)['data_samples']
    assert sample.gt_report == 'left lung' and sample.question == 'Where?'
