"""tools/gpu_check.py, as far as it goes without a GPU."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fx_mm.analysis.gpu_check.stages import STAGES
from fx_mm.utils.errors import UserError

SCRIPT = Path(__file__).parents[2] / 'tools' / 'gpu_check.py'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_why_and_what_to_do(monkeypatch):
    check_device = runpy.run_path(str(SCRIPT))['check_device']
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    with pytest.raises(UserError, match='no GPU or no driver; look at'):
        check_device('cuda')
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(UserError, match='built without CUDA; install'):
        check_device('cuda')
    check_device('cpu')


# two and a half minutes of a core, and more beside other work
@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_every_stage_on_a_cpu(tmp_path):
    """All lines of the script but those of CUDA, in sizes of seconds."""
    words = ['--out', tmp_path / 'out', '--device', 'cpu', '--minutes', 15]
    done = subprocess.run(
        [sys.executable, *map(str, [SCRIPT, *words])],
        cwd=tmp_path,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'out/gpu_check.json').read_text())
    assert {e['state'] for e in report['stages'].values()} == {'done'}
    assert list(report['stages']) == [stage.name for stage in STAGES]
    names = {p.name for p in (tmp_path / 'out').iterdir()}
    assert names == {'gpu_check.json', 'gpu_check.md', 'log.txt'}
