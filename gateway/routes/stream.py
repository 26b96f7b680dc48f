"""Live updates: an organization's facts as server-sent events, resumed by Last-Event-ID."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Iterable
from contextlib import aclosing

import orjson
from aiohttp import web

from chassis.clock import Clock
from chassis.errors import FieldViolation, InvalidArgument, OutOfRange, ProsaError, Unauthenticated
from chassis.transcoding.contracts import files
from gateway import problems
from gateway.credentials import Authorizer, Credentials, Subscriber, by_header, correlation_id_key
from gateway.feed import Client, Fact, Feed, Stream, StreamLimits
from gateway.limits import STREAM_RETRY_MS, STREAM_TYPES_MAX, STREAM_WRITE_TIMEOUT_SECONDS

SUBSCRIBE = "/prosa.ingest.v1.EventService/Subscribe"
_POSITION = re.compile(r"[0-9]{1,19}")
_POSITION_MAX = 2**63 - 1
TYPE_SHOWN_LENGTH = 100


class LiveUpdates:
    """Serves GET /api/v1/stream."""

    def __init__(
        self,
        feed: Feed,
        credentials: Credentials,
        authorizer: Authorizer,
        clock: Clock,
        limits: StreamLimits,
    ) -> None:
        self._feed = feed
        self._credentials = credentials
        self._authorizer = authorizer
        self._clock = clock
        self._limits = limits
        self._watching: dict[Client, str] = {}
        """By client the token that it watches with."""
        authorizer.listen(self._look_again)

    def add_routes(self, app: web.Application) -> None:
        """Registers the stream; it ends before the application waits for its connections."""
        app.router.add_get("/api/v1/stream", self.stream, allow_head=False)
        app.on_shutdown.append(self._close)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Sends the facts after Last-Event-ID, or from now on, until the client leaves or its token ends."""
        after_position = read_position(request)
        types = read_types(request.rel_url.query.getall("types", []))
        token = await self._credentials.token(request)
        if token is None:
            raise Unauthenticated(
                "UNAUTHENTICATED", "Send Authorization: Bearer with a token, or X-Api-Key; or sign in with a browser."
            )
        if not by_header(request):
            # It changes nothing, but a page of another site has no business to hold it open.
            self._credentials.sessions.refuse_foreign(request)
        subscriber = self._authorizer.admit(token, SUBSCRIBE)
        # Joined before the answer begins: a limit that is reached can still be told as a status.
        stream, client = self._feed.join(subscriber.organization_id)
        self._watching[client] = token
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
            )
            await response.prepare(request)
            sender = Sender(response, types, after_position, self._limits.write_seconds)
            try:
                await sender.send(b"retry: %d\n\n" % STREAM_RETRY_MS)
                try:
                    await self._follow(sender, stream, client, subscriber, token)
                except ProsaError as error:
                    await sender.send(_problem_frame(error, request[correlation_id_key]))
            except (ConnectionError, TimeoutError):
                # The client has gone, or stopped reading: it resumes when it comes back. A proper end would wait for
                # it to read, so there is none.
                response.force_close()
                if request.transport is not None:
                    request.transport.abort()
            return response
        finally:
            del self._watching[client]
            await self._feed.leave(subscriber.organization_id, client)

    def _look_again(self) -> None:
        """Ends the streams of whose token was revoked, at once: what they would see until the next sign of life is
        no longer theirs."""
        for client, token in self._watching.items():
            try:
                self._authorizer.admit(token, SUBSCRIBE)
            except Unauthenticated as error:
                client.end(error)

    async def _follow(self, sender: Sender, stream: Stream, client: Client, subscriber: Subscriber, token: str) -> None:
        sender.beat_due = self._next_beat()
        if sender.position is not None:
            await self._catch_up(sender, stream, client, subscriber, token)
        while True:
            until = min(sender.beat_due, _monotonic() + self._left(subscriber))
            try:
                async with asyncio.timeout_at(until):
                    fact = await client.next()
            except TimeoutError:
                await self._beat(sender, subscriber, token)
                continue
            if fact is None:
                assert client.ended_by is not None
                raise client.ended_by
            await sender.send_fact(fact)
            await self._beat(sender, subscriber, token)

    async def _beat(self, sender: Sender, subscriber: Subscriber, token: str) -> None:
        """Shows a sign of life where one is due, however many facts come or are passed over meanwhile."""
        self._left(subscriber)
        if _monotonic() < sender.beat_due:
            return
        # A revoked token must not watch on.
        self._authorizer.admit(token, SUBSCRIBE)
        await sender.send(b": heartbeat\n\n")
        sender.beat_due = self._next_beat()

    def _left(self, subscriber: Subscriber) -> float:
        """Answers how many seconds the token has left. Raises Unauthenticated TOKEN_EXPIRED."""
        left = (subscriber.expire_time - self._clock.now()).total_seconds()
        if left <= 0:
            raise Unauthenticated("TOKEN_EXPIRED", "The token has ended; connect again with a new one.")
        return left

    def _next_beat(self) -> float:
        return _monotonic() + self._limits.heartbeat_seconds

    async def _catch_up(
        self, sender: Sender, stream: Stream, client: Client, subscriber: Subscriber, token: str
    ) -> None:
        assert sender.position is not None
        until = await stream.positioned()
        if sender.position > until:
            # From another life of the feed, such as before a restore: follow from here on.
            sender.position = until
        if sender.position == until:
            return
        async with aclosing(self._feed.catch_up(subscriber.organization_id, sender.position, until)) as facts:
            async for fact in facts:
                await sender.send_fact(fact)
                await self._beat(sender, subscriber, token)
                if client.ended_by is not None:
                    raise client.ended_by

    async def _close(self, _: web.Application) -> None:
        await self._feed.close()


