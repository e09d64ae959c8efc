"""Images that are loaded: escapes, limits, and that uploads are not kept."""

import os
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from fx_mm.app import image_store
from fx_mm.app.image_store import ImageStore
from fx_mm.image_io.errors import ImageReadError
from fx_mm.utils.errors import UserError
from fx_mm.visualization.results import ImageResult

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
PNG = cv2.imencode('.png', GREY)[1].tobytes()
ESCAPES = (
    '../secret.png',
    '../../secret.png',
    'more/../../secret.png',
    './../secret.png',
    '..',
    '/etc/passwd',
    '/etc/../etc/passwd',
    '{outside}/secret.png',
    'link.png',
    'linked/secret.png',
    'more/link.png',
    'loop',
    '~/secret.png',
    '$HOME/secret.png',
    'file:///etc/passwd',
    '..\\secret.png',
    '%2e%2e/secret.png',
    '\0',
    'a.png\0../../secret.png',
    'x' * 5000,
)


def predict(source):
    result = ImageResult(source.name, source.path)
    try:
        result.image, result.reading = source.read()
    except ImageReadError as error:
        result.error = str(error)
        return result
    result.size = result.image.shape
    return result


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'root'
    (root / 'more').mkdir(parents=True)
    for name in ('a.png', 'more/b.png', '../secret.png'):
        (root / name).write_bytes(PNG)
    (root / 'link.png').symlink_to('../secret.png')
    (root / 'more/link.png').symlink_to(tmp_path / 'secret.png')
    (root / 'linked').symlink_to(tmp_path)
    (root / 'loop').symlink_to('loop')
    (root / 'inside.png').symlink_to('more/b.png')
    return root


@pytest.fixture
def store(root):
    store = ImageStore(root, predict, max_bytes=4096, max_images=3)
    yield store
    store.close()


def test_an_empty_folder_has_no_images(tmp_path):
    store = ImageStore(tmp_path, predict)
    assert store.names() == [] and len(store) == 0
    with pytest.raises(UserError, match='no such folder'):
        store.names('more')
    with pytest.raises(UserError, match='not loaded'):
        store.get('x')
    with pytest.raises(UserError, match='--root'):
        ImageStore(tmp_path / 'none', predict)
    store.close()


def test_what_is_listed_can_be_loaded(store):
    names = store.names()
    assert names == ['a.png', 'inside.png', 'more/b.png']
    for name in names:
        loaded = store.load(name)
        assert (loaded.result.image == GREY).all()
        assert loaded.source.name == Path(name).name or name == 'inside.png'
    assert store.names('more') == ['more/b.png']


@pytest.mark.parametrize('name', ESCAPES)
def test_nothing_outside_of_the_root_is_read(store, root, name):
    assert len(ESCAPES) == 20
    with pytest.raises(UserError, match='below the root') as error:
        store.load(name.format(outside=root.parent))
    # what there is outside is not told either
    assert 'No such' not in str(error.value)
    with pytest.raises(UserError, match='no such folder'):
        store.names(name.format(outside=root.parent))


def test_an_upload_goes_with_its_handle(store):
    loaded = store.add('../../c d.png', PNG)
    copy = Path(loaded.source.origin)
    assert copy.parent.parent == store.folder and copy.name == 'c d.png'
    assert copy.parent.stat().st_mode & 0o077 == 0o055
    assert store.folder.stat().st_mode & 0o077 == 0
    store.drop(loaded.handle)
    assert os.listdir(store.folder) == []
    with pytest.raises(UserError, match='load it again'):
        store.get(loaded.handle)
    store.add('d.png', PNG)
    store.close()
    assert not store.folder.exists()


@pytest.mark.parametrize('name', ['', '.', '..', 'a/', 'a\0b', 'x' * 201])
def test_a_name_that_is_none(store, name):
    with pytest.raises(UserError, match='name'):
        store.add(name, PNG)
    assert os.listdir(store.folder) == []


def test_what_cannot_be_read_leaves_nothing(store, root):
    with pytest.raises(ImageReadError):
        store.add('a.png', b'no image')
    (root / 'text.txt').write_text('secret')
    with pytest.raises(ImageReadError):
        store.load('text.txt')
    assert os.listdir(store.folder) == [] and len(store) == 0


def test_large_files(store, root):
    (root / 'large.png').write_bytes(bytes(4097))
    with pytest.raises(UserError, match='--max-mb'):
        store.load('large.png')
    with pytest.raises(UserError, match='--max-mb'):
        store.add('large.png', bytes(4097))


def test_headers_that_name_too_many_pixels(store, monkeypatch):
    """They are refused before anything is unpacked."""
    monkeypatch.setattr(image_store, 'MAX_PIXELS', 63)
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = '1.2'
    data.file_meta.MediaStorageSOPInstanceUID = '1.3'
    data.SOPClassUID, data.SOPInstanceUID = '1.2', '1.3'
    data.Rows = data.Columns = 60000
    path = store.folder.parent / f'{store.folder.name}.dcm'
    data.save_as(path, enforce_file_format=True)
    dicom = path.read_bytes()
    path.unlink()
    mha = b'NDims = 2\nDimSize = 60000 60000\nElementDataFile = LOCAL\n'
    for name, content in (('a.png', PNG), ('b.dcm', dicom), ('c.mha', mha)):
        with pytest.raises(UserError, match='megapixels'):
            store.add(name, content)
    monkeypatch.setattr(image_store, 'MAX_PIXELS', 64)
    store.add('a.png', PNG)


def test_the_image_unused_for_longest_goes_first(store):
    a, b, c = (store.add('a.png', PNG).handle for _ in 'abc')
    store.get(a)
    d = store.add('a.png', PNG).handle
    assert [store.get(each).handle for each in (a, c, d)] == [a, c, d]
    with pytest.raises(UserError, match='load it again'):
        store.get(b)
    assert len(os.listdir(store.folder)) == 3


def test_images_that_nobody_asks_about_go(store, monkeypatch):
    handle = store.add('a.png', PNG).handle
    now = image_store.time.monotonic()
    monkeypatch.setattr(
        image_store.time, 'monotonic', lambda: now + 1000, raising=True
    )
    store.get(handle)
    monkeypatch.setattr(image_store.time, 'monotonic', lambda: now + 2799)
    store.expire()
    assert len(store) == 1
    monkeypatch.setattr(image_store.time, 'monotonic', lambda: now + 2801)
    store.expire()
    assert len(store) == 0 and os.listdir(store.folder) == []
