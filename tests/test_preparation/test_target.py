"""What a config asks for, and the sentences for what it cannot ask for."""

import pytest

from fx_mm.preparation.dataset_spec import find_config, read_target
from fx_mm.preparation.manifest import files_read, sign_files
from fx_mm.utils.errors import UserError

SHIPPED = (
    'candid_ptx', 'chestx_det', 'chexpert', 'covidx', 'jsrt', 'mimic_cxr',
    'montgomery', 'nih14', 'node21', 'rsna', 'shenzhen', 'siim_acr', 'tbx11k',
    'vindr_cxr', 'vindr_findings', 'vindr_organs', 'vindr_ribcxr',
)  # fmt: skip


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_configs(name, tmp_path):
    target = read_target(name, tmp_path)
    assert target.name == name
    assert target.root.parent == tmp_path
    assert 'val' in target.parts
    for task in target.tasks.values():
        assert task.classes
        for file in task.files.values():
            assert file.startswith('prepared/')


def test_configs_are_found_by_name_and_path(toy):
    path = find_config('siim_acr')
    assert path.endswith('configs/_base_/datasets/siim_acr.py')
    assert find_config(path) == path
    target = read_target(toy.config, toy.data)
    assert target.root == toy.root and not target.in_place
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
            'is "prepared/(train|val|test).png"; prepared seg files end in .c',
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
        read_target(toy.config, toy.data)


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
        read_target(toy.config, toy.data)


def test_only_annotation_files_of_the_release_are_noted(tmp_path):
    names = 'a.csv', 'deep/b.json', 'image.png', 'prepared/c.csv', '.lock'
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    outside = tmp_path.parent / 'outside.csv'
    outside.touch()
    with files_read(tmp_path) as found:
        for name in names * 2:
            (tmp_path / name).read_text()
        outside.read_text()
    (tmp_path / 'a.csv').read_text()
    signed = sign_files(found, tmp_path)
    assert list(signed) == ['a.csv', 'deep/b.json'] and len(found) == 4
    assert signed['a.csv']['bytes'] == 5
