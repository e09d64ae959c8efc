"""What was read of the images is kept, and only what changed is read again."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from fx_mm.audit import scan as module
from fx_mm.audit.scan import scan_images, scan_masks
from fx_mm.image_io.mask_code import BIT_CODE, MaskCode
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.image_io.xray import read_xray


@pytest.fixture
def files(tmp_path, phantoms):
    paths = [str(tmp_path / f'{number}.png') for number in range(6)]
    for path, image in zip(paths, phantoms):
        cv2.imwrite(path, image)
    return paths


@pytest.fixture
def reads(monkeypatch):
    """Count what is read."""
    read, seen = module.read_xray, []

    def counted(path, decisions):
        seen.append(os.path.basename(path))
        return read(path, decisions)

    monkeypatch.setattr(module, 'read_xray', counted)
    return seen


def test_no_files(tmp_path):
    scan = scan_images([], tmp_path, 1)
    assert len(scan) == 0
    assert scan.thumbs([]).shape == (0, 128, 128)


def test_statistics(tmp_path):
    image = np.full((80, 100), 100, np.uint8)
    image[:40] = 0
    image[0, 0] = 255
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    scan = scan_images([str(tmp_path / 'a.png')], tmp_path, 1)
    row = scan.rows[0]
    assert (row['height'], row['width']) == (80, 100)
    assert (row['low'], row['high']) == (0, 255)
    assert row['mean'] == pytest.approx(image.mean())
    assert row['std'] == pytest.approx(image.std(), rel=1e-5)
    assert row['black'] == pytest.approx(0.5, abs=1e-3)
    assert row['white'] == pytest.approx(1 / 8000)
    assert scan.error(0) == ''


def test_only_changes_are_read_again(files, reads, tmp_path):
    first = scan_images(files[:4], tmp_path / 'out', 1)
    assert len(reads) == 4
    reads.clear()
    cv2.imwrite(files[1], cv2.imread(files[0], 0)[:200])
    second = scan_images(files, tmp_path / 'out', 1)
    assert sorted(reads) == ['1.png', '4.png', '5.png']
    assert second.rows['height'].tolist() == [256, 200, 256, 256, 256, 256]
    assert (second.thumbs([3, 0]) == first.thumbs([3, 0])).all()
    reads.clear()
    # in another order, and fewer
    third = scan_images(files[::-2], tmp_path / 'out', 1)
    assert reads == []
    assert (third.thumbs([0, 2]) == second.thumbs([5, 1])).all()


def test_damaged_chunk_is_read_again(files, reads, tmp_path):
    whole = scan_images(files, tmp_path / 'out', 1)
    (chunk,) = (tmp_path / 'out').glob('*/*.npy')
    chunk.write_bytes(chunk.read_bytes()[:5000])
    reads.clear()
    again = scan_images(files, tmp_path / 'out', 1)
    assert len(reads) == 6
    assert (again.rows == whole.rows).all()


def test_processes_give_the_same(files, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'JOB', 1)
    one = scan_images(files, tmp_path / 'one', 1)
    two = scan_images(files, tmp_path / 'two', 2)
    assert (one.rows == two.rows).all()
    assert (one.thumbs(range(6)) == two.thumbs(range(6))).all()


def test_unreadable_and_missing_files(files, tmp_path):
    with open(files[0], 'wb') as file:
        file.write(b'nothing')
    os.remove(files[1])
    scan = scan_images(files, tmp_path / 'out', 1)
    assert 'nothing' not in scan.error(0) and scan.error(0)
    assert not scan.error(0).startswith(files[0])
    assert scan.error(1) == 'No such file or directory'
    assert [scan.error(i) for i in range(2, 6)] == [''] * 4


def test_any_failure_of_a_decoder_is_named(files, tmp_path, monkeypatch):
    def fail(path, decisions):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(module, 'read_xray', fail)
        for _ in range(2):
            scan = scan_images(files[:2], tmp_path / 'out', 1)
            assert scan.error(0) == scan.error(1) == 'MemoryError'
    # tried again, also one by one
    assert scan_images(files[:1], tmp_path / 'out', 1).error(0) == ''
    assert scan_images(files[:2], tmp_path / 'out', 1).error(1) == ''


def test_masks(tmp_path):
    mask = np.zeros((30, 40), np.uint16)
    mask[:10] = 0b101
    mask[10:12] = 0b100
    cv2.imwrite(str(tmp_path / 'm.png'), mask)
    path = str(tmp_path / 'm.png')
    bits = (path, BIT_CODE)
    few = (path, MaskCode(('A', 'B')))
    form = MaskFormat.from_cfg(
        dict(type='label_map', values=dict(A=5), ignore_index=4)
    )
    one = (path, MaskCode(('A',), form))
    for _ in range(2):
        scan = scan_masks([bits, few, one], tmp_path, 1)
        row = scan.rows[scan.index(bits)]
        assert (row['height'], row['width'], row['ignored']) == (30, 40, 0)
        assert row['areas'].tolist() == [400, 0, 480] + [0] * 13
        assert scan.error(1).startswith('holds the values 0, 4, 5, which')
        row = scan.rows[scan.index(one)]
        assert (row['format'], row['top'], row['ignored']) == (
            b'label_map',
            5,
            80,
        )
        assert row['areas'].tolist() == [400] + [0] * 15


def test_what_was_decided_is_kept(files, reads, tmp_path, phantoms):
    deep = phantoms[0].astype(np.uint16) * 13 + 200
    cv2.imwrite(files[0], deep)
    with open(files[1], 'wb') as file:
        file.write(b'nothing')
    for _ in range(2):
        plain, broken, gone = scan_images(
            [files[2], files[1], 'gone.png'], tmp_path / 'out', 1
        ).readings()
        assert plain == read_xray(files[2], decisions=True)[1]
        assert plain['mapping'] == 'as stored' and plain['warnings'] == []
        assert 'is not a PNG' in broken['error']
        assert gone == dict(error='No such file or directory')
    (mapped,) = scan_images(files[:1], tmp_path / 'out', 1).readings()
    assert mapped['depth'] == 16
    assert mapped['range'] == [int(deep.min()), int(deep.max())]
    assert reads == ['2.png', '1.png', '1.png', '0.png']


def test_too_many_warnings_leave_a_whole_json(files, tmp_path, monkeypatch):
    image, reading = read_xray(files[0], decisions=True)
    reading['warnings'] = [f'{n} \xe4' + 'x' * 600 for n in range(9)]
    monkeypatch.setattr(module, 'read_xray', lambda *a, **k: (image, reading))
    (kept,) = scan_images(files[:1], tmp_path / 'out', 1).readings()
    count = len(kept['warnings'])
    assert 0 < count < 9
    assert kept == dict(reading, warnings=reading['warnings'][:count])


PROGRAM = """
import sys, time
from fx_mm.audit import scan
scan.JOB, scan.PATIENCE = 1, 0
read = scan.read_xray
def slow(path, decisions):
    time.sleep(0.05)
    return read(path, decisions)
scan.read_xray = slow
scan.scan_images(sys.argv[2:], sys.argv[1], 2)
"""


def test_a_killed_scan_goes_on_where_it_was(files, reads, tmp_path):
    out = tmp_path / 'out'
    names = [str(tmp_path / f'{number}.png') for number in range(60)]
    for name in names[6:]:
        os.link(files[0], name)
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, str(out), *names],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob('*/*.npy'))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    scan = scan_images(names, out, 1)
    assert 0 < len(reads) <= 57
    assert not any(scan.error(i) for i in range(60))
