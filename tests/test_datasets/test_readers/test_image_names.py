"""Names that leave the data, and images that are not there."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets.readers import (
    CocoReader,
    CsvLabelReader,
    ListLabelReader,
    MaskReader,
)
from fx_mm.datasets.readers.images import FileIndex, Folder
from fx_mm.utils.errors import UserError


@pytest.fixture
def read_name(tmp_path, write_images, make_task):
    """Read one image name in every format; images/in/a.png is there."""

    def run(form, name, **kwargs):
        images = write_images('in/a.png')
        path = tmp_path / 'ann' / 'file'
        path.parent.mkdir(exist_ok=True)
        kind = dict(coco='loc', masks='seg').get(form, 'cls')
        task = make_task(kind, ('A',))
        if form == 'csv':
            path.write_text(f'image,A\n{name},1\n')
            reader = CsvLabelReader(**kwargs)
        elif form == 'list':
            path.write_text(f'{name},1\n')
            reader = ListLabelReader(**kwargs)
        elif form == 'masks':
            path.write_text(f'image,A\n{name},\n')
            reader = MaskReader(**kwargs)
        else:
            image = dict(id=1, file_name=name, width=4, height=4)
            content = dict(images=[image], annotations=[])
            content['categories'] = [dict(id=1, name='A')]
            path.write_text(json.dumps(content))
            reader = CocoReader(**kwargs)
        return reader(str(path), images, task)

    return run


FORMS = ('csv', 'list', 'coco', 'masks')


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
    'name', ['../secret.png', 'in/../../secret.png', '/etc/passwd']
)
def test_names_that_leave_the_data_are_refused(read_name, form, name):
    with pytest.raises(UserError, match='leads out of the data folder') as e:
        read_name(form, name)
    assert name in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('form', FORMS)
def test_absolute_names_are_refused_even_within(read_name, form, tmp_path):
    name = str(tmp_path / 'images' / 'in' / 'a.png')
    with pytest.raises(UserError, match='leads out'):
        read_name(form, name, data_root=str(tmp_path))


@pytest.mark.parametrize('form', FORMS)
def test_names_may_go_up_within_the_data_root(read_name, form, tmp_path):
    (record,) = read_name(form, 'in/../in/a.png')
    assert record['img_path'] == str(tmp_path / 'images/in/a.png')
    name = '../images/in/a.png'
    (record,) = read_name(form, name, data_root=str(tmp_path))
    assert Path(record['img_path']) == tmp_path / 'images/in/a.png'
    outside = f'../../{tmp_path.name}/images/in/a.png'
    with pytest.raises(UserError, match='leads out'):
        read_name(form, '../' + outside, data_root=str(tmp_path))


def test_masks_that_leave_the_data_are_refused(
    tmp_path, write_images, make_task
):
    images = write_images('a.png', '../masks/a.png')
    (tmp_path / 'ann').mkdir()
    path = tmp_path / 'ann' / 'masks.csv'
    path.write_text('image,A\na.png,../masks/a.png\n')
    task = make_task('seg', ('A',))
    with pytest.raises(UserError, match='row 2, column "A".*leads out'):
        MaskReader()(str(path), images, task)
    (record,) = MaskReader(data_root=str(tmp_path))(str(path), images, task)
    assert record['mask_paths']['A'] == str(tmp_path / 'masks/a.png')


def test_linked_folders_are_as_good_as_own_ones(tmp_path, write_images):
    write_images('../elsewhere/a.png')
    root = tmp_path / 'root'
    root.mkdir()
    (root / 'images').symlink_to(tmp_path / 'elsewhere')
    folder = Folder(str(root / 'images'), str(root))
    assert folder.join('a.png') in FileIndex()


steps = st.sampled_from(['..', '.', 'a', 'b', '...', '..a'])


@given(st.lists(steps, min_size=1, max_size=6).map('/'.join))
def test_what_joins_never_leaves(name):
    for root in ('root', 'root/', '/root', '', '.'):
        path = Folder(root).join(name)
        expected = os.path.abspath(os.path.join(root, name))
        base = os.path.abspath(root)
        inside = expected == base or expected.startswith(base + os.sep)
        assert (path is not None) == inside
        if path is not None:
            assert os.path.abspath(path) == expected


def test_one_listing_for_a_large_folder(tmp_path, monkeypatch):
    listed, asked = [], []
    listdir, access = os.listdir, os.access
    monkeypatch.setattr(
        os, 'listdir', lambda path: listed.append(path) or listdir(path)
    )
    monkeypatch.setattr(
        os, 'access', lambda *args: asked.append(args) or access(*args)
    )
    large = [f'{tmp_path}/large/{n}.png' for n in range(100)]
    small = [f'{tmp_path}/{n}/{m}.png' for n in range(20) for m in range(2)]
    for path in [*large[1:], *small[1:]]:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    files = FileIndex()
    assert [path for path in large if path not in files] == large[:1]
    assert (len(listed), len(asked)) == (1, 8)
    assert [path for path in small if path not in files] == small[:1]
    assert (len(listed), len(asked)) == (1, 48)
    assert f'{tmp_path}/nowhere/a.png' not in files


@pytest.fixture
def many(tmp_path, write_images, make_task):
    """A table of 1000 images, of which some are missing."""
    images = write_images('0000.png')
    for number in range(1, 1000):
        path = Path(images, f'{number:04d}.png')
        path.hardlink_to(Path(images, '0000.png'))
    rows = ''.join(f'{number:04d}.png,1\n' for number in range(1000))
    (tmp_path / 'l.csv').write_text(f'image,A\n{rows}')

    def read(missing, **kwargs):
        for name in missing:
            Path(images, name).unlink()
        task = make_task('cls', ('A',))
        return CsvLabelReader(**kwargs)(str(tmp_path / 'l.csv'), images, task)

    return read


def test_a_few_missing_images_stay_and_are_named_once(many, log):
    records = many(['0500.png'])
    assert len(records) == 1000
    assert records[500]['img_id'] == '0500.png'
    text = log.text
    assert text.count('0500.png') == 1
    assert '1 of 1000 images do not exist' in text


def test_too_many_missing_images_are_refused(many):
    with pytest.raises(UserError) as info:
        many(['0500.png', '0007.png'])
    message = str(info.value)
    for part in ('l.csv, row 9', '0007.png', '2 of 1000', '0.1%', 'img_dir'):
        assert part in message, message
    assert '\n' not in message
    assert len(many([], max_missing=0.002)) == 1000


def test_evaluation_needs_all(many):
    with pytest.raises(UserError, match='1 of 1000 are missing, 0.0% may be'):
        many(['0500.png'], max_missing=0.0)


def test_max_missing_is_checked():
    for value in (-0.1, 1.5, 'all'):
        with pytest.raises(UserError, match='max_missing'):
            CsvLabelReader(max_missing=value)


NFC, NFD = 'in/\xe9t\xe9.png', 'in/e\u0301te\u0301.png'


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
    ('there', 'name'),
    [
        ('in/b.PNG', 'in/b.png'),
        ('in/b.png', 'in/b.Png'),
        (NFC, NFD),
        (NFD, NFC),
        ('in/b.png', 'in\\\\b.png'),
        ('\xe9/in/b.PNG', 'e\u0301\\\\in\\\\b.png'),
    ],
)
def test_names_in_another_form_find_their_file(
    read_name, write_images, form, there, name, log, tmp_path
):
    write_images(there)
    if form != 'coco':
        name = name.replace('\\\\', '\\')
    else:
        name = json.loads(f'"{name}"') if '\\' in name else name
    (record,) = read_name(form, name)
    assert record['img_path'] == str(tmp_path / 'images' / there)
    assert record['img_id'] == name
    assert '1 of 1 images are written in another way than their' in log.text


@pytest.mark.parametrize('name', ['in/A.png', 'in/a.jpg', 'In/a.png'])
def test_names_of_other_files_find_none(read_name, name):
    with pytest.raises(UserError, match='does not exist'):
        read_name('csv', name)


def test_backslashes_do_not_leave_the_data(read_name, write_images, tmp_path):
    write_images('../secret.png')
    for name in ('..\\secret.png', 'in\\..\\..\\secret.png'):
        with pytest.raises(UserError, match='does not exist'):
            read_name('csv', name)
    (record,) = read_name('csv', '..\\secret.png', data_root=str(tmp_path))
    assert Path(record['img_path']) == tmp_path / 'secret.png'


def test_two_names_of_one_file_are_refused(tmp_path, write_images, make_task):
    images = write_images('a.png', 'b.png')
    path = tmp_path / 'l.csv'
    path.write_text('image,A\na.png,1\nb.png,1\na.PNG,0\n')
    with pytest.raises(UserError) as info:
        CsvLabelReader()(str(path), images, make_task('cls', ('A',)))
    for part in ('l.csv, row 4', '"a.png"', '"a.PNG"', f'{images}/a.png'):
        assert part in str(info.value)


def test_the_exact_name_comes_first(tmp_path, write_images, make_task):
    """Two files may differ in the case of their suffix alone."""
    images = write_images('a.png', 'a.PNG')
    path = tmp_path / 'l.csv'
    path.write_text('image,A\na.PNG,1\na.png,0\n')
    records = CsvLabelReader()(str(path), images, make_task('cls', ('A',)))
    assert [Path(r['img_path']).name for r in records] == ['a.PNG', 'a.png']
    path.write_text('image,A\na.Png,1\n')
    with pytest.raises(UserError, match='a.Png does not exist'):
        CsvLabelReader()(str(path), images, make_task('cls', ('A',)))


def test_masks_in_another_form_find_their_file(
    tmp_path, write_images, make_task
):
    images = write_images('a.png', '../masks/a.PNG')
    path = tmp_path / 'masks.csv'
    path.write_text('image,A,B\na.png,masks\\a.png,masks/a.png#3\n')
    (record,) = MaskReader()(str(path), images, make_task('seg', ('A', 'B')))
    there = str(tmp_path / 'masks/a.PNG')
    assert record['mask_paths'] == dict(A=there, B=f'{there}#3')


def test_many_folders_are_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(FileIndex, 'FOLDERS', 4)
    files = FileIndex()
    for number in range(50):
        path = tmp_path / f'{number}' / 'a.png'
        path.parent.mkdir()
        path.touch()
        assert str(path) in files and f'{path}.jpg' not in files


def test_a_missing_annotation_file_names_the_command(tmp_path, make_task):
    task = make_task('cls', ('A',))
    for file, said in (('prepared/train.csv', True), ('train.csv', False)):
        with pytest.raises(UserError) as info:
            CsvLabelReader()(str(tmp_path / file), str(tmp_path), task)
        message = str(info.value)
        assert 'No such file' in message and '\n' not in message
        command = 'python tools/dataset_converters/prepare.py toy'
        assert (command in message) == said


def test_forms_of_relative_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ('a.PNG', '\xe9/b.png', 'c/d.png'):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    files = FileIndex()
    for root in ('', './', f'{tmp_path}/'):
        assert files.find(f'{root}a.png') == f'{root}a.PNG'
        assert files.find(f'{root}e\u0301/b.PNG') == f'{root}\xe9/b.png'
        assert files.find(f'{root}c/d.png') == f'{root}c/d.png'
        for name in ('e.png', 'x/y/a.png', 'C/d.png', 'c', 'a.png/x'):
            found = files.find(root + name)
            assert found == (f'{root}c' if name == 'c' else None)
    assert files.find('/nowhere/a.png') is None
    assert files.find('/TMP') is None
