"""`Expect: 100-continue`: whoever asks is told to go on when the body is read, and not before it is known to be read.

The server would say so to everybody as soon as the headers are there, to an address that is nobody's and to callers
without credentials too, and would answer an expectation it does not know in plain text.
"""

from __future__ import annotations

from aiohttp import HttpVersion11, web
from aiohttp.hdrs import EXPECT

_CONTINUE = "100-continue"


def continue_late(app: web.Application) -> None:
    """Lets the application's server leave expectations to `refuse_unknown` and `invite`."""
    resolve = app.router.resolve

    async def resolve_quietly(request: web.Request) -> web.UrlMappingMatchInfo:
        match = await resolve(request)
        if EXPECT in request.headers:
            # There is no setting for the routes that stand for what is not found.
            match.route._expect_handler = _say_nothing  # noqa: SLF001
        return match

    app.router.resolve = resolve_quietly  # type: ignore[method-assign]  # the place where every request passes


def refuse_unknown(request: web.Request) -> None:
    """Raises HTTPExpectationFailed for what nobody here can meet."""
    expected = request.headers.get(EXPECT)
    if expected and expected.strip().lower() != _CONTINUE:
        raise web.HTTPExpectationFailed


async def invite(request: web.Request) -> None:
    """Tells a caller who waits for it that his body may come."""
    if EXPECT in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far is no answer yet.
        request.writer.output_size = 0


async def _say_nothing(_: web.Request) -> None:
    return None
