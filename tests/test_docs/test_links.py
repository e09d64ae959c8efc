"""Every link of every page leads somewhere: files, pictures, headings."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
FENCE = re.compile(r'^ *(```|~~~).*?^ *\1 *$', re.MULTILINE | re.DOTALL)
CODE = re.compile(r'(`+)(?:(?!\1).)+?\1', re.DOTALL)
LINK = re.compile(r'\]\(\s*<?([^)\s>]+)')
TAG = re.compile(r'(?:href|src)="([^"]+)"')
HEADING = re.compile(r'^ {0,3}#{1,6} +(.+?) *#*$', re.MULTILINE)
FAR = re.compile(r'(https?|mailto):')


def tracked():
    """Files of the repository, also those that are not committed yet."""
    listed = subprocess.run(
        [
            'git',
            'ls-files',
            '-z',
            '--cached',
            '--others',
            '--exclude-standard',
        ],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    return {Path(name) for name in filter(None, listed.stdout.split('\0'))}


FILES = tracked()
PLACES = FILES | {folder for file in FILES for folder in file.parents}
PAGES = sorted(str(file) for file in FILES if file.suffix == '.md')


def links(text):
    text = CODE.sub('`code`', FENCE.sub('', text))
    return [*LINK.findall(text), *TAG.findall(text)]


def anchors(text):
    """The names that GitHub gives to headings."""
    found, same = [], Counter()
    for heading in HEADING.findall(FENCE.sub('', text)):
        heading = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
        name = re.sub(r'[^\w\- ]', '', heading).lower().replace(' ', '-')
        found.append(f'{name}-{same[name]}' if same[name] else name)
        same[name] += 1
    return found


def broken(page, text):
    """Links of a page that lead nowhere in the repository."""
    found = []
    for link in links(text):
        if FAR.match(link):
            continue
        file, _, anchor = link.partition('#')
        target = (REPO / page).parent / file if file else REPO / page
        target = target.resolve()
        inside = target.is_relative_to(REPO.resolve())
        if not inside or target.relative_to(REPO.resolve()) not in PLACES:
            found.append(f'{link}: not in the repository')
        elif anchor and anchor not in anchors(target.read_text()):
            found.append(f'{link}: no such heading')
    return found


@pytest.mark.parametrize('page', PAGES)
def test_every_link_leads_somewhere(page):
    assert not broken(page, (REPO / page).read_text())


def test_all_pages_are_looked_at():
    expected = {'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'}
    expected |= {f'docs/{p.name}' for p in (REPO / 'docs').glob('*.md')}
    expected |= {
        str(p.relative_to(REPO)) for p in (REPO / 'configs').rglob('*.md')
    }
    assert expected <= set(PAGES)


def test_what_is_found():
    text = (
        '# A `b` c\n[x](no.py) [![i](gone.png)](README.md)\n'
        '```\n[in code](never.py)\n# no heading\n```\n`[a](b.py)`\n'
        '[h](#a-b-c) [far](https://a.b/c) [none](README.md#nothing)\n'
        '[out](../../elsewhere.md) <img src="docs/lost.png">\n'
    )
    assert anchors(text) == ['a-b-c']
    assert anchors('# a\n# a\n## A!') == ['a', 'a-1', 'a-2']
    assert [each.split(':')[0] for each in broken('README.md', text)] == [
        'no.py',
        'gone.png',
        '#a-b-c',
        'README.md#nothing',
        '../../elsewhere.md',
        'docs/lost.png',
    ]


def test_data_of_the_docs_are_not_ignored():
    """Only folders at the top are: data/, work_dirs/, build/, dist/."""
    for name in ('docs/data/a.json', 'tests/data/b.csv', 'fx_mm/build/c.py'):
        done = subprocess.run(['git', 'check-ignore', '-q', name], cwd=REPO)
        assert done.returncode == 1, name
    for name in ('data/a.png', 'work_dirs/b/c.pth', 'build/d', 'dist/e.whl'):
        done = subprocess.run(['git', 'check-ignore', '-q', name], cwd=REPO)
        assert done.returncode == 0, name
