"""Posting facts: each endpoint's queue item posts what waits for it, a few conversations at once, each in its order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from chassis import streams, wire
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Tx
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.outgoing import Outgoing, OutgoingError
from chassis.queues.items import Done, Item, Outcome, Place
from chassis.queues.queue import Queue
from chassis.queues.worker import Fence, Handler
from chassis.transcoding.fields import write_timestamp
from chassis.transcoding.plans import FACT_MEMBER, Plans
from prosa.ingest.v1 import events_pb2
from services.ingest.feed import store as feed_store
from services.ingest.limits import OUTBOUND_ANSWER_BYTES_MAX, OUTBOUND_AT_ONCE, OUTBOUND_RUN_MAX, OUTBOUND_SECONDS
from services.ingest.outbound import messages, rules, store
from services.ingest.outbound.health import fares
from services.ingest.outbound.rules import Blocker, Post, Result, Seen
from services.ingest.outbound.store import Endpoint

SECRET_COLUMN = "outbound_secrets.secret"  # noqa: S105 - the name of a column

CHANGED = events_pb2.OutboundEndpointChanged.DESCRIPTOR.full_name
"""Wakes every endpoint: a fact that was appended while one was being made did not see it, and comes before this one."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Run(Item):
    """One run of an endpoint: what is to be posted, and what came of it."""

    endpoint: Endpoint | None = None
    secrets: Sequence[str] = ()
    posts: Sequence[Post] = ()
    blockers: Mapping[str, Blocker] = field(default_factory=dict)
    reached: int = 0
    """How far into the feed the run goes."""
    results: list[Result] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


