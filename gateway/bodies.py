"""Reading what callers send, within the bounds of each body and of all of them together."""

from __future__ import annotations

from aiohttp import web

from chassis.errors import Unavailable


class Bodies:
    """Reads bodies, and counts the bytes of those in flight: being read, or waiting for what is done with them."""

    def __init__(self, bytes_in_flight_max: int) -> None:
        self._bytes_in_flight_max = bytes_in_flight_max
        self._bytes_in_flight = 0

    async def read(self, request: web.Request, bytes_max: int) -> bytes:
        """Answers the body, which counts as in flight until it is let go. How long it may take is the caller's to say.

        Raises HTTPRequestEntityTooLarge, at once where the body says its size, or Unavailable OVERLOADED.
        """
        content = request.content
        if not content.is_eof() and (request.content_length or 0) > bytes_max:
            raise _too_large(bytes_max, request.content_length or 0)
        counted = 0
        chunks: list[bytes] = []
        try:
            while chunk := await content.readany():
                counted += len(chunk)
                self._bytes_in_flight += len(chunk)
                if counted > bytes_max:
                    raise _too_large(bytes_max, counted)
                if self._bytes_in_flight > self._bytes_in_flight_max:
                    raise Unavailable("OVERLOADED", "Too much is being received; send it again.")
                chunks.append(chunk)
        except BaseException:
            self._bytes_in_flight -= counted
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def let_go(self, body: bytes) -> None:
        """Takes a body that was read out of flight."""
        self._bytes_in_flight -= len(body)


def _too_large(bytes_max: int, actual: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(max_size=bytes_max, actual_size=actual)
