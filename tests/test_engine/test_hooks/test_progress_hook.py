"""The progress bar on a pseudo-terminal, and its absence elsewhere."""

import contextlib
import io
import logging
import os
import pty
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from fx_mm.engine.hooks import ProgressHook

LONG = 'x' * 150


class Screen:
    """What a terminal shows: knows line feed, return, up and erase."""

    def __init__(self, data):
        self.lines, row, column = [''], 0, 0
        tokens = re.findall(r'\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+', data)
        for token in tokens:
            if token == '\r':
                column = 0
            elif token == '\n':
                row, column = row + 1, 0
                self.lines += [''] * (row + 1 - len(self.lines))
            elif token == '\x1b[2K':
                self.lines[row] = ''
            elif re.fullmatch(r'\x1b\[\d*A', token):
                row -= int(token[2:-1] or 1)
            elif not token.startswith('\x1b'):
                line = self.lines[row].ljust(column)
                end = column + len(token)
                self.lines[row] = line[:column] + token + line[end:]
                column = end


def make_runner(stream):
    handler = logging.StreamHandler(stream)
    logger = logging.Logger('progress')
    logger.addHandler(handler)
    entry = SimpleNamespace(task='phantom_b/loc', mode='lock')
    loop = SimpleNamespace(cycle=0, max_cycles=2, current_pass=entry)
    return SimpleNamespace(
        logger=logger,
        train_loop=loop,
        iter=0,
        max_iters=8,
        train_dataloader=range(4),
        val_dataloader=range(2),
    )


@pytest.fixture
def terminal(monkeypatch):
    """Make standard output a terminal; give what it got by then."""
    leader, follower = pty.openpty()
    stream = os.fdopen(follower, 'w')
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '100')
    chunks = []

    def read():
        # The terminal's buffer is small, and a full one blocks the writer.
        with contextlib.suppress(OSError):
            while data := os.read(leader, 4096):
                chunks.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def open_terminal():
        # not earlier: pytest sets its own when the test begins
        monkeypatch.setattr(sys, 'stdout', stream)
        return close

    def close():
        stream.close()
        reader.join(10)
        return b''.join(chunks).decode()

    yield open_terminal
    stream.close()
    reader.join(10)
    os.close(leader)


def test_log_lines_stand_whole_above_the_bar(terminal):
    got = terminal()
    runner = make_runner(sys.stdout)
    hook = ProgressHook(seconds=0)
    hook.before_run(runner)
    for index in range(4):
        runner.iter = index
        hook.after_train_iter(runner, index)
        runner.logger.info('[bold]line %s[/bold] %s', index, LONG)
    print('printed')
    hook.after_val_iter(runner, 0)
    hook.after_run(runner)
    runner.logger.info('after')
    data = got()
    lines = [f'[bold]line {i}[/bold] {LONG}' for i in range(4)]
    assert [line for line in Screen(data).lines if line] == [
        *lines,
        'printed',
        'after',
    ]
    assert 'cycle 1/2  phantom_b/loc lock 4/4' in data
    assert 'validation' in data
    assert '1/2' in data
    assert data.index('\x1b[?25l') < data.index('\x1b[?25h')  # the cursor


def test_seldom_drawn(terminal):
    got = terminal()
    runner = make_runner(sys.stdout)
    hook = ProgressHook(seconds=60)
    hook.before_run(runner)
    for index in range(4):
        hook.after_train_iter(runner, index)
    hook.after_run(runner)
    data = got()
    assert '1/4' in data
    assert '2/4' not in data


@pytest.mark.parametrize('dumb', [False, True])
def test_plain_output_stays_plain(monkeypatch, dumb):
    stream = io.StringIO()
    stream.isatty = lambda: dumb
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.setenv('TERM', 'dumb')
    runner = make_runner(stream)
    hook = ProgressHook(seconds=0)
    hook.before_run(runner)
    hook.after_train_iter(runner, 0)
    runner.logger.info('line')
    hook.after_run(runner)
    assert stream.getvalue() == 'line\n'
