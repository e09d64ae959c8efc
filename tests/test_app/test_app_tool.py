"""tools/app.py as people and agents use it: page, HTTP API, MCP tools."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_weights import TASKS, write_checkpoint
from test_image_store import ESCAPES

pytest.importorskip('gradio')
pytest.importorskip('mcp')
import httpx
from mcp import Client, MCPError

from fx_mm.phantom.render import render_phantom

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[2]
TOOL = REPO / 'tools/app.py'
CHROMIUM = shutil.which('chromium')
WAIT = 120_000
"""Milliseconds, for a machine that does other things as well."""


def drawn_png(index, size=128):
    image = render_phantom(3, 'a', 'val', index, size=size).image
    return cv2.imencode('.png', image)[1].tobytes()


@contextlib.contextmanager
def served(checkpoint, root, folder, *options, **environ):
    """Run the tool; gives its address, process id and log."""
    log = folder / f'log_{len(list(folder.glob("log_*")))}.txt'
    command = [sys.executable, TOOL, checkpoint, '--root', root]
    command += ['--port', '0', '--device', 'cpu', *options]
    temporary = folder / f'{log.stem}_tmp'
    temporary.mkdir()
    environ |= {'PYTHONPATH': str(REPO), 'TMPDIR': str(temporary)}
    with log.open('w') as errors:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | environ,
        )
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            assert lines[0].startswith('page: '), log.read_text()
            yield lines[0].split()[1], process.pid, log
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()
    # neither uploads nor copies are kept
    assert not list(temporary.glob('fx_mm_*'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('app')


@pytest.fixture(scope='module')
def checkpoint(folder):
    path = write_checkpoint(folder)
    metrics = {
        'real_nih/cls': {'AUC': 0.8, 'AUC/Nodule': 0.75},
        'real_lungs/seg': {'Dice_pos': 0.9},
    }
    content = dict(
        schema_version=2,
        checkpoint=Path(path).name,
        split='val',
        predict_on='teacher',
        tasks={task: dict(n_images=40) for task in metrics},
        metrics=dict(teacher=metrics),
        intervals=dict(teacher={'real_nih/cls': {'AUC': [0.7, 0.9]}}),
        normal_intervals={},
    )
    (folder / 'results.json').write_text(json.dumps(content))
    return path


@pytest.fixture(scope='module')
def root(folder):
    import pydicom
    from pydicom.data import get_testdata_file

    root = folder / 'root'
    (root / 'more').mkdir(parents=True)
    (root / 'a.png').write_bytes(drawn_png(0))
    (root / 'more/b.png').write_bytes(drawn_png(1))
    data = pydicom.dcmread(get_testdata_file('CT_small.dcm'))
    image = render_phantom(3, 'a', 'val', 2).image
    data.Rows, data.Columns = image.shape
    data.Modality, data.PixelRepresentation = 'DX', 0
    data.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    for key in ('RescaleSlope', 'RescaleIntercept', 'PixelPaddingValue'):
        if key in data:
            delattr(data, key)
    data.PixelData = (image.astype(np.uint16) * 16).tobytes()
    data.save_as(root / 'c.dcm')
    (folder / 'secret.png').write_bytes(drawn_png(3))
    (root / 'link.png').symlink_to('../secret.png')
    (root / 'linked').symlink_to(folder)
    (root / 'more/link.png').symlink_to('../../secret.png')
    (root / 'loop').symlink_to('loop')
    return root


@pytest.fixture(scope='module')
def server(checkpoint, root, folder):
    options = ('--tasks', *TASKS, '--max-mb', 1)
    with served(checkpoint, root, folder, *options) as found:
        yield found


@pytest.fixture
def clean(server):
    """No traceback came into the log while the test ran."""
    before = len(server[2].read_text())
    yield
    assert 'Traceback' not in server[2].read_text()[before:]


def test_conversation(server, clean, checkpoint):
    """Twelve turns of an agent over three images."""

    async def main():
        async with Client(f'{server[0]}mcp') as client:
            listed = {each.name: each for each in await tools(client)}
            assert list(listed) == [
                *('list_tasks', 'list_images', 'load_image', 'upload_image'),
                *('drop_image', 'classify', 'locate', 'segment', 'explain'),
                *('measure', 'report', 'compare', 'dataset_card'),
                'metrics_of',
            ]
            for each in listed.values():
                assert each.description and each.output_schema
                assert 'notice' in each.output_schema['required']

            async def ask(tool, **arguments):
                found = await client.call_tool(tool, arguments)
                assert not found.is_error, found.content
                answer = found.structured_content
                assert answer['checkpoint'] == 'iter_7.pth'
                assert answer['model'].endswith(answer['sha256'][:12])
                assert 'Not for diagnosis' in answer['notice']
                return answer

            async def look(picture):
                found = await client.read_resource(picture['uri'])
                (content,) = found.contents
                assert content.mime_type == 'image/png'
                png = base64.b64decode(content.blob)
                assert httpx.get(server[0] + picture['url'][1:]).content == png
                return cv2.imdecode(np.frombuffer(png, np.uint8), -1)

            known = await ask('list_tasks')
            assert [each['task'] for each in known['tasks']] == TASKS
            assert known['tasks'][0]['figure'] == dict(
                name='AUC', value=0.8, low=0.7, high=0.9, split='val'
            )
            names = (await ask('list_images'))['images']
            assert names == ['a.png', 'c.dcm', 'more/b.png']
            a = (await ask('load_image', path='a.png'))['image']
            labels = (await ask('classify', image=a))['labels']
            by_name = {each['name']: each for each in labels[TASKS[0]]}
            assert 0 <= by_name['Nodule']['probability'] <= 1
            assert by_name['Nodule']['figure']['value'] == 0.75
            loaded = await ask('load_image', path='c.dcm')
            c = loaded['image']
            assert loaded['reading']['format'] == 'DICOM'
            found = await ask('locate', image=c, min_score=0)
            assert found['boxes'][TASKS[1]]
            assert (await look(found['pictures'][0])).shape[1] == 768
            found = await ask('segment', image=c, tasks=[TASKS[2]])
            mask = found['masks'][TASKS[2]][0]
            assert (
                np.count_nonzero(await look(mask['picture'])) == (mask['area'])
            )
            content = base64.b64encode(drawn_png(4)).decode()
            b = await ask('upload_image', name='b.png', content=content)
            b = b['image']
            found = await ask(
                'explain', image=b, tasks=[TASKS[0]], min_score=0
            )
            await look(found['findings'][0]['picture'])
            measured = await ask('measure', image=c)
            assert measured['geometry']['spacing']
            found = await ask('compare', image=a, prior=b)
            assert not found['same_patient'] and found['sentences']
            report = await ask('report', image=a, prior=b)
            assert report['text'].startswith('For research. Not for')
            figures = await ask('metrics_of', task=TASKS[0])
            assert figures['n_images'] == 40
            await ask('dataset_card', dataset='real_nih')
            await ask('drop_image', image=b)
            gone = await client.call_tool('classify', {'image': b})
            assert gone.is_error and 'load it again' in gone.content[0].text
            with pytest.raises(MCPError):
                await client.read_resource(f'fx-mm://pictures/{b}/x.png')

    asyncio.run(main())


async def tools(client):
    return (await client.list_tools()).tools


def test_no_way_out_of_the_root(server, clean, folder):
    async def main():
        async with Client(f'{server[0]}mcp') as client:
            for name in ESCAPES:
                name = name.format(outside=folder)
                for tool, key in (
                    *(('load_image', 'path'), ('list_images', 'folder')),
                ):
                    found = await client.call_tool(tool, {key: name})
                    assert found.is_error, name
                    text = found.content[0].text
                    assert str(folder) not in text.replace(name, '')

    asyncio.run(main())
    for path in (
        *(f'gradio_api/file={folder}/secret.png', 'gradio_api/file=/etc/'),
        *('gradio_api/file=/etc/passwd', 'file=/etc/passwd'),
        f'gradio_api/file={REPO}/setup.py',
        *('pictures/../../etc/passwd.png', 'pictures/a/..%2f..%2fx.png'),
        *(
            'static/../../../../etc/passwd',
            'gradio_api/proxy=http://a.example',
        ),
    ):
        found = httpx.get(server[0] + path)
        assert found.status_code in (400, 403, 404), path


def malformed(number):
    """Return a tool and arguments that cannot be right."""
    rng = random.Random(number)
    odd = [
        *(None, True, -1, 1e308, float('nan'), '', '\0', '../x', 'x' * 2000),
        *([], {}, [[]], {'a': {'b': [1]}}, ['x'] * 200, '💥', '<script>'),
    ]
    tool = rng.choice(
        [
            *('classify', 'locate', 'segment', 'explain', 'measure'),
            *('report', 'compare', 'dataset_card', 'metrics_of'),
            *('load_image', 'upload_image', 'drop_image', 'no_such_tool'),
        ]
    )
    keys = ['image', 'tasks', 'min_score', 'prior', 'path', 'name']
    keys += ['content', 'dataset', 'task', 'x' * 50]
    chosen = rng.sample(keys, rng.randint(0, 5))
    return tool, {key: rng.choice(odd) for key in chosen}


def test_malformed_calls(server, clean):
    """500 of tools, then of the protocol."""
    address = f'{server[0]}mcp'
    head = {'accept': 'application/json, text/event-stream'}
    head['content-type'] = 'application/json'

    def call(number, tool, arguments):
        return json.dumps(
            dict(
                jsonrpc='2.0',
                id=number,
                method='tools/call',
                params=dict(name=tool, arguments=arguments),
            )
        )

    right = call(1, 'list_tasks', {})
    with httpx.Client(headers=head, timeout=60) as client:
        for number in range(500):
            body = call(number, *malformed(number))
            found = client.post(address, content=body)
            assert found.status_code < 500, body
            answer = found.json()
            assert 'error' in answer or answer['result']['isError'], body
            assert 'Traceback' not in found.text
        for body in (
            *('', '{', '[]', 'null', '"x"', '{}', '\0', right[:-1]),
            *('[' * 5000, call(None, 1, 2), right.replace('2.0', '1')),
            right.replace('tools/call', 'no/such'),
        ):
            found = client.post(address, content=body)
            assert found.status_code < 500 and 'Traceback' not in found.text
        large = client.post(address, content=bytes(2 << 20))
        assert large.status_code == 413
        # and it answers still
        assert client.post(address, content=right).json()['result']


def test_malformed_calls_of_the_http_api(server):
    """No caller sees a traceback; Gradio logs those of its own checks."""
    for name, data in itertools.product(
        ('classify', 'load_image', 'upload_image', 'no_such'),
        ([], [None], ['x', 'y', 'z', 1], [{}], {}, None, 'x'),
    ):
        url = f'{server[0]}gradio_api/call/{name}'
        found = httpx.post(url, json=dict(data=data), timeout=60)
        assert 'Traceback' not in found.text
        if found.status_code == 200:
            url = f'{url}/{found.json()["event_id"]}'
            assert 'event: error' in httpx.get(url, timeout=60).text
    url = f'{server[0]}gradio_api/call/classify'
    found = httpx.post(url, json=dict(data=['<b>', None]), timeout=60)
    url = f'{url}/{found.json()["event_id"]}'
    assert 'is not loaded' in httpx.get(url, timeout=60).text


def test_two_clients_at_once(server, clean):
    """Each gets the answers to its own image."""

    async def talk(path):
        async with Client(f'{server[0]}mcp') as client:
            seen = []
            for _ in range(5):
                found = await client.call_tool('load_image', {'path': path})
                handle = found.structured_content['image']
                found = await client.call_tool('classify', {'image': handle})
                assert found.structured_content['image'] == handle
                seen.append(found.structured_content['labels'])
            assert all(each == seen[0] for each in seen)
            return seen[0]

    async def main():
        alone = [await talk(path) for path in ('a.png', 'more/b.png')]
        both = await asyncio.gather(talk('a.png'), talk('more/b.png'))
        assert both == alone and both[0] != both[1]

    asyncio.run(main())


def test_memory_stays(server, clean):
    """500 calls, after some that fill the store of images."""

    def memory():
        status = Path(f'/proc/{server[1]}/status').read_text()
        return int(re.search(r'VmRSS:\s+(\d+)', status)[1]) / 1024

    async def talk(client, rounds):
        for number in range(rounds):
            path = ('a.png', 'more/b.png', 'c.dcm')[number % 3]
            found = await client.call_tool('load_image', {'path': path})
            image = {'image': found.structured_content['image']}
            for tool in ('classify', 'locate', 'segment', 'list_tasks'):
                own = {} if tool == 'list_tasks' else image
                found = await client.call_tool(tool, own)
                assert not found.is_error

    async def main():
        async with Client(f'{server[0]}mcp', cache=None) as client:
            await talk(client, 40)
            before = memory()
            await talk(client, 100)
            return before, memory()

    before, after = asyncio.run(main())
    print(f'{before:.0f} MiB, after 500 calls {after:.0f} MiB')
    assert after < before + 40


def test_token_beyond_loopback(checkpoint, root, folder):
    options = ('--host', '0.0.0.0', '--tasks', TASKS[0])
    with served(
        *(checkpoint, root, folder), *options, FX_MM_APP_TOKEN='abc'
    ) as (page, _, log):
        address, _, token = page.partition('?')
        assert token == 'token=abc'
        address = address.replace('0.0.0.0', '127.0.0.1')
        for path in ('', 'mcp', 'gradio_api/info', 'config', 'pictures/a/b'):
            assert httpx.get(address + path).status_code == 401
        with httpx.Client(follow_redirects=True, timeout=60) as client:
            found = client.get(f'{address}?{token}')
            assert found.status_code == 200 and 'token' not in str(found.url)
            assert client.get(f'{address}gradio_api/info').status_code == 200
        assert 'Traceback' not in log.read_text()


@pytest.mark.skipif(not CHROMIUM, reason='needs chromium')
def test_page(server, clean, root, folder):
    """A browser shows a drawn X-ray and a DICOM, and asks nobody else."""
    playwright = pytest.importorskip('playwright.sync_api')
    dropped = folder / 'dropped.png'
    dropped.write_bytes(drawn_png(5))
    hosts = set()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=['--no-sandbox']
        )
        page = browser.new_page(viewport=dict(width=1500, height=1000))
        page.set_default_timeout(WAIT)
        page.on('request', lambda sent: hosts.add(sent.url.split('/')[:3][-1]))
        page.goto(server[0])

        def drop(file):
            field = page.locator('#fx-file-of-image')
            field.locator('input[type=file]').set_input_files(file)
            # its name stands there while it is on its way, too
            field.get_by_role('link').wait_for()

        def press(name):
            page.get_by_role('button', name=name, exact=True).click()

        def choose(name, file):
            page.get_by_role('combobox', name=name, exact=True).click()
            page.get_by_role('option', name=file, exact=True).click()

        def shown(where, name):
            page.locator(f'#{where} img[alt="{name}"]').wait_for()

        drop(dropped)
        press('Show')
        shown('fx-image', 'dropped.png')
        assert 'AUC 0.750, val' in page.locator('#fx-findings').inner_text()
        mask = page.locator('#fx-image .fx-mask').last
        slider = page.locator('#fx-image .fx-opacity')
        for value in ('0', '0.9'):
            slider.evaluate(
                '(e, v) => {e.value = v; e.dispatchEvent(new Event("input"))}',
                value,
            )
            style = mask.evaluate('e => getComputedStyle(e).opacity')
            assert style == value
        switch = page.locator('#fx-image input[type=checkbox]').last
        switch.click()
        assert not mask.is_visible()
        picture = page.screenshot(path=folder / 'page_png.png')
        seen = cv2.imread(str(folder / 'page_png.png'))
        assert picture and seen.std() > 20

        choose('Image of the folder', 'c.dcm')
        press('Show')
        shown('fx-image', 'c.dcm')
        # nothing of the former image is left
        assert slider.input_value() == '0.4' and switch.is_checked()
        assert mask.is_visible()
        page.get_by_role('tab', name='Explanation').click()
        press('Explain')
        page.locator('#fx-evidence .fx-pictures').wait_for()
        page.get_by_role('tab', name='Report').click()
        press('Measure and report')
        page.locator('#fx-report p').first.wait_for()
        page.get_by_role('tab', name='Comparison').click()
        choose('Prior image of the folder', 'more/b.png')
        press('Compare with the prior image')
        shown('fx-prior', 'b.png')
        page.screenshot(path=folder / 'page_dicom.png', full_page=True)

        # what cannot be read leaves no image of before
        (folder / 'bad.png').write_bytes(b'no image')
        drop(folder / 'bad.png')
        press('Show')
        page.get_by_text('bad.png: ').first.wait_for()
        assert page.locator('#fx-image img').count() == 0
        browser.close()
    assert hosts == {server[0].split('/')[2]} | {'data:image'} & hosts
