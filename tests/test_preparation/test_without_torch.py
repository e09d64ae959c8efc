"""Preparing needs no torch: importing it takes seconds and half a GB."""

import subprocess
import sys
from pathlib import Path

from PIL import Image
from raw_helpers import write_files

TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/prepare.py'
IMPORTED = '[m for m in ("torch", "mmcv", "mmdet") if m in sys.modules]'
TWICE = f"""
import runpy, sys
tool = sys.argv.pop(1)
for _ in range(2):
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit as done:
        assert not done.code
print({IMPORTED})
"""


def run(code, *args):
    done = subprocess.run(
        [sys.executable, '-c', code, *args],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().split('\n')


def test_importing_the_preparation():
    code = f'import sys, fx_mm.preparation; print({IMPORTED})'
    assert run(code) == ['[]']


def test_preparing_and_nothing_to_do(tmp_path):
    names = [f'{number}.png' for number in range(3)]
    write_files(
        tmp_path / 'covidx',
        {
            f'{split}.txt': f'p{split} {name} normal x\n'
            for split, name in zip(('train', 'val', 'test'), names)
        },
    )
    for split, name in zip(('train', 'val', 'test'), names):
        path = tmp_path / 'covidx' / split / name
        path.parent.mkdir()
        Image.new('L', (9, 8)).save(path)
    *_, first, second, imported = run(
        TWICE, str(TOOL), 'covidx', '--data-root', str(tmp_path)
    )
    assert first.startswith('covidx is prepared: 3 images')
    assert second == 'covidx is prepared already: nothing to do.'
    assert imported == '[]'
