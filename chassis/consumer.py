"""Consumers: each reads streams in order, by a place of its own that is kept in Postgres beside the effect.

The ids of the facts that were consumed are stored in the same transaction, so a fact that comes again, because a
process died or a stream was published anew, has no second effect. One process at a time consumes, under a lease.
What is another installation's is not read (see ``chassis.installation``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from chassis import context
from chassis.bisect import bisect
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import Aborted, PermissionDenied, Unauthenticated, Unavailable
from chassis.installation import Refusals, StreamMark, StreamRefused, read_installation_id
from chassis.leases import LeaseLost, Leases
from chassis.outbox import arrival_subject, stream_name
from chassis.streams import StreamMessage, read_batch, until_connected
from chassis.subscriptions import AnyHandler, Event, Handler, Subscriptions
from chassis.telemetry import Metrics
from chassis.turns import INSPECT_SECONDS, POLL_SECONDS, take_turns, until_next

BATCH_MAX = 200
ATTEMPTS_MAX = 5
RETRY_SECONDS = 0.5
SAYS_NOTHING = (Unavailable, LeaseLost, Unauthenticated, PermissionDenied)
"""What says nothing of the fact: a service is away, or it does not take this process's own tokens, as while processes
of two releases or with different keys run side by side. The place stays where it is, and the fact is read again."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Cursor:
    epoch: int
    last_sequence: int


