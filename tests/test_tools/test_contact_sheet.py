"""The contact sheet tool, on phantoms and on plain folders."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fx_mm.phantom import ensure_phantom
from fx_mm.utils.cli import run_tool

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'analysis_tools' / 'contact_sheet.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A working folder with phantoms where the configs expect them."""
    folder = tmp_path_factory.mktemp('work')
    counts = dict(train=1, val=1, test=7)
    ensure_phantom(folder / 'data/phantom', counts=counts, workers=1)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    """Run the tool in the working folder; give its exit code."""
    spec = importlib.util.spec_from_file_location('contact_sheet_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(folder)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_tool(tool.main)
        return ended.value.code

    return call


def test_config_with_all_kinds(run, folder, capsys):
    config = ROOT / 'configs/_base_/datasets/phantom_c.py'
    assert run(config, '--split', 'test', '--columns', 4) == 0
    assert '7 of 7 images' in capsys.readouterr().out
    sheet = cv2.imread(str(folder / 'contact_sheet.png'))
    # Two rows of tiles, four columns. A row has up to seven lines: name, how
    # it was read, classes, "no box", names and form of masks, measured value.
    assert sheet.shape == (26 + 2 * (256 + 105 + 10), 10 + 4 * 266, 3)
    spread = np.ptp(sheet.astype(int), axis=2)
    assert (spread > 60).sum() > 500  # coloured boxes and contours


def test_folder_with_annotation_files(run, folder):
    home = 'data/phantom/easy/hospital_c'
    code = run(
        f'{home}/images',
        '--labels', f'{home}/test.csv', '--boxes', f'{home}/test.json',
        '--masks', f'{home}/test_masks.csv',
        '--values', f'{home}/test_values.csv',
        '--number', 2, '--shuffle', 1, '--out', 'sheets/two.png',
    )  # fmt: skip
    assert code == 0
    assert (folder / 'sheets' / 'two.png').stat().st_size > 5000
    small = (*('--number', 1, '--columns', 1, '--tile', 128), '--out', 'a.png')
    heights = []
    for more in ((), ('--values', f'{home}/test_values.csv')):
        assert run(f'{home}/images', *more, *small) == 0
        heights.append(len(cv2.imread(str(folder / 'a.png'))))
    assert heights[1] > heights[0]  # the line of the number


def test_wrong_class_is_one_sentence(run, folder, capsys):
    config = ROOT / 'configs/_base_/datasets/phantom_a.py'
    assert run(config, '--with-class', 'Nodul', '--out', 'no.png') == 1
    message = capsys.readouterr().err
    assert 'did you mean "Nodule"?' in message
    assert len(message.strip().splitlines()) == 1
    assert not (folder / 'no.png').exists()
