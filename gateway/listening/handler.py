"""aiohttp's handler of one connection, which tells the connection when it has answered, and errors as we tell them."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web
from aiohttp.hdrs import SERVER

from chassis.context import accepted_correlation_id
from gateway import problems
from gateway.credentials import correlation_id_key
from gateway.limits import HEADER_BYTES_MAX, HEADERS_MAX, KEEPALIVE_SECONDS, LINGERING_SECONDS, REQUEST_LINE_BYTES_MAX
from gateway.listening.connection import Connection

log = structlog.get_logger("gateway.http")

HANDLER_ARGUMENTS: dict[str, Any] = {
    # Signatures are made over bytes as they were sent.
    "auto_decompress": False,
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_SECONDS,
    "lingering_time": LINGERING_SECONDS,
    "max_line_size": REQUEST_LINE_BYTES_MAX,
    "max_field_size": HEADER_BYTES_MAX,
    "max_headers": HEADERS_MAX,
}


class HttpHandler(web.RequestHandler):
    """Parses requests and runs the application, as aiohttp does."""

    __slots__ = ("connection",)

    def __init__(self, server: web.Server, connection: Connection) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **HANDLER_ARGUMENTS)
        self.connection = connection

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Writes the answer, and says that it is written."""
        finished = await super().finish_response(request, resp, start_time)
        request.content.on_eof(self.connection.body_is_whole)
        self.connection.answered()
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Tells what the parser refuses, or what broke outside of the application, like every other error."""
        if isinstance(exc, ConnectionError):
            log.info("client_left", error=repr(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun; there is no space for another.")
        if status == problems.MALFORMED.status:
            log.info("request_malformed", error=repr(exc))
            problem = problems.MALFORMED
        elif isinstance(exc, ConnectionError):
            # Written to nobody.
            problem = problems.unexpected()
        else:
            log.error("unexpected error", exc_info=exc)
            problem = problems.unexpected()
        answer = problems.response(problem, request.get(correlation_id_key) or accepted_correlation_id(None))
        answer.headers[SERVER] = "prosa"
        answer.force_close()
        return answer
