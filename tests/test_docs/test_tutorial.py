"""docs/tutorial.md is run as it stands, block by block."""

import re
from pathlib import Path

import pytest
from bash_blocks import run_bash

REPO = Path(__file__).parents[2]
TUTORIAL = REPO / 'docs/tutorial.md'
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
TIME = re.compile(r'\d+(\.\d+)? s(/it)?\b|\d+:\d\d:\d\d')
NUMBER = re.compile(r'(?<![\w/])(-?\d+(\.\d+)?|n/a)(?!\w*[/.]\w)')


def loosely(line):
    """A line without its numbers and widths."""
    return ' '.join(NUMBER.sub('#', line).split())


def values(line):
    """The numbers of a line but durations, as they are written."""
    return [m[1] for m in NUMBER.finditer(TIME.sub('', line))]


def agree(ours, printed):
    """Whether the numbers of an excerpt are those of the line it is from.

    Processors round in bfloat16 as they like, which a training of a few
    steps makes more of.
    """
    ours, printed = values(ours), values(printed)
    # the excerpt may leave out the beginning or the end of a line
    rows = (
        printed[i : i + len(ours)] for i in range(len(printed) - len(ours) + 1)
    )
    return any(all(map(close, ours, row)) for row in rows)


def close(one, two):
    if 'n/a' in (one, two) or not ('.' in one and '.' in two):
        return one == two
    one, two = float(one), float(two)
    # .26 and .27 differ by a bit more than .01 in binary
    return abs(one - two) <= 0.01 * max(1, abs(two)) + 1e-9


def missing_lines(excerpt, output):
    """Lines of an excerpt that are in no line of the output.

    Neither in words nor in numbers; with what the output has instead.
    """
    missing = []
    for line in excerpt.splitlines():
        found = [
            each
            for each in output.splitlines()
            if loosely(line) in loosely(each)
        ]
        if line != '...' and not any(agree(line, each) for each in found):
            missing.append((line, *found[:3]))
    return missing


@pytest.mark.slow
def test_all_blocks(checkout, capsys):
    session, output, kinds = {}, '', []
    for kind, code in BLOCK.findall(TUTORIAL.read_text()):
        kinds.append(kind)
        if kind == 'bash':
            output = run_bash(code, timeout=300)
            assert 'OneDL' not in output  # a remark of mmdet's
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


def test_which_lines_are_missed():
    output = 'x\n2026 - a 0.121 b 5 c\n'
    assert not missing_lines('...\na 0.12  b', output)
    assert not missing_lines('a 0.12 b 5', output)
    found = '2026 - a 0.121 b 5 c'
    assert missing_lines('a 0.12 b 6', output) == [('a 0.12 b 6', found)]
    assert missing_lines('a 0.22 b 5', output)
    assert missing_lines('AUC n/a', 'AUC 0.5')
    assert not missing_lines('AUC n/a', 'AUC n/a')
    assert missing_lines('a/cls 1', 'b/cls 1') == [('a/cls 1',)]
    assert missing_lines('f_1.png', 'f_2.png') == [('f_1.png',)]
    # how long it took does not count
    assert not missing_lines('0.5 s/it  loss 12.1', '0.8 s/it  loss 12.2')
    assert missing_lines('0.5 s/it  loss 12.1', '0.5 s/it  loss 13.2')
