"""Page, HTTP API and MCP tools on one port."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from fx_mm.app.agent_tools import build_mcp
from fx_mm.app.gate import LOOPBACK, Gate
from fx_mm.app.in_order import SECONDS, InOrder
from fx_mm.app.page import THEME, build_page
from fx_mm.app.service import PICTURES, ChestService
from fx_mm.app.viewer import CSS
from fx_mm.utils.errors import UserError

EVERY = 60
"""Seconds between looks at images that nobody asked about."""


def build_app(
    service: ChestService,
    token: str | None = None,
    seconds: float = SECONDS,
) -> ASGIApp:
    """Build the app of a service.

    Args:
        service (ChestService): The functions.
        token (str, optional): What requests need. Defaults to None: requests
            of this machine alone are answered.
        seconds (float): Time limit of a request. Defaults to 300.

    Returns:
        ASGIApp: The page at ``/``, MCP at ``/mcp``, pictures at
        ``/pictures``.
    """
    hidden = (str(service.images.folder), str(service.images.root))
    in_order = InOrder(hidden, seconds)
    # a picture takes a third more in base64, and its call some words
    most = service.images.max_bytes * 4 // 3 + (1 << 16)
    mcp = build_mcp(service, in_order)
    agents = mcp.streamable_http_app(
        json_response=True,
        stateless_http=True,
        max_request_body_size=most,
        # the gate has looked at it
        transport_security=TransportSecuritySettings(
            enable_dns_rebinding_protection=False
        ),
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(EVERY)
                with contextlib.suppress(UserError):  # busy: next time
                    await in_order(service.images.expire)()

        sweeper = asyncio.create_task(sweep())
        async with mcp.session_manager.run():
            yield
        sweeper.cancel()
        in_order.close()
        service.close()

    app = FastAPI(
        lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.router.routes.extend(agents.routes)
    picture = in_order(service.picture)

    @app.get(f'/{PICTURES}/{{image}}/{{name}}.png')
    async def picture_of(image: str, name: str) -> Response:
        try:
            png = await picture(image, name)
        except UserError as error:
            return PlainTextResponse(str(error), 404)
        return Response(
            png, media_type='image/png', headers={'Cache-Control': 'no-store'}
        )

    page = build_page(service, in_order)
    gr.mount_gradio_app(
        app,
        page,
        path='/',
        theme=THEME,
        css=CSS,
        footer_links=['api'],
        run_history=False,
        show_error=False,
        max_file_size=service.images.max_bytes,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
    )
    return Gate(app, token, most)


def serve(
    service: ChestService,
    host: str,
    port: int,
    token: str | None,
    seconds: float = SECONDS,
) -> None:
    """Answer until the process is told to stop.

    Args:
        service (ChestService): The functions.
        host (str): Address to listen at; beyond loopback a token is needed.
        port (int): 0 for a free one.
        token (str, optional): None: one is made up beyond loopback.
        seconds (float): Time limit of a request. Defaults to 300.

    Raises:
        UserError: If the address cannot be used.
    """
    if token is None and host not in LOOPBACK:
        token = secrets.token_urlsafe(24)
    app = build_app(service, token, seconds)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host,
            port,
            log_level='warning',
            access_log=False,
            ws='none',
            # an open page would hold it for ever
            timeout_graceful_shutdown=3,
        )
    )
    try:
        sock = server.config.bind_socket()
    except SystemExit:  # it has said why
        raise UserError(
            f'port {port} of {host} cannot be used; give another --port or '
            '--host.'
        ) from None
    # Whoever reads the address may call it: calls wait from here on, until
    # the app has started.
    sock.listen(server.config.backlog)
    port = sock.getsockname()[1]
    shown = f'[{host}]' if ':' in host else host
    address = f'http://{shown}:{port}/'
    print(f'page: {address}{f"?token={token}" if token else ""}')
    print(f'MCP: {address}mcp', flush=True)
    server.run([sock])
