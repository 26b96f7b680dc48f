"""Reading what callers send, within the bounds of each body and of all of them together."""

from __future__ import annotations

from aiohttp import web

from chassis.errors import Unavailable
from gateway.expectations import invite


class Bodies:
    """Reads bodies, and counts the bytes of those in flight: being read, or waiting for what is done with them.

    They are bounded together and, where an owner is named, for each owner: nobody uses up what is there for all. What
    has no owner may be bounded by itself, and then takes nothing of what is there for the others.
    """

    def __init__(
        self,
        bytes_in_flight_max: int,
        bytes_per_owner_max: int | None = None,
        bytes_of_nobody_max: int | None = None,
    ) -> None:
        """`bytes_of_nobody_max` is what bodies without an owner may have, where they are counted by themselves."""
        self._bytes_in_flight_max = bytes_in_flight_max
        self._bytes_per_owner_max = bytes_in_flight_max if bytes_per_owner_max is None else bytes_per_owner_max
        self._bytes_of_nobody_max = bytes_of_nobody_max
        self._bytes_in_flight = 0
        self._bytes_of_nobody = 0
        self._by_owner: dict[str, int] = {}

    async def read(self, request: web.Request, bytes_max: int, owner: str = "") -> bytes:
        """Answers the body, which counts as in flight until it is let go. How long it may take is the caller's to say.

        Raises HTTPRequestEntityTooLarge, at once where the body says its size, or Unavailable OVERLOADED.
        """
        content = request.content
        if content.is_eof():
            # Came whole, as nearly every webhook does: there is nothing to wait for.
            whole = content.read_nowait()
            self._take_in(owner, len(whole), 0, bytes_max)
            return whole
        if (request.content_length or 0) > bytes_max:
            raise _too_large(bytes_max, request.content_length or 0)
        await invite(request)
        counted = 0
        chunks: list[bytes] = []
        try:
            while chunk := await content.readany():
                self._take_in(owner, len(chunk), counted, bytes_max)
                counted += len(chunk)
                chunks.append(chunk)
        except BaseException:
            self._count(owner, -counted)
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def read_part(self, request: web.Request, size: int, owner: str) -> bytes:
        """Answers at most so many next bytes of a body, in flight until they are let go; none at its end.

        Raises Unavailable OVERLOADED.
        """
        content = request.content
        if not content.is_eof():
            await invite(request)
        part = bytearray()
        try:
            while len(part) < size and (chunk := await content.read(size - len(part))):
                part += chunk
                self._count(owner, len(chunk))
                if self._full(owner) or self._by_owner[owner] > self._bytes_per_owner_max:
                    raise Unavailable("OVERLOADED", "Too much is being received at once; send it again.")
        except BaseException:
            self._count(owner, -len(part))
            raise
        return bytes(part)

    def let_go(self, body: bytes, owner: str = "") -> None:
        """Takes a body that was read, for the same owner, out of flight."""
        self._count(owner, -len(body))

    def _take_in(self, owner: str, size: int, before: int, bytes_max: int) -> None:
        """Counts so many more bytes of a body, behind those before. Where it raises, as `read` does, none count."""
        self._count(owner, size)
        try:
            if before + size > bytes_max:
                raise _too_large(bytes_max, before + size)
            if self._full(owner):
                raise Unavailable("OVERLOADED", "Too much is being received; send it again.")
            if owner and self._by_owner[owner] > self._bytes_per_owner_max:
                raise Unavailable("OVERLOADED", "Too much of yours is being received at once; send it again.")
        except BaseException:
            self._count(owner, -size)
            raise

    def _full(self, owner: str) -> bool:
        if not owner and self._bytes_of_nobody_max is not None:
            return self._bytes_of_nobody > self._bytes_of_nobody_max
        return self._bytes_in_flight > self._bytes_in_flight_max

    def _count(self, owner: str, size: int) -> None:
        if not owner and self._bytes_of_nobody_max is not None:
            self._bytes_of_nobody += size
            return
        self._bytes_in_flight += size
        if owner:
            left = self._by_owner.get(owner, 0) + size
            if left:
                self._by_owner[owner] = left
            else:
                self._by_owner.pop(owner, None)


def _too_large(bytes_max: int, actual: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(max_size=bytes_max, actual_size=actual)
