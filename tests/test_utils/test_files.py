"""Files that are whole, leftovers, locks."""

import hashlib
import multiprocessing
import os
import time

import pytest

from fx_mm.utils import files
from fx_mm.utils.files import (
    CHUNK,
    locked,
    read_chunks,
    remove_leftovers,
    write_whole,
)


@pytest.mark.parametrize('size', [0, 1, CHUNK, 2 * CHUNK + 1])
def test_read_chunks(tmp_path, size):
    content = os.urandom(size)
    path = tmp_path / 'a.bin'
    path.write_bytes(content)
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize('flush', [True, False])
def test_write_whole(tmp_path, flush):
    path = tmp_path / 'new' / 'a.txt'
    assert write_whole(path, 'Grüße', flush) == path
    assert path.read_bytes() == 'Grüße'.encode()
    write_whole(path, b'\0', flush)
    assert path.read_bytes() == b'\0'
    assert os.listdir(path.parent) == ['a.txt']


def test_leftovers_of_killed_processes_go(tmp_path):
    process = multiprocessing.get_context('fork').Process(target=int)
    process.start()
    process.join()
    folder = tmp_path / 'deep'
    folder.mkdir()
    for number in (process.pid, os.getpid(), 'other'):
        (folder / f'.a.png.{number}.tmp').touch()
    (folder / 'a.png').touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(folder)) == sorted(
        [f'.a.png.{os.getpid()}.tmp', '.a.png.other.tmp', 'a.png']
    )


def hold(path, seconds):
    with locked(path):
        path.with_name('held').touch()
        time.sleep(seconds)


def test_others_say_so_and_wait_for_the_lock(tmp_path, monkeypatch):
    path = tmp_path / 'folder' / '.lock'
    process = multiprocessing.get_context('fork').Process(
        target=hold, args=(path, 60)
    )
    process.start()
    while not path.with_name('held').exists():
        time.sleep(0.01)
    logged = []
    monkeypatch.setattr(files, 'log', lambda text: logged.append(
        (text, process.kill())  # the system frees it
    ))  # fmt: skip
    hold(path, 0)
    process.join()
    text = f'Another process writes to {path.parent}; waiting for it.'
    assert logged == [(text, None)]
