"""The relay: publishes a service's outbox to its stream, in order, at least once, and sees when the stream lost facts.

JetStream is disposable: it acknowledges before it syncs. The relay is the stream's only publisher and remembers, beside
the outbox, how far the stream had come and which incarnation of it that was. A stream that was deleted, truncated or
put back from an older copy does not fit that memory; it is then made anew under the next epoch and everything the
outbox still keeps is published again. Consumers know facts by their ids, so nothing happens twice.

A stream of another installation is let alone: the relay says so and waits until it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from chassis.db import SCOPED, Database, Tx
from chassis.installation import Refusals, StreamMark, StreamRefused, mark, read_installation_id
from chassis.leases import Leases
from chassis.migrations import OUTBOX_DAYS
from chassis.outbox import SUBJECT_PREFIX, arrival_subject, stream_name, subject, wake_subject
from chassis.streams import (
    CORRELATION_HEADER,
    EPOCH_HEADER,
    EXPECTED_SEQUENCE_HEADER,
    INSTALLATION_HEADER,
    MESSAGE_ID_HEADER,
    ORGANIZATION_HEADER,
    POSITION_HEADER,
    TIME_HEADER,
    TRACE_HEADER,
    TYPE_HEADER,
    read_batch,
    until_connected,
)
from chassis.telemetry import Metrics
from chassis.turns import INSPECT_SECONDS, POLL_SECONDS, take_turns, until_next

BATCH_MAX = 500
PUBLISH_SECONDS = 5.0
DUPLICATE_WINDOW_SECONDS = 120

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Place:
    """How far the stream had come, as Postgres remembers it."""

    epoch: int
    stream_created: str
    last_sequence: int


class Relay:
    """Publishes one schema's outbox while it holds the lease ``relay``."""

    def __init__(
        self,
        schema: str,
        db: Database,
        leases: Leases,
        nats: Nats,
        metrics: Metrics,
        *,
        poll_seconds: float = POLL_SECONDS,
        inspect_seconds: float = INSPECT_SECONDS,
    ) -> None:
        self._schema = schema
        self._poll_seconds, self._inspect_seconds = poll_seconds, inspect_seconds
        self._db = db
        self._leases = leases
        self._nats = nats
        self._stream = stream_name(schema)
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._installation_id: UUID | None = None
        self.refusals = Refusals()
        """Whether the stream under our name is another installation's."""

    async def run(self) -> None:
        """Runs until cancelled; waits out what is away and starts over."""
        await until_connected(self._nats)
        js = self._nats.jetstream(timeout=PUBLISH_SECONDS)
        subscription = await self._nats.subscribe(wake_subject(self._schema), cb=self._on_wake)
        try:
            await take_turns(
                self._leases,
                "relay",
                partial(self._publish_forever, js),
                refusals=self.refusals,
                held=self._metrics.lease_held.labels(f"{self._schema}.relay"),
                poll_seconds=self._poll_seconds,
            )
        finally:
            if self._nats.is_connected:
                await subscription.unsubscribe()

    async def _on_wake(self, _message: Any) -> None:
        self._woken.set()

    async def _publish_forever(self, js: JetStreamContext, fences: Mapping[str, int]) -> None:
        place = await self._admitted(js, fences)
        inspected = asyncio.get_running_loop().time()
        while True:
            self._woken.clear()
            looked = asyncio.get_running_loop().time()
            published = await self._publish_batch(js, place, fences)
            now = asyncio.get_running_loop().time()
            if now - inspected > self._inspect_seconds:
                place = await self._admitted(js, fences)
                inspected = asyncio.get_running_loop().time()
            if published < BATCH_MAX:
                await until_next(self._woken, looked, self._poll_seconds)

    async def _admitted(self, js: JetStreamContext, fences: Mapping[str, int]) -> _Place:
        """Where our stream stands; waits for as long as another installation's is in its place."""
        while True:
            try:
                if self._installation_id is None:
                    self._installation_id = await read_installation_id(self._db, self._schema)
                # Told before NATS is asked: while it is away this is as far as we come.
                async with self._db.transaction() as tx:
                    await self._pending(tx)
                place = await self._inspect(js, fences)
            except StreamRefused as refused:
                self.refusals.refuse(refused, by=f"{self._schema}.relay")
                await asyncio.sleep(self._inspect_seconds)
                continue
            self.refusals.admit(self._stream, by=f"{self._schema}.relay")
            return place

    async def _inspect(self, js: JetStreamContext, fences: Mapping[str, int]) -> _Place:
        """Where the stream stands; made anew, and everything put back into the queue, when it lost facts.

        Raises StreamRefused where it is not ours.
        """
        place = await self._remembered()
        known_epoch = 0 if place is None else place.epoch
        try:
            info = await js.stream_info(self._stream)
        except NotFoundError:
            return await self._begin_anew(js, known_epoch + 1, fences)
        found = StreamMark.of(info)
        if place is None or (found.created, found.epoch) != (place.stream_created, place.epoch):
            place = None
        await self._claim(js, found, known=place is not None)
        if place is None or info.state.last_seq < place.last_sequence:
            await js.delete_stream(self._stream)
            # A database that was put back may know less than the stream: no epoch comes twice.
            return await self._begin_anew(js, max(known_epoch, found.epoch) + 1, fences)
        if info.state.last_seq > place.last_sequence:
            await self._settle(place, info.state.last_seq, fences)
        return place

    async def _claim(self, js: JetStreamContext, found: StreamMark, *, known: bool) -> None:
        """Lets our own stream pass, and one without a mark that we remember, which is given ours."""
        own = None if self._installation_id is None else str(self._installation_id)
        if found.installation_id == own:
            return
        if found.installation_id is not None or not known:
            raise StreamRefused(self._stream, found.installation_id, self._installation_id)
        await js.update_stream(self._stream_config(found.epoch))
        logger.info("stream_adopted", stream=self._stream, installation_id=own)

    def _stream_config(self, epoch: int) -> StreamConfig:
        return StreamConfig(
            name=self._stream,
            subjects=[f"{SUBJECT_PREFIX}.{self._schema}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            max_age=OUTBOX_DAYS * 86_400,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
            allow_direct=True,
            metadata=mark(epoch, self._installation_id),
        )

    async def _settle(self, place: _Place, last_sequence: int, fences: Mapping[str, int]) -> None:
        """Takes out of the queue what was published just before a crash or a time-out, and so never recorded."""
        while place.last_sequence < last_sequence:
            messages = await read_batch(self._nats, self._stream, place.last_sequence + 1, BATCH_MAX)
            if not messages:
                raise _StreamMoved(f"{self._stream} ends before {last_sequence}")
            # What a relay of an older epoch left, frozen while the stream was made anew, consumers pass over.
            sent = [message for message in messages if message.epoch == place.epoch]
            async with self._db.transaction(*{message.organization_id for message in sent}) as tx:
                # By id too: a database that was put back gives positions out again, to other facts.
                await tx.execute(
                    f"""
                    delete from {self._schema}.outbox_queue queued
                    using unnest(%(positions)b::bigint[], %(times)b::timestamptz[], %(event_ids)b::uuid[])
                        as sent (position, event_time, event_id),
                      {self._schema}.outbox fact
                    where queued.position = sent.position and fact.position = sent.position
                      and fact.event_time = sent.event_time and fact.event_id = sent.event_id
                    """,
                    {
                        "positions": [message.position for message in sent],
                        "times": [message.event_time for message in sent],
                        "event_ids": [message.event_id for message in sent],
                    },
                )
                place.last_sequence = messages[-1].sequence
                await self._remember(tx, place)
                await self._leases.check(tx, fences)

    async def _begin_anew(self, js: JetStreamContext, epoch: int, fences: Mapping[str, int]) -> _Place:
        """Makes the stream, which is not there, and puts all that the outbox keeps back into the queue."""
        info = await js.add_stream(self._stream_config(epoch))
        place = _Place(epoch, str(info.created), 0)
        async with self._db.transaction() as tx:
            requeued = (await tx.execute(f"select {self._schema}.outbox_requeue()")).scalar_one()
            await self._remember(tx, place)
            await self._leases.check(tx, fences)
        if requeued:
            self._metrics.stream_losses.labels(self._schema).inc()
            logger.warning("stream_lost_facts", stream=self._stream, epoch=epoch, published_again=requeued)
        else:
            logger.info("stream_made", stream=self._stream, epoch=epoch)
        return place

    async def _publish_batch(self, js: JetStreamContext, place: _Place, fences: Mapping[str, int]) -> int:
        # Nothing is held while NATS stores: upkeep, and whoever writes behind it, would wait for that.
        async with self._db.transaction() as tx:
            pending = await self._pending(tx)
            if not pending:
                return 0
            positions = [row.pending_position for row in pending]
            rows = (
                await tx.execute(
                    f"""
                    select outbox.position, outbox.event_id::text, outbox.organization_id::text, outbox.type,
                           outbox.payload, outbox.event_time, outbox.correlation_id, outbox.trace_parent
                    from unnest(%(positions)b::bigint[], %(times)b::timestamptz[]) as wanted (position, event_time)
                    join {self._schema}.outbox
                      on outbox.position = wanted.position and outbox.event_time = wanted.event_time
                    order by outbox.position
                    """,
                    {"positions": positions, "times": [row.pending_event_time for row in pending]},
                )
            ).all()
        reached = replace(place, last_sequence=await self._send(js, rows, place))
        async with self._db.transaction(*map(UUID, pending[0].organization_ids.split(","))) as tx:
            await self._remember(tx, reached, positions)
            await self._leases.check(tx, fences)
        place.last_sequence = reached.last_sequence
        self._metrics.outbox_published.labels(self._schema).inc(len(rows))
        await self._nats.publish(arrival_subject(self._schema), b"")
        return len(pending)

    async def _pending(self, tx: Tx) -> Sequence[Any]:
        """The next of the queue, of which the gauge is told how many wait; with each, the organizations of all.

        The rest of the transaction sees these organizations.
        """
        found = await tx.execute(
            f"""
            with pending as materialized (
              select * from {self._schema}.outbox_pending({BATCH_MAX})
            ), {SCOPED}
            select pending_position, pending_event_time, organization_ids from pending cross join scoped
            """
        )
        pending = found.all()
        self._metrics.outbox_lag.labels(self._schema).set(len(pending))
        return pending

    async def _send(self, js: JetStreamContext, rows: Any, place: _Place) -> int:
        """Publishes rows in order, all under way at once; answers the sequence of the last one.

        Each carries the sequence the stream must have reached by then, so that a stream which is not the one we know
        refuses all of them, and a batch cut short leaves no gap. For the same reason the last one's acknowledgement
        speaks for all: the stream takes it nowhere but right behind the others.
        """
        last_sequence = place.last_sequence + len(rows)
        for index, row in enumerate(rows):
            headers = {
                MESSAGE_ID_HEADER: f"{place.epoch}.{row.event_id}",
                EXPECTED_SEQUENCE_HEADER: str(place.last_sequence + index),
                EPOCH_HEADER: str(place.epoch),
                POSITION_HEADER: str(row.position),
                TYPE_HEADER: row.type,
                ORGANIZATION_HEADER: row.organization_id,
                TIME_HEADER: row.event_time.isoformat(),
            }
            if self._installation_id is not None:
                headers[INSTALLATION_HEADER] = str(self._installation_id)
            if row.correlation_id:
                headers[CORRELATION_HEADER] = row.correlation_id
            if row.trace_parent:
                headers[TRACE_HEADER] = row.trace_parent
            if index < len(rows) - 1:
                await self._nats.publish(subject(row.type), row.payload, headers=headers)
                continue
            try:
                answer = await js.publish(subject(row.type), row.payload, headers=headers, timeout=PUBLISH_SECONDS)
            except (NatsError, TimeoutError) as error:
                # Look at the stream before anything more is sent: some of the batch may stand in it.
                raise _StreamMoved(f"{self._stream}: {error!r}") from error
            if answer.seq != last_sequence:
                raise _StreamMoved(f"{self._stream}: stands at {answer.seq}, not at {last_sequence}.")
        return last_sequence

    async def _remembered(self) -> _Place | None:
        async with self._db.transaction() as tx:
            row = (
                await tx.execute(
                    f"select epoch, stream_created, last_sequence from {self._schema}.relay_state"
                    " where stream = %(stream)s",
                    {"stream": self._stream},
                )
            ).one_or_none()
        return None if row is None else _Place(row.epoch, row.stream_created, row.last_sequence)

    async def _remember(self, tx: Tx, place: _Place, sent: Sequence[int] = ()) -> None:
        """Keeps how far the stream has come, and takes what was sent out of the queue."""
        await tx.execute(
            f"""
            with taken as (
              delete from {self._schema}.outbox_queue where position = any (%(sent)b::bigint[])
            )
            insert into {self._schema}.relay_state (stream, epoch, stream_created, last_sequence)
            values (%(stream)s, %(epoch)s, %(created)s, %(sequence)s)
            on conflict (stream) do update set epoch = excluded.epoch, stream_created = excluded.stream_created,
              last_sequence = excluded.last_sequence
            """,
            {
                "sent": list(sent),
                "stream": self._stream,
                "epoch": place.epoch,
                "created": place.stream_created,
                "sequence": place.last_sequence,
            },
        )


class _StreamMoved(NatsError):
    """The stream does not stand where it stood."""
