"""Who may ask: this machine alone, or who has the token."""

import asyncio
import contextlib
import hmac
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
COOKIE = 'fx_mm_token'
TOO_LARGE = 413


class Gate:
    """Refuses requests before anything reads them.

    Without a token, only those that name this machine and do not come from
    the page of another site; with one, only those that have it: as ``Bearer``
    in ``Authorization``, or in the cookie that ``/?token=...`` sets.

    Args:
        app (ASGIApp): What answers.
        token (str, optional): Defaults to None: loopback alone.
        max_bytes (int): Size of a request. Defaults to 64 MiB.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, max_bytes: int = 64 << 20
    ) -> None:
        self.app, self.token, self.max_bytes = app, token, max_bytes

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request, or pass it on."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        refusal = PlainTextResponse('not offered', 404)
        answer: Response | None = (
            self._check(scope) if scope['type'] == 'http' else refusal
        )
        if answer is None:
            # the server stops while a page is open: no fault
            with contextlib.suppress(asyncio.CancelledError):
                await self.app(scope, receive, send)
        elif scope['type'] == 'http':
            if answer.status_code == TOO_LARGE:
                # who still sends would not see the answer
                while (await receive()).get('more_body'):
                    pass
            await answer(scope, receive, send)
        else:
            await send({'type': 'websocket.close', 'code': 1008})

    def _check(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self.token is None:
            origin = headers.get('origin')
            if not _is_loopback(f'//{headers.get("host", "")}') or (
                origin is not None and not _is_loopback(origin)
            ):
                return PlainTextResponse('for this machine alone', 403)
        else:
            query = parse_qs(scope['query_string'].decode('latin-1'))
            given = query.get('token', [''])[0]
            if scope['path'] == '/' and self._fits(given):
                return self._let_in(scope)
            if not self._fits(_token_of(headers)):
                return PlainTextResponse('give the token of the app', 401)
        length = headers.get('content-length')
        if length is None and 'transfer-encoding' in headers:
            return PlainTextResponse('say the length of the request', 411)
        if length is not None and not length.isdecimal():
            return PlainTextResponse('the length is no number', 400)
        if length is not None and int(length) > self.max_bytes:
            return PlainTextResponse('the request is too large', TOO_LARGE)
        return None

    def _fits(self, given: str) -> bool:
        wanted = (self.token or '').encode()
        return hmac.compare_digest(given.encode(), wanted)

    def _let_in(self, scope: Scope) -> Response:
        """Keep the token in a cookie, and out of the address."""
        answer = RedirectResponse(scope.get('root_path', '') + '/', 303)
        answer.set_cookie(
            COOKIE, self.token or '', httponly=True, samesite='strict'
        )
        return answer


def _token_of(headers: Headers) -> str:
    kind, _, value = headers.get('authorization', '').partition(' ')
    if kind.lower() == 'bearer':
        return value.strip()
    try:
        found = SimpleCookie(headers.get('cookie', '')).get(COOKIE)
    except Exception:  # a malformed cookie
        return ''
    return found.value if found else ''


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in LOOPBACK
    except ValueError:
        return False
