"""What was decided while an image was read, and how warnings are told."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from fx_mm import apis
from fx_mm.image_io import decisions as module
from fx_mm.image_io.decisions import Decisions, log_warnings
from fx_mm.image_io.masks import read_mask
from fx_mm.image_io.xray import read_xray

KEYS = {
    'format', 'depth', 'photometric', 'orientation', 'inverted', 'mapping',
    'range', 'rescale', 'warnings',
}  # fmt: skip


@pytest.fixture
def logged(monkeypatch):
    """The lines of the log, none of whose kinds was logged before."""
    lines = []
    monkeypatch.setattr(module, '_LOGGED', set())
    monkeypatch.setattr(module, 'log', lambda text, *args: lines.append(text))
    return lines


def test_no_warning_is_an_empty_list(logged):
    decisions = Decisions('PNG')
    assert decisions.to_dict()['warnings'] == []
    log_warnings('a.png', decisions)
    assert not logged


def test_the_first_of_each_kind_is_logged(logged):
    for path in ('a.dcm', 'b.dcm'):
        decisions = Decisions('DICOM')
        decisions.warn('window', 'One.')
        decisions.warn('window', 'Two.')
        decisions.warn('padding', 'Three.')
        log_warnings(path, decisions)
        assert decisions.to_dict()['warnings'] == ['One. Two.', 'Three.']
    assert [line.split(' (Of')[0] for line in logged] == [
        'a.dcm: One. Two.',
        'a.dcm: Three.',
    ]


def test_reading_logs_or_returns_its_warnings(logged, write_dicom):
    path = write_dicom(
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        WindowCenter=40000,
        WindowWidth=9,
    )
    image, decisions = read_xray(path, True)
    assert not logged and len(decisions['warnings']) == 1
    np.testing.assert_array_equal(read_xray(path), image)
    read_xray(path)
    assert len(logged) == 1 and logged[0].startswith(f'{path}: The window')


def test_masks_log_their_warnings(logged, tmp_path):
    exif = Image.Exif()
    exif[274] = 99
    path = str(tmp_path / 'a.png')
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(path, exif=exif)
    read_mask(path, ['A'])
    assert 'orientation tag is 99' in logged[0]


@pytest.mark.parametrize(
    ('suffix', 'mode', 'expected'),
    [
        ('png', '1', ('PNG', 1, 'grey')),
        ('png', 'L', ('PNG', 8, 'grey')),
        ('png', 'P', ('PNG', 8, 'palette')),
        ('png', 'LA', ('PNG', 8, 'grey, alpha')),
        ('png', 'RGB', ('PNG', 8, 'RGB')),
        ('png', 'I;16', ('PNG', 16, 'grey')),
        ('jpg', 'L', ('JPEG', 8, 'grey')),
        ('jpg', 'RGB', ('JPEG', 8, 'YCbCr')),
        ('jpg', 'CMYK', ('JPEG', 8, 'CMYK')),
        ('gif', 'L', ('GIF', 8, 'grey')),
        ('bmp', 'L', ('BMP', 8, 'grey')),
        ('bmp', 'RGB', ('BMP', 8, 'RGB')),
        ('tif', 'L', ('TIFF', 8, 'MinIsBlack')),
        ('tif', 'RGB', ('TIFF', 8, 'RGB')),
    ],
)
def test_every_format_is_named(tmp_path, grey, suffix, mode, expected):
    image = Image.fromarray(grey)
    if mode == 'I;16':
        image = Image.fromarray(grey.astype(np.uint16) * 3)
    else:
        image = image.convert(mode)
    path = str(tmp_path / f'a.{suffix}')
    image.save(path)
    _, decisions = apis.read_xray(path, decisions=True)
    assert decisions.keys() == KEYS
    form, depth, photometric = expected
    assert decisions['format'] == form
    assert decisions['depth'] == depth
    if suffix != 'gif':  # Pillow writes a palette
        assert decisions['photometric'] == photometric
    deep = depth > 8
    assert decisions['mapping'] == ('value range' if deep else 'as stored')
    assert decisions['range'] == ([0, 765] if deep else None)
    json.dumps(decisions, allow_nan=False)


def test_jsrt_is_inverted(tmp_path):
    density = np.array([[0, 4095], [1024, 2048]], '>u2')
    path = tmp_path / 'a.IMG'
    path.write_bytes(density.tobytes())
    _, decisions = read_xray(str(path), True)
    assert decisions['format'] == 'JSRT' and decisions['inverted']
    assert (decisions['depth'], decisions['range']) == (12, [0, 4095])


def test_percentiles_are_named_where_they_are_used(tmp_path):
    path = str(tmp_path / 'a.png')
    values = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    cv2.imwrite(path, values)
    _, decisions = read_xray(path, True, (10, 90))
    assert decisions['mapping'] == 'percentiles'
    np.testing.assert_allclose(decisions['range'], [99.9, 899.1])
    values[:] = 7
    values[0, 0] = 900
    cv2.imwrite(path, values)
    _, decisions = read_xray(path, True, (10, 90))
    assert decisions['mapping'] == 'value range'
    assert decisions['range'] == [7, 900]


def test_one_far_pixel_of_a_deep_png_is_warned_of(tmp_path):
    path = str(tmp_path / 'a.png')
    values = (np.arange(4096) % 400).astype(np.uint16).reshape(64, 64)
    values[5, 5] = 65535
    cv2.imwrite(path, values)
    image, decisions = read_xray(path, True)
    assert np.unique(image).size < 8
    assert 'Only 4 of 401 grey levels' in decisions['warnings'][0]
    _, decisions = read_xray(path, True, (0.5, 99.5))
    assert not decisions['warnings']


def test_it_is_one_function():
    assert apis.read_xray is read_xray
