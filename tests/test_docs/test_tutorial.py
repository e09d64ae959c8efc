"""docs/tutorial.md is run as it stands, block by block."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

REPO = Path(__file__).parents[2]
TUTORIAL = REPO / 'docs/tutorial.md'
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)#:]+)\)')
NUMBER = re.compile(r'(?<![\w/])(-?\d+(\.\d+)?|n/a)(?!\w*[/.]\w)')


def loosely(line):
    """A line without its numbers and widths."""
    return ' '.join(NUMBER.sub('#', line).split())


def missing_lines(excerpt, output):
    """Lines of an excerpt that no line of the output contains."""
    lines = [loosely(line) for line in output.splitlines()]
    return [
        line
        for line in excerpt.splitlines()
        if line != '...' and not any(loosely(line) in each for each in lines)
    ]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder like a checkout, that may be written to."""
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(REPO / name)
    paths = [str(Path(sys.executable).parent), os.environ['PATH']]
    monkeypatch.setenv('PATH', os.pathsep.join(paths))
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    DefaultScope._instance_dict.clear()


def run_bash(code):
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f'{code}\n{done.stdout[-3000:]}'
    return done.stdout


@pytest.mark.slow
def test_all_blocks(checkout, capsys):
    session, output, kinds = {}, '', []
    for kind, code in BLOCK.findall(TUTORIAL.read_text()):
        kinds.append(kind)
        if kind == 'bash':
            output = run_bash(code)
        elif kind == 'python':
            capsys.readouterr()
            exec(compile(code, 'tutorial', 'exec'), session)
            output = capsys.readouterr().out
        else:
            assert kind == 'text', f'a block in ```{kind} is not run'
            missing = missing_lines(code, output)
            assert not missing, f'{missing} not in\n{output[-3000:]}'
    assert {'bash', 'python', 'text'} == set(kinds)
    for name in ('last.png', 'work_dirs/tutorial/results.md'):
        assert (checkout / name).is_file()


def test_links():
    for link in LINK.findall(TUTORIAL.read_text()):
        assert (TUTORIAL.parent / link).exists(), link


def test_what_loosely_means():
    assert not missing_lines('a 0.12  b', 'x\n2026 - a 7 b c')
    assert not missing_lines('...\nAUC n/a', 'AUC 0.5')
    assert missing_lines('a/cls 1', 'b/cls 1') == ['a/cls 1']
    assert missing_lines('f_1.png', 'f_2.png') == ['f_1.png']
