"""Who may ask: this machine alone, or who has the token."""

import asyncio

import pytest

pytest.importorskip('starlette')
from fx_mm.app.gate import COOKIE, Gate

TOKEN = 'a-token'


async def answer(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'in'})


def ask(token=None, path='/x', query='', kind='http', **headers):
    """Return the status, and the headers of the answer."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = {'host': '127.0.0.1:7860'} | headers
    scope = dict(
        type=kind,
        method='POST',
        path=path,
        query_string=query.encode(),
        headers=[
            (k.replace('_', '-').encode(), v.encode('latin-1'))
            for k, v in headers.items()
            if v is not None
        ],
    )

    async def receive():
        return {'type': 'http.request', 'more_body': parts.pop()}

    parts = [False, True, True]
    asyncio.run(Gate(answer, token, max_bytes=100)(scope, receive, send))
    if kind == 'websocket':
        return sent[0]['type'], {}
    found = {k.decode(): v.decode() for k, v in sent[0]['headers']}
    return sent[0]['status'], found


@pytest.mark.parametrize(
    'host', ['127.0.0.1', 'localhost:7860', '[::1]:7860', 'LOCALHOST']
)
def test_this_machine(host):
    assert ask(host=host)[0] == 200
    assert ask(host=host, origin=f'http://{host}')[0] == 200


@pytest.mark.parametrize(
    'headers',
    [
        dict(host='evil.example'),
        dict(host='127.0.0.1.evil.example'),
        dict(host='evil.example:127.0.0.1'),
        dict(host='127.0.0.1@evil.example'),
        dict(host=''),
        dict(host=None),
        dict(host='[::1'),
        dict(origin='http://evil.example'),
        dict(origin='null'),
        dict(origin='http://localhost.evil.example'),
    ],
)
def test_others_by_a_name_that_leads_here_or_a_page_of_theirs(headers):
    assert ask(**headers)[0] == 403


def test_with_a_token():
    assert ask(TOKEN, host='hospital.example')[0] == 401
    for given in ('Bearer a-toke', 'Basic a-token', 'Bearer', 'é'):
        assert ask(TOKEN, authorization=given)[0] == 401
    for given in ('Bearer a-token', 'bearer  a-token'):
        assert ask(TOKEN, authorization=given)[0] == 200
    for given in (f'{COOKIE}=', f'{COOKIE}=b', 'a-token', '=;"\\'):
        assert ask(TOKEN, cookie=given)[0] == 401
    assert ask(TOKEN, cookie=f'x=1; {COOKIE}={TOKEN}')[0] == 200


def test_the_token_leaves_the_address():
    status, headers = ask(TOKEN, '/', 'token=a-token')
    assert status == 303 and headers['location'] == '/'
    cookie = headers['set-cookie'].lower()
    assert 'httponly' in cookie and 'samesite=strict' in cookie
    assert ask(TOKEN, '/', 'token=b')[0] == 401
    assert ask(TOKEN, '/mcp', 'token=a-token')[0] == 401
    assert ask(None, '/', 'token=')[0] == 200


@pytest.mark.parametrize(
    ('headers', 'status'),
    [
        (dict(content_length='100'), 200),
        (dict(content_length='101'), 413),
        (dict(content_length='-1'), 400),
        (dict(content_length='1e1'), 400),
        (dict(transfer_encoding='chunked'), 411),
    ],
)
def test_sizes(headers, status):
    assert ask(**headers)[0] == status


def test_no_websockets():
    assert ask(kind='websocket')[0] == 'websocket.close'
