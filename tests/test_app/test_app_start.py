"""What tools/app.py says before it serves, and when."""

import importlib.util
import subprocess
import sys

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


SERVE = """
import socket
from fx_mm.app import server

def run(self, sockets):
    socket.create_connection(sockets[0].getsockname(), timeout=5).close()
    print('called')

server.build_app = lambda *args: None
server.uvicorn.Server.run = run
server.serve(None, '127.0.0.1', 0, None)
"""


def test_the_address_that_it_prints_can_be_called():
    """Before the app itself has started, which takes a second."""
    pytest.importorskip('gradio')
    pytest.importorskip('mcp')
    # of its own: what it imports takes over the streams of a process
    done = subprocess.run(
        [sys.executable, '-c', SERVE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith('page: http://127.0.0.1:')
    assert lines[-1] == 'called'
