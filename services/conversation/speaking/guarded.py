"""Lets the client of `openai` call through the guard alone: it opens no connection of its own."""

from __future__ import annotations

import httpx2

from chassis.outgoing import Outgoing, OutgoingError

SENT = frozenset({"accept", "authorization", "content-type", "user-agent"})
"""Headers that go out. The client adds what it finds in the environment and knows of this machine; an organization
chooses the server, and neither is its business."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """One request, one call of the guard; times and sizes are the guard's."""

    def __init__(self, outgoing: Outgoing, *, total_seconds: float, answer_bytes_max: int) -> None:
        self._outgoing, self._total_seconds, self._answer_bytes_max = outgoing, total_seconds, answer_bytes_max

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """What the server answers. Raises TransportError where the guard brought no answer."""
        try:
            answer = await self._outgoing.call(
                request.method,
                self._outgoing.read(str(request.url)),
                headers={name: value for name, value in request.headers.items() if name.lower() in SENT},
                body=await request.aread(),
                total_seconds=self._total_seconds,
                answer_bytes_max=self._answer_bytes_max,
            )
        except OutgoingError as error:
            raise httpx2.TransportError(str(error), request=request) from error
        # The body is whole and unpacked already.
        return httpx2.Response(
            answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "")}, content=answer.body
        )
