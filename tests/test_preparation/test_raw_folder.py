"""The folder of a raw dataset: which files it finds, and how it reads them."""

import pytest
from raw_helpers import write_files

from fx_mm.preparation import RawFolder, skipped
from fx_mm.utils.errors import UserError


def test_files_are_found_in_order_compressed_or_not(tmp_path):
    write_files(tmp_path, {'b/x.csv': '1', 'y.csv.gz': '2', 'b/z.csv': '3'})
    folder = RawFolder(tmp_path, holds='q.csv and images/')
    assert folder.find('x.csv', '*/x.csv').name == 'x.csv'
    assert folder.find('./y.csv', 'b/z.csv').name == 'y.csv.gz'
    assert folder.find_optional('q.csv') is None
    with pytest.raises(UserError) as error:
        folder.find('q.csv', 'p.csv')
    assert str(error.value) == (
        f'{tmp_path}: has no q.csv nor p.csv; is it the right folder? It '
        'holds q.csv and images/.'
    )
    with pytest.raises(UserError, match='no/x: there is no such folder; it'):
        RawFolder(tmp_path / 'no' / 'x').find('q.csv')


def test_images_are_found_below_links_but_not_in_prepared(tmp_path):
    write_files(tmp_path, {'a/._1.2.dcm': 'of macOS'})
    files = ('a/1.2.dcm', 'b/c/1.3.DCM', 'prepared/images/1.4.dcm', 'a/x.txt')
    write_files(tmp_path, dict.fromkeys(files, ''))
    (tmp_path / 'd').symlink_to(tmp_path / 'b' / 'c')
    folder = RawFolder(tmp_path)
    assert list(folder.find_images('.', '.dcm')) == ['1.2', '1.3']
    assert folder.find_images('none', '.dcm') == {}
    found = folder.find_images(tmp_path / 'a', '.dcm', '')
    assert list(found) == ['1.2', 'x.txt']


def test_json_of_another_form_is_refused(tmp_path):
    folder, path = RawFolder(tmp_path), tmp_path / 'x.json'
    path.write_text('[{"a": 1}, {"b": 2}]')
    with pytest.raises(UserError, match=r"is no list of a \(at 'a'\)"):
        list(folder.read_records(path, 'a'))
    with pytest.raises(UserError, match='is no list of a'):
        list(folder.read_records(path, 'a', within='images'))
    path.write_text('[{"a": 1}, ')
    with pytest.raises(UserError, match='x.json: is not valid JSON'):
        list(folder.read_records(path, 'a'))
    with pytest.raises(UserError, match='y.json: No such file'):
        list(folder.read_records(tmp_path / 'y.json', 'a'))


def test_lists_skip_blank_lines_but_count_them(tmp_path):
    folder, path = RawFolder(tmp_path), tmp_path / 'x.txt'
    path.write_bytes(b'\xef\xbb\xbfa\r\n\r\n b \r\n')
    assert list(folder.read_lines(path)) == [
        (f'{path}, row 1', 'a'),
        (f'{path}, row 3', 'b'),
    ]
    with pytest.raises(UserError, match='y.txt: No such file'):
        list(folder.read_lines(tmp_path / 'y.txt'))


def test_what_is_skipped_is_logged_at_once(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(skipped, 'log', lambda text: messages.append(text))
    folder = RawFolder(tmp_path)
    folder.skipped.add(0, 'cats')
    folder.skipped.add(2, 'images of dogs')
    assert folder.skipped.notes == ['images of dogs: 2 skipped']
    assert messages == ['Note: images of dogs: 2 skipped.']
