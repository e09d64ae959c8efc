"""Files that hold no weights are named; safetensors holds what torch does."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from fx_mm.utils.checkpoint import load_file
from fx_mm.utils.errors import UserError
from fx_mm.utils.weight_files import dump_safetensors


def a_tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as tar:
        tar.addfile(tarfile.TarInfo('folder/x.pth'))
    return stream.getvalue()


def a_zip(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        for name in names:
            archive.writestr(name, b'x')
    return stream.getvalue()


def an_array():
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    return stream.getvalue()


HTML = b'\n <!DOCTYPE html>\n<html><title>Google Drive - Virus scan</title>'
POINTER = (
    b'version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n'
)
OTHERS = {
    'empty': (b'', 'is empty; copy or download it again'),
    'html': (HTML, 'is a web page and not the file'),
    'xml': (b'<?xml version="1.0"?><Error/>', 'is an error page'),
    'pointer': (POINTER, 'is a pointer of Git LFS.*git lfs pull'),
    'not found': (b'404: Not Found', 'is text ."404: Not Found".'),
    'json': (b'{"error": "no access"}', 'is text ."{"error": "no access"}".'),
    'letters': ('Zugriff f\xfcr '.encode() + b'x' * 501, 'is text'),
    'gzip': (gzip.compress(b'x'), 'is packed by gzip; unpack it'),
    'tar': (a_tar(), 'is a tar archive; unpack it'),
    'zip': (a_zip('a.txt', 'b/c.bin'), 'with a.txt, b/c.bin in it; unpack'),
    'empty zip': (a_zip(), 'a zip archive with nothing in it'),
    'script': (
        a_zip('x/data.pkl', 'x/constants.pkl'),
        'is a TorchScript program; save its state_dict',
    ),
    'hdf5': (b'\x89HDF\r\n\x1a\n' + bytes(20), 'is an HDF5 file'),
    'npy': (an_array(), 'is an array of NumPy'),
    'four bytes': (b'\x01\x02\x03\x04', 'is not readable'),
    'a mark': (b'\x80\x02', 'is not readable'),
    'zeros': (bytes(600), 'is not readable'),
    'length': ((10**9).to_bytes(8, 'little') + b'{"a"', 'is not readable'),
}


@pytest.mark.parametrize('name', OTHERS)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_what_is_no_checkpoint_is_named(tmp_path, name, suffix):
    content, message = OTHERS[name]
    path = tmp_path / f'x{suffix}'
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_file(str(path))
    text = str(error.value)
    assert text.startswith(f'Checkpoint "{path}"') and '\n' not in text


def test_a_folder(tmp_path):
    with pytest.raises(UserError, match='is a folder; give a file in it'):
        load_file(str(tmp_path))


@pytest.mark.parametrize(
    ('content', 'kind'),
    [([1, 2], 'list'), (torch.ones(2), 'Tensor'), ('text', 'str'), (3, 'int')],
)
def test_what_holds_no_dict(tmp_path, content, kind):
    path = str(tmp_path / 'x.pth')
    torch.save(content, path)
    message = f'holds a {kind} and not weights by name; save model.state_dict'
    with pytest.raises(UserError, match=message):
        load_file(path)


def test_a_whole_module_is_refused_also_with_trust(tmp_path):
    path = str(tmp_path / 'x.pth')
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(UserError, match='holds more than weights.*--trust'):
        load_file(path)
    with pytest.raises(UserError, match='holds a Linear and not weights'):
        load_file(path, trust=True)


def test_any_broken_byte_is_one_sentence(tmp_path):
    """Of both formats; some bytes do not matter."""
    rng = np.random.default_rng(0)
    weights = {'a': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(2)}
    stream = io.BytesIO()
    torch.save(weights, stream, _use_new_zipfile_serialization=False)
    for whole in (stream.getvalue(), dump_safetensors(weights)):
        for _ in range(150):
            broken = bytearray(whole)
            for place in rng.integers(0, len(whole), 3):
                broken[place] = rng.integers(256)
            path = tmp_path / 'x.pth'
            path.write_bytes(broken[: rng.integers(1, len(whole) + 99)])
            try:
                assert isinstance(load_file(str(path)), dict)
            except UserError as error:
                assert 'x.pth' in str(error) and '\n' not in str(error)


def test_safetensors_of_others(tmp_path):
    """By content: a download may have lost its suffix."""
    weights = {'b': torch.ones(2), 'a': torch.zeros(2, 2)}
    for name in ('x.safetensors', 'x.bin'):
        path = str(tmp_path / name)
        safetensors.torch.save_file(weights, path)
        loaded = load_file(path)
        assert set(loaded) == {'a', 'b'}
        assert torch.equal(loaded['b'], weights['b'])


def test_safetensors_of_ours_has_its_meta(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {'a': shared, 'b': shared, 'c': shared.T}
    meta = dict(tasks=[dict(task='d/cls', classes=['\xc4'])], cfg='a = 1\n')
    path = tmp_path / 'x.safetensors'
    path.write_bytes(dump_safetensors(weights, meta))
    loaded = load_file(str(path))
    assert loaded['meta'] == meta
    assert set(loaded['state_dict']) == {'a', 'b', 'c'}
    assert torch.equal(loaded['state_dict']['c'], shared.T)
    assert load_file(str(path), 'meta')['state_dict']['a'].is_meta
    # others read it too
    assert set(safetensors.torch.load_file(path)) == {'a', 'b', 'c'}
    for _ in range(9):
        assert dump_safetensors(weights, meta) == path.read_bytes()


def test_a_config_in_its_meta_is_refused(tmp_path):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(dump_safetensors({}, dict(config='import os')))
    with pytest.raises(UserError, match='execute as Python'):
        load_file(str(path))


def test_broken_meta_is_one_sentence(tmp_path):
    path = tmp_path / 'x.safetensors'
    content = safetensors.torch.save({'a': torch.ones(1)}, {'fx_mm': '{'})
    path.write_bytes(content)
    with pytest.raises(UserError, match='is not readable'):
        load_file(str(path))
    content = safetensors.torch.save(
        {'a': torch.ones(1)}, {'fx_mm': json.dumps([1])}
    )
    path.write_bytes(content)
    assert load_file(str(path))['meta'] == [1]
