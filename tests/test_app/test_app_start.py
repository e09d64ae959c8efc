"""What tools/app.py says before it serves, and when."""

import importlib.util
import socket

import pytest


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


def test_the_address_that_it_prints_can_be_called(monkeypatch, capsys):
    """Before the app itself has started, which takes a second."""
    pytest.importorskip('gradio')
    pytest.importorskip('mcp')
    from fx_mm.app import server

    def run(self, sockets):
        called.append(capsys.readouterr().out)
        host, port = sockets[0].getsockname()
        socket.create_connection((host, port), timeout=5).close()
        sockets[0].close()

    called = []
    monkeypatch.setattr(server, 'build_app', lambda *args: None)
    monkeypatch.setattr(server.uvicorn.Server, 'run', run)
    server.serve(None, '127.0.0.1', 0, None)
    assert called[0].startswith('page: http://127.0.0.1:')
