import multiprocessing
import os
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_mm.datasets import cache as cache_module
from fx_mm.datasets.cache import (
    CHECKED,
    HEADER,
    ImageCache,
    reduce_image,
    reduce_mask,
    reduced_shape,
)
from fx_mm.image_io.mask_code import BIT_CODE, MaskCode
from fx_mm.image_io.mask_format import MaskFormat
from fx_mm.image_io.xray import ImageReadError, read_xray
from fx_mm.utils.errors import UserError

SIZE = 20


def draw(seed=0, shape=(60, 90), dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def write(path, values):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)
    return str(path)


def make_old(path, seconds=3600):
    """Set the times back, as those of a file that has long been there."""
    past = os.stat(path).st_mtime - seconds
    os.utime(path, (past, past))


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / 'data' / 'a.png', draw())


@pytest.fixture
def cache(tmp_path):
    return ImageCache(str(tmp_path / 'data' / 'cache'), SIZE)


@pytest.fixture
def settled(monkeypatch):
    """Trust the times of files that were written just now."""
    monkeypatch.setattr(cache_module, 'SETTLED', -(10**12))


@pytest.fixture
def no_decoding(monkeypatch):
    """Return a switch that lets every decoding fail."""

    def refuse(path, *args):
        raise AssertionError(f'{path} was decoded')

    def switch():
        monkeypatch.setattr(cache_module, 'read_xray', refuse)

    return switch


def test_unreadable_source_is_named_and_leaves_no_entry(cache, tmp_path):
    missing = str(tmp_path / 'data' / 'b.png')
    with pytest.raises(ImageReadError, match='b.png: No such file'):
        cache.image(missing)
    empty = tmp_path / 'data' / 'c.png'
    empty.parent.mkdir()
    empty.write_bytes(b'')
    with pytest.raises(ImageReadError, match='c.png: the file is empty'):
        cache.image(str(empty))
    assert not os.path.exists(cache.folder)


def test_first_and_second_reading_give_the_same_pixels(
    cache, source, no_decoding
):
    first = cache.image(source)
    no_decoding()
    second = cache.image(source)
    expected = reduce_image(read_xray(source), (20, 30))
    for found in (first, second):
        assert found.ori_shape == (60, 90)
        assert found.pixels.dtype == np.uint8
        np.testing.assert_array_equal(found.pixels, expected)
    assert cache.events == dict(built=1, confirmed=1)


def test_settled_source_is_not_opened(cache, source, settled, monkeypatch):
    cache.image(source)
    monkeypatch.setattr(cache_module, 'file_digest', None)
    cache.image(source)
    assert cache.events == dict(built=1, found=1)


def test_small_original_stays(cache, tmp_path):
    pixels = draw(shape=(12, 40))
    path = write(tmp_path / 'small.png', pixels)
    for _ in range(2):
        found = cache.image(path)
        assert found.ori_shape == (12, 40)
        np.testing.assert_array_equal(found.pixels, pixels)


def test_entries_of_other_sizes_and_kinds_stand_beside(cache, source):
    other = ImageCache(cache.folder, SIZE + 1)
    assert cache.image(source).pixels.shape == (20, 30)
    assert other.image(source).pixels.shape == (21, 32)
    assert cache.mask(source, BIT_CODE).pixels.shape == (20, 30)
    assert cache.events['built'] == 2 and other.events['built'] == 1


def test_percentiles_have_entries_of_their_own(cache, tmp_path):
    path = write(tmp_path / 'deep.png', draw(dtype=np.uint16))
    windowed = ImageCache(cache.folder, SIZE, (20.0, 99.5))
    expected = reduce_image(
        read_xray(path, percentiles=(20.0, 99.5)), (20, 30)
    )
    for _ in range(2):
        assert (cache.image(path).pixels != expected).any()
        np.testing.assert_array_equal(windowed.image(path).pixels, expected)
    assert cache.entry_path(path, BIT_CODE) == windowed.entry_path(
        path, BIT_CODE
    )


def test_mask_keeps_its_bits(cache, tmp_path):
    values = draw(shape=(61, 83), dtype=np.uint16)
    path = write(tmp_path / 'mask.png', values)
    for _ in range(2):
        found = cache.mask(path, BIT_CODE)
        assert found.ori_shape == (61, 83)
        assert found.pixels.dtype == np.uint16
        assert found.pixels.shape == (20, 27)
        np.testing.assert_array_equal(
            found.pixels, reduce_mask(values, (20, 27))
        )
        assert np.isin(found.pixels, values).all()