class EndpointWaker:
    """Tells endpoints that the feed has grown, in the transaction that makes it grow."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue, self._clock = queue, clock

    async def __call__(self, tx: Tx, events: Sequence[streams.StreamMessage]) -> None:
        """Puts the endpoints that want one of the facts."""
        types: dict[UUID, set[str]] = defaultdict(set)
        for event in events:
            types[event.organization_id].add(event.type)
        now = self._clock.now()
        told = [
            Place(endpoint_id, organization_id, str(endpoint_id), max(now, resume_time or now))
            for organization_id, endpoint_id, wanted, resume_time in await store.hold_told(tx, list(types))
            if not wanted or types[organization_id].intersection((*wanted, CHANGED))
        ]
        if told:
            # One that waits for a retry goes before it.
            await self._queue.remove(tx, [place.item_id for place in told])
            await self._queue.put(tx, told, now)


class Poster(Handler[Run]):
    """Posts what an endpoint is to be told, from its place in the feed on, and what it did not take before."""

    def __init__(
        self,
        queue: Queue,
        *,
        outgoing: Outgoing,
        vault: Vault,
        outbox: Outbox,
        clock: Clock,
        ids: Ids,
        draw: Callable[[], float],
    ) -> None:
        """``draw`` answers from 0 to 1: by how much waits differ."""
        self._queue, self._outgoing, self._vault, self._outbox = queue, outgoing, vault, outbox
        self._clock, self._ids, self._draw = clock, ids, draw
        self._plans = Plans()

    async def load(self, tx: Tx, items: Sequence[Item]) -> Sequence[Run]:
        """Each endpoint with what is due, else with what is new in the feed."""
        return [await self._load(tx, item) for item in items]

    async def work(self, items: Sequence[Run], fence: Fence) -> Sequence[Outcome[Run]]:
        """Posts. A run that is not kept is posted again under the same ids, as is said of every webhook."""
        for run in items:
            if run.posts:
                await self._post_all(run)
        return [Done(run) for run in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Run]]) -> None:
        """Keeps what came of the runs, and puts each endpoint that has more to be told."""
        for outcome in outcomes:
            await self._record(tx, outcome.item)

    async def _load(self, tx: Tx, item: Item) -> Run:
        run = Run(*(getattr(item, name) for name in Item.__slots__))
        endpoint = await store.find(tx, item.organization_id, item.item_id)
        now = self._clock.now()
        if endpoint is None or not endpoint.enabled or (endpoint.resume_time or now) > now:
            return run
        run.endpoint, run.reached = endpoint, endpoint.position
        limit = 1 if endpoint.failure_count >= rules.FAILURES_BEFORE_PROBE else OUTBOUND_RUN_MAX
        posts = [self._post(row, endpoint, row) for row in await store.due(tx, endpoint, now, limit)]
        if len(posts) < limit:
            page = await feed_store.read_after(
                tx, endpoint.organization_id, endpoint.position, endpoint.types, limit - len(posts)
            )
            run.reached = page.position
            posts += [self._post(row, endpoint, None) for row in page.facts]
        run.posts = posts
        run.secrets = [
            self._vault.open(sealed, organization_id=endpoint.organization_id, column=SECRET_COLUMN).decode()
            for sealed in await store.sealed_secrets(tx, endpoint.organization_id, endpoint.id)
        ]
        run.blockers = {
            row.ordering_key: Blocker(row.position, row.create_time + rules.ORDER_HOLD, row.retry_time)
            for row in await store.waiting(tx, endpoint, now, now - rules.ORDER_HOLD)
        }
        return run

    def _post(self, row: Any, endpoint: Endpoint, kept: Any | None) -> Post:
        """A row of the feed, or of what was tried before, as it is posted."""
        body = None
        if row.payload is not None:
            body = self._plans.told(
                row.position,
                str(row.event_id),
                row.type,
                str(endpoint.organization_id),
                write_timestamp(wire.to_timestamp(row.event_time)),  # type: ignore[arg-type]
                bytes(row.payload),
            )
        ordering_key = kept.ordering_key if kept else rules.conversation_of(orjson.loads(body or b"{}")[FACT_MEMBER])
        return Post(
            event_id=row.event_id,
            type=row.type,
            position=row.position,
            ordering_key=ordering_key,
            body=body,
            trace_parent=row.trace_parent or "",
            attempt_count=kept.attempt_count if kept else 0,
            create_time=kept.create_time if kept else self._clock.now(),
        )

    async def _post_all(self, run: Run) -> None:
        """Posts a few conversations at once; what is in no order stands for itself."""
        lanes: dict[str, list[Post]] = defaultdict(list)
        for post in sorted(run.posts, key=lambda post: post.position):
            lanes[post.ordering_key or str(post.event_id)].append(post)
        at_once = asyncio.Semaphore(OUTBOUND_AT_ONCE)

        async def post_lane(key: str, posts: Sequence[Post]) -> None:
            async with at_once:
                await self._post_lane(run, run.blockers.get(key), posts)

        async with asyncio.TaskGroup() as group:
            for key, posts in lanes.items():
                group.create_task(post_lane(key, posts))

    async def _post_lane(self, run: Run, blocker: Blocker | None, posts: Sequence[Post]) -> None:
        for post in posts:
            now = self._clock.now()
            if blocker is not None and blocker.position < post.position and now < blocker.until:
                run.results.append(rules.held(post, min(blocker.retry_time, blocker.until)))
                continue
            if post.body is None:
                run.results.append(Result(post, rules.FAILED, post.attempt_count, explanation=rules.EXPIRED))
                continue
            if any(seen.failure == "timeout" for seen in run.seen):
                # Whoever lets one wait would let all wait, and the places of others with them.
                run.results.append(Result(post, rules.PENDING, post.attempt_count, now + rules.RETRY_WAITS[0]))
                continue
            seen = await self._attempt(run, post, post.body)
            run.seen.append(seen)
            result = rules.after(post, seen, self._clock.now(), self._draw)
            run.results.append(result)
            if result.state == rules.PENDING and result.retry_time is not None:
                blocker = Blocker(post.position, post.create_time + rules.ORDER_HOLD, result.retry_time)

    async def _attempt(self, run: Run, post: Post, body: bytes) -> Seen:
        assert run.endpoint is not None, "a run without an endpoint posts nothing"
        now = self._clock.now()
        event_id, timestamp = str(post.event_id), int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Prosa",
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": rules.signature(run.secrets, event_id, timestamp, body),
            "X-Prosa-Position": str(post.position),
        }
        if post.trace_parent:
            headers["traceparent"] = post.trace_parent
        vague = False
        try:
            target = self._outgoing.read(run.endpoint.url)
            vague = self._outgoing.vague(target)
            answer = await self._outgoing.call(
                "POST",
                target,
                headers=headers,
                body=body,
                total_seconds=OUTBOUND_SECONDS,
                answer_bytes_max=OUTBOUND_ANSWER_BYTES_MAX,
                rest_ignored=True,
            )
        except OutgoingError as error:
            return Seen(failure=str(error.failed), vague=vague)
        wait = None
        if answer.status in (429, 503):
            wait = rules.retry_after(answer.headers.get("Retry-After"), now)
        return Seen(answer.status, retry_after=wait, vague=vague)

    async def _record(self, tx: Tx, run: Run) -> None:
        now = self._clock.now()
        # Whoever appends facts holds the endpoint too: either they are seen here, or they put it after this.
        endpoint = await store.find(tx, run.organization_id, run.item_id, lock=True)
        if endpoint is None or not endpoint.enabled:
            return
        if run.results:
            await store.keep_results(tx, endpoint, run.results, [self._ids.new() for _ in run.results], now)
        if run.endpoint is not None:
            endpoint = fares(replace(endpoint, position=max(endpoint.position, run.reached)), run.seen, now)
            await store.update(tx, endpoint)
        if not endpoint.enabled:
            logger.warning("outbound_endpoint_disabled", reason=endpoint.disabled_reason, endpoint_id=str(endpoint.id))
            await store.cancel_pending(tx, endpoint, now)
            disabled = replace(endpoint, pending_count=0)
            await self._outbox.add(tx, [messages.endpoint_changed(disabled)], now)
            return
        moment = await self._next_time(tx, endpoint, now)
        if moment is not None:
            # The place of this run goes with it; the one put here is another.
            await self._queue.remove(tx, [endpoint.id])
            await self._queue.put(tx, [Place(endpoint.id, endpoint.organization_id, run.key, moment)], now)

    async def _next_time(self, tx: Tx, endpoint: Endpoint, now: datetime) -> datetime | None:
        page = await feed_store.read_after(tx, endpoint.organization_id, endpoint.position, endpoint.types, 1)
        moment = now if page.facts or page.more else await store.next_retry(tx, endpoint)
        return None if moment is None else max(moment, endpoint.resume_time or moment)
