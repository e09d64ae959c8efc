"""Text files: what they may be packed and written in, and what is refused."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile

import pytest

from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_json, read_lines

HINT = 'ask who made it'
TEXT = '[1,\n"\xe9\u65e5"]\n'
WRITTEN = (
    TEXT.encode(),
    codecs.BOM_UTF8 + TEXT.encode(),
    TEXT.encode('utf-16'),
    codecs.BOM_UTF16_BE + TEXT.encode('utf-16-be'),
)


def zipped(data):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        archive.writestr('x.csv', data)
    return stream.getvalue()


@pytest.mark.parametrize('data', [b'', b' \n\r\n', codecs.BOM_UTF8])
@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_nothing_in_it(tmp_path, data, pack):
    path = tmp_path / 'x'
    path.write_bytes(pack(data))
    for read in (lambda *a: list(read_lines(*a)), read_json):
        with pytest.raises(UserError) as error:
            read(path, HINT)
        assert str(error.value) == f'{path}: the file is empty; {HINT}.'


@pytest.mark.parametrize('name', ['x.json', 'x.json.gz', 'x', 'x.csv'])
@pytest.mark.parametrize('data', WRITTEN)
@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_its_bytes_and_not_its_name_tell_what_it_is(
    tmp_path, name, data, pack
):
    path = tmp_path / name
    path.write_bytes(pack(data))
    assert ''.join(read_lines(path, HINT)) == TEXT
    assert read_json(path, HINT) == [1, '\xe9\u65e5']


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (zipped(TEXT), 'is a zip archive or an Excel file; unpack it, or'),
        (b'\xd0\xcf\x11\xe0' + bytes(99), 'is an Excel file; save the sheet'),
        (bz2.compress(TEXT.encode()), 'is packed by bzip2; unpack it'),
        (lzma.compress(TEXT.encode()), 'is packed by xz; unpack it'),
        (
            b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
            'is a pointer of Git LFS .*"git lfs pull"',
        ),
        (b'\n<!DOCTYPE html>\n<html>', 'is a web page and not the file'),
        (codecs.BOM_UTF8 + b'<html lang="en">', 'is a web page'),
        (b'a,b\nr\xf6ntgen,1\n', r'is not UTF-8 text \(byte 5\); save it as'),
        (codecs.BOM_UTF16_LE + b'a\0b', 'is not whole UTF-16 text'),
    ],
)
@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_what_is_no_text_is_named(tmp_path, data, message, pack):
    path = tmp_path / 'labels.csv'
    path.write_bytes(pack(data))
    with pytest.raises(UserError, match=f'labels.csv: {message}'):
        list(read_lines(path, HINT))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"a": 1', 'is not valid JSON .line 1: .*is it cut off'),
        ('[' * 100_000, 'is not valid JSON .*recursion'),
        (f'[{"1" * 9999}]', 'is not valid JSON .*digits'),
    ],
)
def test_what_is_no_json_is_named(tmp_path, text, message):
    path = tmp_path / 'x.json'
    path.write_text(text)
    with pytest.raises(UserError, match=f'x.json: {message}'):
        read_json(path, HINT)


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match=f'No such file.*; {HINT}'):
        read_json(tmp_path / 'x.json', HINT)
    with pytest.raises(UserError, match=f'Is a directory; {HINT}'):
        list(read_lines(tmp_path, HINT))
