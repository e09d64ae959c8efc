"""What tools/app.py says before it serves."""

import importlib.util


def test_one_sentence(run, tmp_path, monkeypatch):
    code, _, error = run('app', 'none.pth', '--root', tmp_path)
    if importlib.util.find_spec('gradio'):
        assert code == 1 and 'does not exist' in error
        assert error.count('\n') == 1
    code, _, error = run('app', 'a.pth', '--root', tmp_path, '--seconds', 0)
    assert code == 1 and '--seconds' in error
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    code, _, error = run('app', 'none.pth', '--root', tmp_path)
    assert code == 1 and 'onedl-fx-mm[app]' in error