class Sender:
    """Writes to one client: what it asked for, each fact once."""

    def __init__(
        self,
        response: web.StreamResponse,
        types: frozenset[str],
        position: int | None,
        write_seconds: float = STREAM_WRITE_TIMEOUT_SECONDS,
    ) -> None:
        self._response = response
        self._types = types
        self._write_seconds = write_seconds
        # Of the last fact sent or passed over; None: the client wants only what comes.
        self.position = position
        # When the next sign of life is due, on the loop's clock.
        self.beat_due = 0.0

    async def send_fact(self, fact: Fact) -> None:
        if self.position is not None and fact.position <= self.position:
            return
        if not self._types or not fact.type or fact.type in self._types:
            await self.send(fact.frame)
        self.position = fact.position

    async def send(self, frame: bytes) -> None:
        async with asyncio.timeout(self._write_seconds):
            await self._response.write(frame)


def read_position(request: web.Request) -> int | None:
    """Answers the position to resume after, from the header or the query; None where there is none."""
    name = "Last-Event-ID"
    text = request.headers.get(name, "").strip()
    if not text:
        name, text = "last_event_id", request.rel_url.query.get("last_event_id", "").strip()
    if not text:
        return None
    if not _POSITION.fullmatch(text) or int(text) > _POSITION_MAX:
        advice = "must be the id of an event of this stream, such as 4711"
        raise InvalidArgument("FIELD_INVALID", f"{name} {advice}.", violations=[FieldViolation(name, advice)])
    return int(text)


def read_types(values: Iterable[str]) -> frozenset[str]:
    """Answers the full names of the facts wanted; short names and comma-separated lists are understood."""
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    known = known_types()
    unknown = [name for name in names if name not in known]
    if len(names) > STREAM_TYPES_MAX:
        raise _types_refused(f"takes at most {STREAM_TYPES_MAX} names.")
    if unknown:
        name = unknown[0][:TYPE_SHOWN_LENGTH]
        close = difflib.get_close_matches(name, sorted(known), n=1)
        advice = f"Did you mean {close[0]}?" if close else "Name one such as MessageReceived, or none for all."
        raise _types_refused(f"has {name}, which is no type of event. {advice}")
    return frozenset(known[name] for name in names)


def _types_refused(advice: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"types {advice}", violations=[FieldViolation("types", advice)])


def known_types() -> dict[str, str]:
    """Answers the full name of every fact of the contracts, by its full and by its short name."""
    known: dict[str, str] = {}
    for file in files():
        if file.name.endswith("/events.proto"):
            for message in file.message_types_by_name.values():
                known[message.full_name] = known[message.name] = message.full_name
    return known


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def _problem_frame(error: ProsaError, correlation_id: str) -> bytes:
    """Answers an error as the stream's last event."""
    problem = problems.body(problems.from_error(error), correlation_id)
    if isinstance(error, OutOfRange):
        problem["status"], problem["title"] = 410, "Gone"
        # An empty id makes a browser forget its position, so that its next try is not refused again.
        return b"id:\nevent: problem\ndata: " + orjson.dumps(problem) + b"\n\n"
    return b"event: problem\ndata: " + orjson.dumps(problem) + b"\n\n"
