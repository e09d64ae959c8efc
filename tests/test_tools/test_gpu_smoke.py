"""tools/gpu_smoke.py, as far as it goes without a GPU."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from fx_mm.utils.errors import UserError

SCRIPT = Path(__file__).parents[2] / 'tools' / 'gpu_smoke.py'


@pytest.fixture(scope='module')
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_why_and_what_to_do(script, monkeypatch):
    check_device = script['check_device']
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    with pytest.raises(UserError, match='no GPU or no driver; look at'):
        check_device('cuda')
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(UserError, match='built without CUDA; install'):
        check_device('cuda')
    assert check_device('cpu').type == 'cpu'


def test_differing_results_are_refused(script):
    a = torch.zeros(3)
    script['compare']('same', a, a, 0.0)
    for b in (a + 1, a * float('nan')):
        with pytest.raises(UserError, match='other results on this device'):
            script['compare']('other', b, a, 0.5)


@pytest.mark.slow
def test_every_task_takes_a_step(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT), '--device', 'cpu'])
    with pytest.raises(SystemExit) as info:
        runpy.run_path(str(SCRIPT), run_name='__main__')
    assert info.value.code == 0
    out = capsys.readouterr().out
    for task in ('phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg'):
        assert task in out
    assert 'Every task trains and predicts on cpu.' in out