def test_masks_are_kept_as_they_were_decided(cache, tmp_path):
    """A value that no kept pixel has still says what the others mean."""
    values = np.zeros((60, 90), np.uint8)
    values[:30] = 255
    values[0, 0] = 1  # between the pixels that are kept
    path = write(tmp_path / 'mask.png', values)
    code = MaskCode(('A',))
    for _ in range(2):
        found = cache.mask(path, code).pixels
        assert found.shape == (20, 30) and 1 not in found
        ignored = code.ignored(found)
        expected = reduce_mask(values, found.shape) == 255
        np.testing.assert_array_equal(ignored, expected)
        assert not code.inside(found, 0).any()
    maps = MaskCode(('A',), MaskFormat('label_map', ignore_index=()))
    with pytest.raises(UserError, match='0, 1, 255'):
        cache.mask(path, maps)


@pytest.mark.parametrize('times', ['kept', 'new'])
def test_changed_source_is_read_again(cache, source, times):
    before = os.stat(source)
    assert cache.image(source).pixels.any()
    other = draw(1)
    Path(source).write_bytes(
        cv2.imencode('.png', other)[1].tobytes().ljust(before.st_size)
        if times == 'kept'
        else cv2.imencode('.png', other)[1].tobytes()
    )
    if times == 'kept':
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert os.stat(source).st_mtime_ns == before.st_mtime_ns
    np.testing.assert_array_equal(
        cache.image(source).pixels, reduce_image(other, (20, 30))
    )
    assert cache.events == dict(built=1, rebuilt=1)


def test_change_within_a_tick_of_the_clock_shows(cache, source, monkeypatch):
    """Even if neither size nor times tell the two contents apart."""
    frozen = cache_module.file_state(source)
    monkeypatch.setattr(cache_module, 'file_state', lambda path: frozen)
    cache.image(source)
    other = draw(1)
    write(source, other)
    np.testing.assert_array_equal(
        cache.image(source).pixels, reduce_image(other, (20, 30))
    )


def test_source_that_changes_while_it_is_read_is_not_stored(
    cache, source, monkeypatch
):
    def change(path, **kwargs):
        pixels = read_xray(path)
        write(path, draw(1, (70, 90)))
        return pixels

    monkeypatch.setattr(cache_module, 'read_xray', change)
    cache.image(source)
    monkeypatch.undo()
    assert not os.path.exists(cache.entry_path(source, 'image'))
    assert cache.image(source).ori_shape == (70, 90)


def test_touched_source_is_not_decoded_again(
    cache, source, settled, no_decoding
):
    first = cache.image(source).pixels
    no_decoding()
    make_old(source)
    for _ in range(2):
        np.testing.assert_array_equal(cache.image(source).pixels, first)
    assert cache.events == dict(built=1, confirmed=1, found=1)


def test_moved_data_are_not_decoded_again(
    cache, source, tmp_path, no_decoding
):
    first = cache.image(source).pixels
    shutil.copytree(tmp_path / 'data', tmp_path / 'moved')
    shutil.rmtree(tmp_path / 'data')
    no_decoding()
    moved = ImageCache(str(tmp_path / 'moved' / 'cache'), SIZE)
    found = moved.image(str(tmp_path / 'moved' / 'a.png')).pixels
    np.testing.assert_array_equal(found, first)


