"""Which files of a folder are images, for every tool that walks one."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from fx_mm.image_io import image_files
from fx_mm.image_io.folders import (
    is_hidden,
    split_imageless,
    walk_files,
)
from fx_mm.image_io.image_files import find_images
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

IMAGELESS = dict(
    DICOMDIR='1.2.840.10008.1.3.10',
    report='1.2.840.10008.5.1.4.1.1.88.11',
    pdf='1.2.840.10008.5.1.4.1.1.104.1',
    shown='1.2.840.10008.5.1.4.1.1.11.1',
)


@pytest.fixture
def study(tmp_path, write_dicom):
    """A folder as a viewer exports it, unpacked on macOS."""
    folder = tmp_path / 'study'
    (folder / '__MACOSX').mkdir(parents=True)
    (folder / 'sub').mkdir()
    path = Path(write_dicom(np.zeros((2, 2), np.uint8)))
    dataset = pydicom.dcmread(path)
    dataset.save_as(folder / 'image')
    dataset.save_as(folder / 'sub' / 'b.dcm')
    del dataset.PixelData, dataset.Rows, dataset.Columns
    for name, uid in IMAGELESS.items():
        dataset.file_meta.MediaStorageSOPClassUID = uid
        dataset.SOPClassUID = uid
        dataset.save_as(folder / name)
    for name in ('._image', '__MACOSX/._image', '.DS_Store', 'sub/._b.dcm'):
        (folder / name).write_bytes(b'\0\5\x16\7')
    return folder


def test_a_missing_or_empty_folder_has_no_files(tmp_path):
    assert list(walk_files(tmp_path / 'none')) == []
    assert list(walk_files(tmp_path)) == []
    assert split_imageless([]) == ([], [])


@pytest.mark.parametrize('name', ['._a.png', '.DS_Store', '__MACOSX'])
def test_hidden(name):
    assert is_hidden(name)
    assert not is_hidden(name.strip('._'))


def test_files_are_walked_once(study):
    (study / 'sub' / 'loop').symlink_to(study)
    (study / 'more').symlink_to(study / 'sub')
    names = [p.relative_to(study).as_posix() for p in walk_files(study)]
    assert names == [*sorted([*IMAGELESS, 'image']), 'more/b.dcm']


def test_prediction_skips_dicoms_without_an_image(study, monkeypatch):
    lines = []
    monkeypatch.setattr(
        image_files, 'log', lambda text, *args: lines.append(text)
    )
    found = find_images(study)
    assert found == [str(study / 'image'), str(study / 'sub' / 'b.dcm')]
    (line,) = lines
    assert '4 DICOM files without an image skipped, such as DICOMDIR' in line


def test_preparation_skips_them_too(study):
    folder = RawFolder(study)
    found = folder.find_dicoms('.', '.dcm', '')
    assert list(found) == ['image', 'b']
    assert folder.skipped.notes == ['DICOM files without an image: 4 skipped']


def test_a_damaged_dicom_is_not_skipped(study):
    """Its error must show: cut off, or of no class."""
    whole = (study / 'image').read_bytes()
    (study / 'image').write_bytes(whole[:400])
    (study / 'sub' / 'b.dcm').write_bytes(whole[:132])
    (study / 'c.dcm').write_bytes(b'')
    images, others = split_imageless(walk_files(study))
    names = {path.name for path in images}
    assert names == {'image', 'b.dcm', 'c.dcm'}
    assert {path.name for path in others} == set(IMAGELESS)


def test_results_among_the_images_are_refused(study):
    for place in (study, study.parent):
        with pytest.raises(UserError, match='results would go there'):
            find_images(study, exclude=place)


def test_hidden_tables_are_not_found(tmp_path):
    for name in ('._a.csv', 'b.csv'):
        (tmp_path / name).write_text('x')
    assert RawFolder(tmp_path).find('*.csv').name == 'b.csv'
