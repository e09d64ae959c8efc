"""What `make docs` adds to the pages of this folder.

The READMEs of the configs, the tools' ``--help`` and the API from docstrings
become pages; links that lead out of this folder lead to these, or are words
where the site has no such page.
"""

import contextlib
import importlib.util
import io
import os
import posixpath
import re
import sys
from pathlib import Path
from unittest import mock

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
API = 'reference/api'
LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)')
FENCE = re.compile(r'(^ *```.*?^ *```$)', re.MULTILINE | re.DOTALL)
PARTS = dict(
    apis='What is called from Python',
    config='Read, check and expand a config',
    tasks='Task kinds and the table of tasks',
    structures='Samples',
    models='The model and its parts',
    engine='Runner, loops, hooks, optimizers, schedules',
    datasets='Readers, samplers, transforms',
    evaluation='Metrics, statistics, reports',
    visualization='Typed results and pictures',
    image_io='Image and mask files',
    analysis='Studies',
    audit='Checks of the data',
    converters='Weights in and out',
    deployment='ONNX',
    dicom_out='DICOM results and archives',
)
"""Packages that a user meets, each a page of the API."""
AWAY = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.md': 'changelog.md',
    **{
        str(path.relative_to(ROOT)): f'configs/{path.parent.name}.md'
        for path in ROOT.glob('configs/*/README.md')
    },
}
"""Pages from elsewhere in the repository, and their places in the site."""
ORIGINS = {
    page: source for source, page in AWAY.items() if source != 'README.md'
}


def on_config(config):
    """List the pages of the API."""
    pages = [f'{API}/{name}.md' for name in PARTS]
    for room in config.nav:
        for entry in next(iter(room.values())):
            if isinstance(entry, dict) and 'API' in entry:
                entry['API'] = pages


def on_files(files, config):
    """Add the pages that are made."""
    made = {
        page: (ROOT / source).read_text() for page, source in ORIGINS.items()
    }
    made['reference/tools.md'] = tools_page()
    made |= {f'{API}/{name}.md': api_page(name) for name in PARTS}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))


def on_page_markdown(markdown, page, config, files):
    """Let links that leave the folder lead to pages of the site."""
    here = page.file.src_uri
    origin = ORIGINS.get(here, f'docs/{here}')

    def change(match):
        image, text, target, anchor = match.groups()
        if not target or ':' in target:
            return match[0]
        place = posixpath.join(posixpath.dirname(origin), target)
        place = posixpath.normpath(place)
        inside = AWAY.get(place, place.removeprefix('docs/'))
        if inside == place and not place.startswith('docs/'):
            if not (ROOT / place).exists():
                raise ValueError(f'{origin} links to {target}: not there')
            return text if text.startswith('`') else f'{text} (`{place}`)'
        link = posixpath.relpath(inside, posixpath.dirname(here) or '.')
        return f'{image}[{text}]({link}{anchor or ""})'

    parts = FENCE.split(markdown)
    return ''.join(
        part if part.lstrip().startswith('```') else LINK.sub(change, part)
        for part in parts
    )


def on_page_content(html, page, config, files):
    """Turn the roles of docstrings, which are Sphinx's, into code."""
    return re.sub(r':[a-z]+:<code>[~.]?', '<code>', html)


def tools_page():
    """Return the ``--help`` of every tool, without a process for each."""
    lines = ['# Tools', '', 'What `--help` of each script prints.', '']
    for path in sorted((ROOT / 'tools').rglob('*.py')):
        name = path.relative_to(ROOT)
        text = help_of(path)
        lines += [f'## {name}', '', '```text', text.rstrip(), '```', '']
    return '\n'.join(lines)


def help_of(path):
    """Return what a script prints for ``--help``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    out = io.StringIO()
    with (
        mock.patch.object(sys, 'argv', [path.name, '--help']),
        mock.patch.object(sys, 'path', [str(path.parent), *sys.path]),
        mock.patch.dict(os.environ, COLUMNS='80'),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        spec.loader.exec_module(module)
        out.truncate(out.seek(0))
        getattr(module, 'parse_args', getattr(module, 'main', None))()
    if not out.getvalue().startswith('usage: '):
        raise ValueError(f'{path} --help prints no usage')
    return out.getvalue()


def api_page(name):
    """Return the page of one package: an entry per module with a name."""
    folder = ROOT / 'fx_mm' / name
    lines = [f'# fx_mm.{name}', '', PARTS[name] + '.', '']
    files = sorted(folder.rglob('*.py')) or [folder.with_suffix('.py')]
    for file in files:
        if file.name == '__init__.py':
            continue
        module = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
        lines += [f'::: {module}', '']
    return '\n'.join(lines)
