"""What a config asks for, and the sentences for what it cannot ask for."""

import pytest

from fx_mm.preparation import RAW_DATASETS, RawFolder
from fx_mm.preparation.dataset_spec import find_config, read_dataset_spec
from fx_mm.preparation.manifest import sign_files
from fx_mm.tasks import TASK_KINDS, ClassificationKind
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize('name', sorted(RAW_DATASETS))
def test_shipped_configs(name, tmp_path):
    spec = read_dataset_spec(name, tmp_path)
    assert spec.name == name
    assert spec.root.parent == tmp_path
    assert 'val' in spec.splits
    for form in spec.forms.values():
        assert form.classes
        for file in form.files.values():
            assert file.startswith('prepared/')


def test_configs_are_found_by_name_and_path(toy):
    path = find_config('siim_acr')
    assert path.endswith('configs/_base_/datasets/siim_acr.py')
    assert find_config(path) == path
    spec = read_dataset_spec(toy.config, toy.data)
    assert spec.root == toy.root and not spec.in_place
    with pytest.raises(
        UserError, match='"siim" is neither a config file nor a dataset; did'
    ):
        find_config('siim')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (
            "data_root='data/toy/'",
            'data_root=None',
            'dataset "toy" has no data_root',
        ),
        (
            "type='CsvLabelReader', uncertain=1.0",
            "type='ListLabelReader'",
            r'toy.tasks.cls.reader is "ListLabelReader", but prepared files',
        ),
        (
            "type='MaskReader'",
            "type='MaskReader', suffix='.png'",
            'toy.tasks.seg.reader with "suffix", but prepared files are read',
        ),
        (
            "{s}_masks.csv'",
            "{s}.png'",
            'is "prepared/(train|val|test).png"; prepared masks end in .c',
        ),
        (
            "{s}_masks.csv'",
            "{s}.csv'",
            'prepared/train.csv stands for cls/train and for seg/train; give',
        ),
        (
            "{s}.json'",
            "all.json'",
            'prepared/all.json stands for loc/train and for loc/val; give',
        ),
        (
            "f'prepared/",
            "f'lists/",
            'dataset "toy" names no split below prepared/, so there is noth',
        ),
        (
            "classes=('Nodule',),",
            'classes=(),',
            'toy.tasks.loc has no "classes"',
        ),
        (
            'del _splits',
            'other = toy',
            r'has 2 datasets \((toy, other|other, toy)\); prepare them one',
        ),
    ],
)
def test_mistakes(toy, old, new, message):
    toy.configure(**{old: new})
    with pytest.raises(UserError, match=message):
        read_dataset_spec(toy.config, toy.data)


def test_merged_boxes_need_one_class(toy):
    toy.configure(
        **{
            "type='CocoReader'": "type='CocoReader', merge_classes=True",
            "classes=('Nodule',)": "classes=('A', 'B')",
        }
    )
    with pytest.raises(
        UserError, match='toy.tasks.loc merges its classes and'
    ):
        read_dataset_spec(toy.config, toy.data)


@pytest.fixture
def kind():
    """Register a kind of tasks for the time of a test."""

    def register(annotation):
        row = type('Odd', (ClassificationKind,), dict(annotation=annotation))
        row.name = 'odd'
        TASK_KINDS.register_module(name='odd', module=row)

    yield register
    TASK_KINDS.module_dict.pop('odd')


@pytest.mark.parametrize(
    ('annotation', 'message'),
    [
        ('numbers', 'only labels, boxes, masks can be prepared, not numbers'),
        ('labels', 'toy.tasks.odd wants prepared labels, which cls has alr'),
    ],
)
def test_kinds_whose_files_cannot_be_written(toy, kind, annotation, message):
    kind(annotation)
    more = "odd=dict(classes=('A',), splits=dict(train='prepared/odd.csv')),"
    end = '    ),\n)\ndel'
    toy.configure(**{end: f'        {more}\n{end}'})
    with pytest.raises(UserError, match=message):
        read_dataset_spec(toy.config, toy.data)


def test_annotation_files_are_signed(tmp_path):
    names = 'a.csv', 'deep/b.json', 'c.txt', 'd.txt', 'unread.csv'
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('["x"]')
    folder = RawFolder(tmp_path)
    for _ in range(2):
        folder.open_table(tmp_path / 'a.csv')
        folder.read_json(tmp_path / 'deep/b.json')
        list(folder.read_lines(tmp_path / 'c.txt'))
        folder.read_optional_text(tmp_path / 'd.txt')
        folder.read_optional_text(tmp_path / 'absent.txt')
    signed = sign_files(folder.files_read, tmp_path)
    assert list(signed) == ['a.csv', 'c.txt', 'd.txt', 'deep/b.json']
    assert signed['a.csv']['bytes'] == 5