class Consumer:
    """Reads the streams of some services for one purpose; its handlers are named before it runs."""

    def __init__(
        self,
        name: str,
        schema: str,
        *,
        db: Database,
        leases: Leases,
        nats: Nats,
        clock: Clock,
        metrics: Metrics,
        poll_seconds: float = POLL_SECONDS,
        inspect_seconds: float = INSPECT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._poll_seconds, self._inspect_seconds, self._retry_seconds = poll_seconds, inspect_seconds, retry_seconds
        self._name = name
        self._schema = schema
        self._subscriptions = Subscriptions()
        self._subjects: Mapping[str, str] = {}
        self._services: Sequence[str] = ()
        self._db = db
        self._leases = leases
        self._nats = nats
        self._clock = clock
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._arrived: set[str] = set()
        self._cursors: dict[str, _Cursor] = {}
        self._installation_id: UUID | None = None
        self.refusals = Refusals()
        """The streams that are another installation's."""

    def on(self, event: type[Event], handler: Handler[Event]) -> None:
        """Hands every event of a class to the handler, each once, in their order. Raises ValueError for what is no
        event, or has a handler already."""
        self._subscriptions.on(event, handler)

    def on_all(self, services: Iterable[str], handler: AnyHandler) -> None:
        """Hands everything that the services announce to the handler, as it stands in their streams."""
        self._subscriptions.on_all(services, handler)

    async def run(self) -> None:
        """Runs until cancelled; waits out what is away and starts over. Raises ValueError where nothing is handled."""
        self._subjects = self._subscriptions.subjects
        self._services = tuple(self._subjects)
        if not self._services:
            raise ValueError(f"The consumer {self._name} handles nothing.")
        await until_connected(self._nats)
        subscriptions = [
            await self._nats.subscribe(arrival_subject(service), cb=partial(self._on_arrival, service))
            for service in self._services
        ]
        lease = f"consumer.{self._name}"
        try:
            await take_turns(
                self._leases,
                lease,
                self._consume_forever,
                refusals=self.refusals,
                held=self._metrics.lease_held.labels(f"{self._schema}.{lease}"),
                poll_seconds=self._poll_seconds,
            )
        finally:
            for subscription in subscriptions:
                if self._nats.is_connected:
                    await subscription.unsubscribe()

    async def _on_arrival(self, service: str, _message: Any) -> None:
        self._arrived.add(service)
        self._woken.set()

    async def _consume_forever(self, fences: Mapping[str, int]) -> None:
        await self._load_cursors()
        await self._inspect(fences)
        inspected = asyncio.get_running_loop().time()
        polled = -self._poll_seconds
        pending: set[str] = set()
        while True:
            self._woken.clear()
            if asyncio.get_running_loop().time() - polled >= self._poll_seconds:
                # However busy one stream keeps us: the word of an arrival in another may have been lost.
                pending = set(self._services)
                polled = asyncio.get_running_loop().time()
            pending |= self._arrived
            self._arrived.clear()
            looked = asyncio.get_running_loop().time()
            # Those that had more than one batch are read on at once.
            counts = {
                service: await self._consume_batch(service, fences)
                for service in self._services
                if service in pending and stream_name(service) not in self.refusals
            }
            pending = {service for service, count in counts.items() if count >= BATCH_MAX}
            now = asyncio.get_running_loop().time()
            if now - inspected > self._inspect_seconds:
                await self._inspect(fences)
                inspected = now
            if not pending:
                await until_next(self._woken, looked, self._poll_seconds)

    async def _inspect(self, fences: Mapping[str, int]) -> None:
        """Looks whose the streams are, and which of ours were made anew."""
        if self._installation_id is None:
            self._installation_id = await read_installation_id(self._db, self._schema)
        for service in self._services:
            await self._inspect_stream(service, fences)

    async def _inspect_stream(self, service: str, fences: Mapping[str, int]) -> bool:
        """Goes back to the beginning of a stream that was made anew; what is known already is passed over there.

        True where the stream is ours and of the epoch that we read.
        """
        stream = stream_name(service)
        try:
            found = StreamMark.of(await self._nats.jetstream().stream_info(stream))
        except NotFoundError:
            self.refusals.admit(stream, by=self._name)
            return False
        if found.installation_id is not None and not self._own(found.installation_id):
            self._refuse(service, found.installation_id)
            return False
        self.refusals.admit(stream, by=self._name)
        if found.epoch == self._cursors[service].epoch:
            return True
        if found.installation_id is None and self._installation_id is not None:
            # Made by the version before and not read yet: whose it is will be known once its relay has given it a mark.
            logger.debug("stream_unmarked", stream=stream, consumer=self._name)
            return False
        await self._rewind(service, found.epoch, fences)
        return True

    def _own(self, installation_id: str) -> bool:
        return self._installation_id is not None and installation_id == str(self._installation_id)

    def _refuse(self, service: str, owner: str) -> None:
        self.refusals.refuse(StreamRefused(stream_name(service), owner, self._installation_id), by=self._name)

    async def _rewind(self, service: str, epoch: int, fences: Mapping[str, int]) -> None:
        cursor = _Cursor(epoch, 0)
        async with self._db.transaction() as tx:
            await self._keep_cursor(tx, service, cursor)
            await self._leases.check(tx, fences)
        self._cursors[service] = cursor
        logger.info("consumer_rewound", consumer=self._name, stream=stream_name(service), epoch=epoch)

    async def _consume_batch(self, service: str, fences: Mapping[str, int]) -> int:
        cursor = self._cursors[service]
        messages = await read_batch(
            self._nats, stream_name(service), cursor.last_sequence + 1, BATCH_MAX, subjects=self._subjects[service]
        )
        if not messages:
            return 0
        for message in messages:
            if message.installation_id is not None and not self._own(message.installation_id):
                # The stream was exchanged since the last look, which the next one will see.
                self._refuse(service, message.installation_id)
                return 0
        if any(message.epoch != cursor.epoch for message in messages):
            confirmed = await self._inspect_stream(service, fences)
            if self._cursors[service].epoch != cursor.epoch:
                return BATCH_MAX
            if not confirmed:
                return 0
            # A relay that was frozen while the stream was made anew left them; they come again under the stream's own.
            logger.warning("stale_facts_passed_over", consumer=self._name, stream=stream_name(service))
        reached = _Cursor(cursor.epoch, messages[-1].sequence)
        wanted = [
            message for message in messages if message.epoch == cursor.epoch and self._subscriptions.wanted(message)
        ]
        if wanted:
            await self._handle(service, wanted, reached, fences)
        else:
            async with self._db.transaction() as tx:
                await self._keep_cursor(tx, service, reached)
                await self._leases.check(tx, fences)
        self._cursors[service] = reached
        return len(messages)

    async def _handle(
        self, service: str, messages: Sequence[StreamMessage], reached: _Cursor, fences: Mapping[str, int]
    ) -> None:
        """One transaction for all; where that fails, in halves, until the fact that cannot be handled stands alone."""

        async def run(part: Sequence[StreamMessage]) -> Sequence[None]:
            last = part[-1]
            await self._handle_or_persist(
                service, part, reached if last is messages[-1] else _Cursor(reached.epoch, last.sequence), fences
            )
            return [None] * len(part)

        for failed in await bisect(messages, run, says_nothing=(Unavailable, LeaseLost)):
            if failed is not None:
                raise failed

    async def _handle_or_persist(
        self, service: str, messages: Sequence[StreamMessage], reached: _Cursor, fences: Mapping[str, int]
    ) -> None:
        """Raises what the handler fails with, but for a fact that stands alone."""
        for _ in range(ATTEMPTS_MAX):
            try:
                await self._handle_once(service, messages, reached, fences, failure=None)
                return
            except SAYS_NOTHING:
                raise
            except Aborted as error:
                failed: Exception = error
                await asyncio.sleep(self._retry_seconds)
            except Exception as error:
                failed = error
                break
        if len(messages) > 1:
            raise failed
        await self._persist(service, messages[0], reached, fences, failed)

    async def _persist(
        self,
        service: str,
        message: StreamMessage,
        reached: _Cursor,
        fences: Mapping[str, int],
        error: Exception,
    ) -> None:
        for attempt in range(2, ATTEMPTS_MAX + 1):
            await asyncio.sleep(self._retry_seconds * attempt)
            try:
                await self._handle_once(service, [message], reached, fences, failure=None)
                return
            except SAYS_NOTHING:
                raise
            except Exception as again:
                error = again
        # Kept with its failure, counted and logged: one fact must not hold up all that come after it.
        logger.error("fact_not_consumed", consumer=self._name, event_id=str(message.event_id), exc_info=error)
        await self._handle_once(service, [message], reached, fences, failure=repr(error)[:1000])

    async def _handle_once(
        self,
        service: str,
        messages: Sequence[StreamMessage],
        reached: _Cursor,
        fences: Mapping[str, int],
        *,
        failure: str | None,
    ) -> None:
        async with self._db.transaction(*{message.organization_id for message in messages}) as tx:
            fresh = await self._remember_events(tx, messages, failure)
            if fresh and failure is None:
                first = fresh[0]
                with context.scoped(first.correlation_id, first.trace_parent):
                    await self._subscriptions.handle(tx, fresh)
            await self._keep_cursor(tx, service, reached)
            await self._leases.check(tx, fences)
        self._metrics.consumed.labels(self._name, "failed" if failure else "consumed").inc(len(fresh))

    async def _remember_events(
        self, tx: Tx, messages: Sequence[StreamMessage], failure: str | None
    ) -> list[StreamMessage]:
        stored = await tx.execute(
            f"""
            insert into {self._schema}.consumed_events (consumer, event_id, organization_id, consume_time, failure)
            select %(consumer)s, event_id, organization_id, %(now)s, %(failure)s
            from unnest(%(event_ids)b::uuid[], %(organization_ids)b::uuid[]) as fact (event_id, organization_id)
            on conflict do nothing returning event_id
            """,
            {
                "consumer": self._name,
                "now": self._clock.now(),
                "failure": failure,
                "event_ids": [message.event_id for message in messages],
                "organization_ids": [message.organization_id for message in messages],
            },
        )
        fresh = {event_id for (event_id,) in stored}
        first_seen = {message.event_id: message for message in reversed(messages)}
        return [
            message for message in messages if message.event_id in fresh and first_seen[message.event_id] is message
        ]

    async def _load_cursors(self) -> None:
        async with self._db.transaction() as tx:
            rows = await tx.execute(
                f"select stream, epoch, last_sequence from {self._schema}.consumer_cursors where consumer = %(name)s",
                {"name": self._name},
            )
            kept = {row.stream: _Cursor(row.epoch, row.last_sequence) for row in rows}
        self._cursors = {service: kept.get(stream_name(service), _Cursor(0, 0)) for service in self._services}

    async def _keep_cursor(self, tx: Tx, service: str, cursor: _Cursor) -> None:
        await tx.execute(
            f"""
            insert into {self._schema}.consumer_cursors (consumer, stream, epoch, last_sequence)
            values (%(consumer)s, %(stream)s, %(epoch)s, %(sequence)s)
            on conflict (consumer, stream) do update
              set epoch = excluded.epoch, last_sequence = excluded.last_sequence
            """,
            {
                "consumer": self._name,
                "stream": stream_name(service),
                "epoch": cursor.epoch,
                "sequence": cursor.last_sequence,
            },
        )