def test_relative_and_absolute_paths_share_an_entry(
    cache, source, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    relative = ImageCache('data/cache', SIZE)
    relative.image('data/../data/a.png')
    cache.image(source)
    assert cache.events['built'] == 0


def resealed(content: bytes) -> bytes:
    """Return content with a right checksum, as another program might."""
    return CHECKED.pack(cache_module.MAGIC, zlib.crc32(content)) + content


def other_header(data: bytes, **changes) -> bytes:
    names = ('key', 'dtype', 'H', 'W', 'h', 'w', 'size', 'mtime', 'ctime')
    values = list(HEADER.unpack_from(data, CHECKED.size))
    for name, value in changes.items():
        values[names.index(name)] = value
    content = HEADER.pack(*values) + data[CHECKED.size + HEADER.size :]
    return resealed(content)


DAMAGES = dict(
    empty=lambda data: b'',
    header_cut_off=lambda data: data[:40],
    pixels_cut_off=lambda data: data[:-7],
    longer=lambda data: data + b'\0',
    garbage=lambda data: b'\xff' * len(data),
    zeros=lambda data: bytes(len(data)),
    other_format=lambda data: b'fxcache0' + data[8:],
    other_shape=lambda data: other_header(data, h=30, w=20),
    other_original=lambda data: other_header(data, H=90, W=60),
    other_dtype=lambda data: other_header(data, dtype=b'<u2'),
    other_source=lambda data: other_header(data, key=bytes(16)),
    fewer_pixels=lambda data: resealed(data[CHECKED.size : -3]),
)


@pytest.mark.parametrize('name', DAMAGES)
def test_damaged_entry_is_built_again(cache, source, settled, name):
    first = cache.image(source).pixels
    entry = Path(cache.entry_path(source, 'image'))
    whole = entry.read_bytes()
    entry.write_bytes(DAMAGES[name](whole))
    assert cache.check(source, 'image') == 'damaged'
    np.testing.assert_array_equal(cache.image(source).pixels, first)
    assert entry.read_bytes() == whole
    assert cache.events == dict(built=1, rebuilt=1)


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_every_flipped_bit_shows(tmp_path_factory, position, bit):
    folder = tmp_path_factory.mktemp('flipped')
    cache = ImageCache(str(folder / 'cache'), SIZE)
    source = write(folder / 'a.png', draw())
    first = cache.image(source).pixels
    entry = Path(cache.entry_path(source, 'image'))
    data = bytearray(entry.read_bytes())
    data[position % len(data)] ^= 1 << bit
    entry.write_bytes(data)
    np.testing.assert_array_equal(cache.image(source).pixels, first)
    assert cache.events['rebuilt'] == 1


def test_check_says_what_an_entry_is(cache, source):
    assert cache.check(source, 'image') == 'missing'
    cache.image(source)
    assert cache.check(source, 'image') == 'good'
    write(source, draw(1))
    assert cache.check(source, 'image') == 'stale'
    assert cache.check(source, BIT_CODE) == 'missing'


def test_folder_that_cannot_be_written_warns_once(source, tmp_path):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    cache = ImageCache(str(blocked / 'cache'), SIZE)
    with pytest.warns(UserWarning, match='cannot be written') as caught:
        for _ in range(3):
            found = cache.image(source)
    assert len(caught) == 1
    np.testing.assert_array_equal(found.pixels, reduce_image(draw(), (20, 30)))
    assert cache.events == dict(built=3, unwritten=3)


def test_failed_writing_leaves_no_file(cache, source, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.warns(UserWarning, match='No space left'):
        cache.image(source)
    assert not [p for p in Path(cache.folder).rglob('*') if p.is_file()]


def fill(folder, sources, results):
    """Read all, damaging now and then what others read."""
    cache = ImageCache(folder, SIZE)
    rng = np.random.default_rng(os.getpid())
    sums = {}
    for index in rng.permutation(6 * len(sources)):
        path = sources[index % len(sources)]
        if index % 5 == 0 and os.path.exists(cache.entry_path(path, 'image')):
            with open(cache.entry_path(path, 'image'), 'r+b') as entry:
                entry.truncate(int(rng.integers(100, 300)))
        sums.setdefault(path, set()).add(cache.image(path).pixels.tobytes())
    results.put(sums)


def test_several_processes_may_build_and_damage(cache, tmp_path):
    sources = [
        write(tmp_path / f'{number}.png', draw(number)) for number in range(8)
    ]
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    workers = [
        context.Process(target=fill, args=(cache.folder, sources, results))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    sums = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    for path in sources:
        expected = reduce_image(read_xray(path), (20, 30)).tobytes()
        assert {s for one in sums for s in one[path]} == {expected}
        cache.image(path)
        assert cache.check(path, 'image') == 'good'
    assert not list(Path(cache.folder).rglob('*.tmp'))


@given(
    shape=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    size=st.integers(1, 1000),
)
def test_reduced_shape(shape, size):
    reduced = reduced_shape(shape, size)
    if min(shape) <= size:
        assert reduced == shape
        return
    assert min(reduced) == size
    scale = size / min(shape)
    for new, old in zip(reduced, shape):
        assert abs(new - old * scale) <= 0.5


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    size=st.integers(4, 8),
)
def test_reduced_mask_lies_where_the_reduced_image_does(shape, size):
    """Its pixels are those of the original under their centres."""
    rows, columns = np.indices(shape)
    reduced = reduced_shape(shape, size)
    for axis, grid in enumerate((rows, columns)):
        found = np.moveaxis(reduce_mask(grid, reduced), axis, 0)[:, 0]
        scale = shape[axis] / reduced[axis]
        centres = (np.arange(reduced[axis]) + 0.5) * scale
        assert (np.abs(found + 0.5 - centres) <= 0.5 + 1e-9).all()


def test_reduced_image_holds_the_means():
    image = draw(shape=(60, 80))
    means = image.reshape(20, 3, 20, 4).mean((1, 3))
    assert np.abs(reduce_image(image, (20, 20)) - means).max() <= 1


def test_version_is_raised_with_the_pixels(tmp_path):
    """Raise READER_VERSION, then the sums here, if reading gives others."""
    ramp = np.arange(60 * 90).reshape(60, 90)
    sources = dict(
        grey8=(ramp % 251).astype(np.uint8),
        grey16=(ramp * 7).astype(np.uint16),
        colour=np.stack([ramp % 251, ramp % 13, ramp % 7], -1).astype(
            np.uint8
        ),
    )
    cache = ImageCache(str(tmp_path / 'cache'), 60)
    sums = {
        name: zlib.crc32(
            cache.image(write(tmp_path / f'{name}.png', values)).pixels
        )
        for name, values in sources.items()
    }
    assert (cache_module.READER_VERSION, sums) == (
        3,
        dict(grey8=2837785869, grey16=4230869712, colour=4265748468),
    )
