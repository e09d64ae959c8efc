"""Every command of every page is one that its tool understands."""

import importlib.util
import os
import re
import shlex
from pathlib import Path
from unittest import mock

import pytest

REPO = Path(__file__).parents[2]
BLOCK = re.compile(r'^( *)```bash\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
HERE_DOCUMENT = re.compile(
    r"<<'(\w+)'(.*?)\n(.*?)^\1$", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r'`((?:python |make )[^`]+)`')
TOOL = re.compile(r'tools/[\w/]+\.(py|sh)')
END = re.compile(r'[|<>;]')
PAGES = [
    'README.md',
    'CONTRIBUTING.md',
    *(f'docs/{path.name}' for path in sorted((REPO / 'docs').glob('*.md'))),
    *(
        str(path.relative_to(REPO))
        for path in sorted((REPO / 'configs').glob('*/README.md'))
    ),
]


def commands(text):
    """Words of each command of a page, without what a shell does to them.

    A variable has its (first) value, ``[an option]`` is given, ``...`` is
    left out.
    """
    blocks = [block for _, block in BLOCK.findall(text)]
    inline = [' '.join(each.split()) for each in INLINE.findall(text)]
    for block in blocks + inline:
        block = HERE_DOCUMENT.sub('', block).replace('\\\n', ' ')
        values = dict(re.findall(r'^(\w+)=(\S+)$', block, re.MULTILINE))
        values |= re.findall(r'^for (\w+) in (\S+) ', block, re.MULTILINE)
        for line in block.splitlines():
            line = re.sub(r'\$\([^)]*\)', 'OUTPUT', line)
            for name in re.findall(r'\$(\w+)', line):
                line = line.replace(f'${name}', values[name])
            line = re.sub(r'(?<= )\[(-.*?|[A-Z]+)\]', r'\1', line)
            words = shlex.split(line, comments=True)
            words = [word for word in words if word != '...']
            if words:
                yield words


def choice(word):
    """The first of ``this|that``, a number for ``N``."""
    return '1' if word == 'N' else re.sub(r'^(\w+)(\|\w+)+$', r'\1', word)


def understood(words):
    """Whether a command's tool, or the Makefile, knows what it is given.

    Returns:
        bool: False if there is none of ours in the command.
    """
    if words[0] == 'make':
        makefile = (REPO / 'Makefile').read_text()
        for target in words[1:]:
            name, given, _ = target.partition('=')
            found = rf'\$[({{][^)}}]*\b{name}\b' if given else rf'^{name}\b.*:'
            assert re.search(found, makefile, re.MULTILINE), target
        return True
    places = [i for i, word in enumerate(words) if TOOL.search(word)]
    if not places:
        return False
    path = REPO / TOOL.search(words[places[0]])[0]
    assert path.is_file(), f'{path} is not there'
    given = []
    for word in map(choice, words[places[0] + 1 :]):
        if END.search(word):
            break
        given.append(word)
    if path.suffix == '.py':
        parse(path, given)
    for word in given:
        if re.fullmatch(r'configs/\S+\.py', word):
            assert list(REPO.glob(word)), f'{word} is not there'
    return True


class Parsed(Exception):
    """The words of a tool were understood."""


def parse(path, words):
    """Let a tool parse its words, and do no more."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with (
        mock.patch('sys.argv', [str(path), *words]),
        mock.patch.dict(os.environ),
    ):
        spec.loader.exec_module(module)
        if hasattr(module, 'parse_args'):
            module.parse_args()
            return
        with (
            mock.patch.object(module, 'load_config', side_effect=Parsed),
            pytest.raises(Parsed),
        ):
            module.main()


@pytest.mark.parametrize('page', PAGES)
def test_every_command_is_understood(page, capsys):
    made = 'my_hospital'  # configs that the page itself writes
    for words in commands((REPO / page).read_text()):
        if any(made in word for word in words):
            continue
        try:
            understood(words)
        except SystemExit:
            pytest.fail(f'{shlex.join(words)}: {capsys.readouterr().err}')


def test_what_is_found():
    text = (
        'run `python tools/z.py\n--to c`.\n'
        "```bash\ncat > a <<'EOF'\npython tools/gone.py\nEOF\n"
        'for name in jsrt nih14; do\n  python tools/x.py $name # why\ndone\n'
        'python tools/y.py A \\\n  [--to a|b] ... > file\n```\n'
        '```text\nno command\n```\n'
    )
    found = list(commands(text))
    assert ['python', 'tools/x.py', 'jsrt'] in found
    assert ['python', 'tools/y.py', 'A', '--to', 'a|b', '>', 'file'] in found
    assert found[-1] == ['python', 'tools/z.py', '--to', 'c']
    assert choice('a|b') == 'a'
    assert not any('gone' in word for words in found for word in words)


@pytest.mark.parametrize(
    'line',
    [
        'python tools/gone.py CONFIG',
        'python tools/train.py CONFIG --no-such-option',
        'python tools/train.py',
        'python tools/train.py configs/phantom/gone.py',
        'python tools/print_config.py CONFIG --nothing',
        'make nothing',
        'make wheelhouse NOTHING=1',
    ],
)
def test_what_is_missed(line, capsys):
    with pytest.raises((AssertionError, SystemExit)):
        understood(shlex.split(line))


def test_most_pages_have_commands():
    known = [
        understood(words)
        for page in ('README.md', 'docs/commands.md', 'docs/transfer.md')
        for words in commands((REPO / page).read_text())
    ]
    assert sum(known) > 30
