"""The site that `make docs` builds: every page, and what its search finds."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip('mkdocstrings_handlers.python')
REPO = Path(__file__).parents[2]
CHROMIUM = shutil.which('chromium')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', folder],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_what_the_search_finds(site):
    index = json.loads((site / 'search' / 'search_index.json').read_text())
    # as the search does, which looks for words that begin so
    separator = re.compile(index['config']['separator'])
    for word, page in (
        ('lock', 'model.html'),
        ('AP40', 'evaluation.html'),
        ('MONOCHROME1', 'reading_images.html'),
        ('from_pretrained', 'reference/api/apis.html'),
        ('--adapter-alone', 'reference/tools.html'),
    ):
        word = word.strip('-').lower().replace('-', ' ').split()[0]
        found = {
            entry['location'].partition('#')[0]
            for entry in index['docs']
            if any(
                part.startswith(word)
                for text in (entry['title'], entry['text'])
                for part in separator.split(text.lower())
            )
        }
        assert page in found, word


@pytest.mark.slow
def test_pages(site):
    tools = (site / 'reference' / 'tools.html').read_text()
    for script in (REPO / 'tools').rglob('*.py'):
        assert f'usage: {script.name} ' in tools
    pages = {
        page.relative_to(site).as_posix() for page in site.rglob('*.html')
    }
    for folder in REPO.glob('configs/*/README.md'):
        assert f'configs/{folder.parent.name}.html' in pages
    api = (site / 'reference' / 'api' / 'apis.html').read_text()
    assert 'from_pretrained' in api and ':func:' not in api
    # nothing is fetched from elsewhere when a page is opened
    for page in site.rglob('*.html'):
        fetched = re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]+"(https?://[^"]+)',
            page.read_text(),
        )
        assert not fetched, (page, fetched)


@pytest.fixture
def served(site):
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=site
    )
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason='needs chromium')
def test_in_a_browser(served):
    playwright = pytest.importorskip('playwright.sync_api')
    errors = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=['--no-sandbox']
        )
        page = browser.new_page()
        page.on('pageerror', lambda error: errors.append(error))
        for name in (
            'install',
            'model',
            'evaluation',
            'reference/tools',
            'reference/api/apis',
        ):
            page.goto(f'{served}/{name}.html')
            assert page.locator('h1').first.is_visible(), name
        for word in ('lock', 'AP40', 'MONOCHROME1'):
            page.goto(f'{served}/index.html')
            page.locator('.md-search__input').click()
            page.keyboard.type(word)
            first = page.locator('.md-search-result__item').first
            first.wait_for()
            assert word.lower() in first.inner_text().lower()
        browser.close()
    assert not errors
