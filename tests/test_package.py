"""What importing the package does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
CODE = """
import os, sys
import fx_mm
print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)
"""


@pytest.mark.parametrize(
    'given, expected',
    [
        ({}, '1000'),
        (dict(GOMP_SPINCOUNT='7'), '7'),
        (dict(OMP_WAIT_POLICY='PASSIVE'), 'None'),
    ],
)
def test_how_threads_wait_is_set_before_torch(given, expected):
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')
    }
    result = subprocess.run(
        [sys.executable, '-c', CODE],
        env=dict(env, PYTHONPATH=str(REPO), **given),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [expected, 'False']


def test_tools_import_fx_mm_before_what_loads_torch():
    for file in (REPO / 'tools').rglob('*.py'):
        lines = [
            line.split()[1].split('.')[0]
            for line in file.read_text().splitlines()
            if line.startswith(('import ', 'from '))
        ]
        if 'fx_mm' in lines:
            for loads in ('torch', 'mmengine', 'mmcv', 'mmdet'):
                if loads in lines:
                    assert lines.index('fx_mm') < lines.index(loads), file
