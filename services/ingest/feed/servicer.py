"""EventService: the feed, as a stream that never ends or as pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from chassis import auth, wire
from chassis.db import Database
from chassis.errors import OutOfRange
from chassis.paging import read_size
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceServicer
from services.ingest.feed import positions as feed
from services.ingest.feed import store as feed_store
from services.ingest.feed.waits import Waits

READ_MAX = 500
POLL_SECONDS = 1.0
"""A stream looks so often where nobody woke it."""
WAIT_POLL_SECONDS = 5.0
"""A caller who waits, of whom there may be many, looks so often."""
HEARTBEAT_SECONDS = 15.0
FROM_NOW = -1


class FeedServicer(EventServiceServicer):
    """Serves one organization's facts by position."""

    def __init__(self, db: Database, reader: feed.FeedReader) -> None:
        self._db = db
        self._reader = reader
        self._waits = Waits()
        self._ending = False

    def end_waits(self) -> None:
        """Answers everybody who waits for a fact, and lets nobody wait any more: the process stops."""
        self._ending = True
        self._reader.grown()

    async def Subscribe(self, request: pb.SubscribeRequest, context: Any) -> AsyncIterator[pb.FeedEvent]:
        organization_id = auth.organization_id()
        position = await self._begin(organization_id, request.after_position)
        grown = self._reader.waiter(organization_id)
        loop = asyncio.get_running_loop()
        last_sent = loop.time()
        try:
            # Says at once from where the stream goes on, so that a reader who begins at "now" can come back to it.
            yield pb.FeedEvent(position=position, organization_id=str(organization_id), heartbeat=True)
            while True:
                grown.clear()
                async with self._db.transaction(organization_id) as tx:
                    page = await feed_store.read_after(tx, organization_id, position, request.types, READ_MAX)
                for row in page.facts:
                    yield _to_pb(row, organization_id)
                # What was of other types is behind us too: a rare type's reader would read more and more, and one day
                # come back too late.
                position = page.position
                if page.facts:
                    last_sent = loop.time()
                if loop.time() - last_sent >= HEARTBEAT_SECONDS:
                    yield pb.FeedEvent(position=position, organization_id=str(organization_id), heartbeat=True)
                    last_sent = loop.time()
                if not page.more:
                    await _wait(grown, POLL_SECONDS)
        finally:
            self._reader.forget(organization_id, grown)

    async def ListFeedEvents(self, request: pb.ListFeedEventsRequest, context: Any) -> pb.ListFeedEventsResponse:
        organization_id = auth.organization_id()
        size = read_size(request.page_size)
        position = await self._begin(organization_id, max(0, request.after_position))
        page = await self._read(organization_id, position, request.types, size)
        if not page.facts and request.wait_seconds:
            with self._waits.place(organization_id):
                page = await self._wait_for(organization_id, page.position, request, size)
        return pb.ListFeedEventsResponse(
            events=[_to_pb(row, organization_id) for row in page.facts], next_position=page.position
        )

    async def _wait_for(
        self, organization_id: UUID, position: int, request: pb.ListFeedEventsRequest, size: int
    ) -> feed_store.Page:
        """The next facts, or none where none came in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + request.wait_seconds
        grown = self._reader.waiter(organization_id)
        try:
            while True:
                grown.clear()
                page = await self._read(organization_id, position, request.types, size)
                left = end - loop.time()
                if page.facts or left <= 0 or self._ending:
                    return page
                position = page.position
                await _wait(grown, min(WAIT_POLL_SECONDS, left))
        finally:
            self._reader.forget(organization_id, grown)

    async def _read(self, organization_id: UUID, position: int, types: Sequence[str], size: int) -> feed_store.Page:
        """The next facts, past all of other types: whoever asks takes a page without facts for the end of the feed."""
        page = feed_store.Page((), position, more=True)
        while page.more and not page.facts:
            async with self._db.transaction(organization_id) as tx:
                page = await feed_store.read_after(tx, organization_id, page.position, types, size)
        return page

    async def _begin(self, organization_id: UUID, after: int) -> int:
        async with self._db.transaction(organization_id) as tx:
            start, last = await feed_store.bounds(tx, organization_id)
        if after == FROM_NOW:
            return last
        if 0 < after < start - 1:
            raise OutOfRange(
                "POSITION_EXPIRED",
                f"The feed is kept for 7 days and now begins at {start}. Read the resources anew and go on from there.",
                first_position=str(start),
            )
        # What has left the feed lies before its beginning; so a position behind both was given out by another one.
        if start and after > max(last, start - 1):
            raise OutOfRange(
                "POSITION_EXPIRED",
                f"The feed ends at {last}, before that position: it was put back to an earlier state."
                " Read the resources anew and go on from there.",
                first_position=str(start),
            )
        return max(0, after)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _to_pb(row: Any, organization_id: UUID) -> pb.FeedEvent:
    return pb.FeedEvent(
        position=row.position,
        event_id=str(row.event_id),
        type=row.type,
        organization_id=str(organization_id),
        event_time=wire.to_timestamp(row.event_time),
        payload=bytes(row.payload),
        trace_parent=row.trace_parent,
    )
