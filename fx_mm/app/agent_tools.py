"""The same functions as tools of the Model Context Protocol (MCP)."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp_types import ToolAnnotations

from fx_mm.app.in_order import InOrder
from fx_mm.app.service import PICTURES, ChestService
from fx_mm.utils.errors import UserError
from fx_mm.version import __version__

INSTRUCTIONS = """\
One model of chest X-rays. Load an image (load_image, upload_image), then ask
about its handle. Every answer names model and checkpoint; metrics_of says how
good a task was on images with known truth. Pictures are resources. Nothing
here is for diagnosis."""
CHANGING = ('load_image', 'upload_image', 'drop_image')


def build_mcp(service: ChestService, in_order: InOrder) -> MCPServer:
    """Return the server of the tools and pictures.

    Args:
        service (ChestService): The functions.
        in_order (InOrder): Runs them in turn.
    """
    server = MCPServer(
        'fx_mm',
        instructions=INSTRUCTIONS,
        version=__version__,
        log_level='WARNING',
    )
    for tool in service.tools():
        server.add_tool(
            _raising(in_order(tool), ToolError),
            annotations=ToolAnnotations(
                read_only_hint=tool.__name__ not in CHANGING,
                destructive_hint=False,
                open_world_hint=False,
            ),
            structured_output=True,
        )
    picture = _raising(in_order(service.picture), ResourceNotFoundError)

    @server.resource(
        f'fx-mm://{PICTURES}/{{image}}/{{name}}.png', mime_type='image/png'
    )
    async def picture_of(image: str, name: str) -> bytes:
        """Return a picture of an earlier answer."""
        return await picture(image, name)

    return server


def _raising(
    function: Callable[..., Awaitable[Any]], kind: type[Exception]
) -> Callable[..., Awaitable[Any]]:
    """Return a function whose UserError is one of the protocol's."""

    @functools.wraps(function)
    async def handle(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except UserError as error:
            raise kind(str(error)) from None

    return handle
