"""Consumers: what is in a stream is read, whether or not anybody said so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client as Nats
from nats.js.api import StreamConfig

from chassis import consumer as consumer_module
from chassis import streams
from chassis.clock import SystemClock
from chassis.consumer import ATTEMPTS_MAX, Consumer
from chassis.db import Database, Tx
from chassis.errors import Aborted, PermissionDenied, ProsaError, Unauthenticated
from chassis.installation import mark, read_installation_id
from chassis.leases import Leases
from chassis.outbox import arrival_subject, stream_name, subject
from chassis.streams import StreamMessage
from chassis.subscriptions import ConsumedEvent, Subscriptions
from chassis.telemetry import Metrics
from embedded.servers import EmbeddedServers
from prosa.crm.v1.events_pb2 import BoardCreated, DealCreated
from prosa.identity.v1.contact_service_pb2 import Contact
from prosa.identity.v1.events_pb2 import ContactCreated, ContactUpdated
from tests.conftest import clear_streams
from tests.integration.chassis.installations import LOOK_SECONDS, running
from tests.world import role_url

SCHEMA = "crm"
BUSY, QUIET = "conversation", "identity"
FACT, OTHER_FACT = "prosa.identity.v1.ContactCreated", "prosa.identity.v1.ContactUpdated"
NO_MESSAGE = b"\xff"
"""Bytes that are no protobuf message."""
ARRIVAL_SECONDS = 0.02
READ_SECONDS_MAX = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def client(servers: EmbeddedServers, database_url: str) -> AsyncIterator[Nats]:
    """A connection to NATS, which holds the two streams of this test and no other."""
    await clear_streams(servers.nats_url)
    db = Database.connect(role_url(database_url, SCHEMA))
    installation_id = await read_installation_id(db, SCHEMA)
    await db.close()
    connected = await nats.connect(servers.nats_url)
    for service in (BUSY, QUIET):
        await connected.jetstream().add_stream(
            StreamConfig(
                name=stream_name(service),
                subjects=[f"prosa.events.{service}.>"],
                allow_direct=True,
                metadata=mark(1, installation_id),
            )
        )
    yield connected
    await connected.close()
    await clear_streams(servers.nats_url)


async def publish(client: Nats, organization_id: UUID, fact: str = FACT, payload: bytes = b"") -> UUID:
    """Puts a fact into the quiet stream without a word to its readers; answers its id."""
    event_id = uuid4()
    headers = {
        streams.MESSAGE_ID_HEADER: f"1.{event_id}",
        streams.EPOCH_HEADER: "1",
        streams.POSITION_HEADER: "1",
        streams.TYPE_HEADER: fact,
        streams.ORGANIZATION_HEADER: str(organization_id),
        streams.TIME_HEADER: SystemClock().now().isoformat(),
    }
    await client.jetstream().publish(subject(fact), payload, headers=headers)
    return event_id


async def test_a_fact_whose_arrival_nobody_heard_is_read_however_busy_another_stream_is(
    client: Nats, database_url: str, organization_id: UUID
) -> None:
    db = Database.connect(role_url(database_url, SCHEMA))
    read: asyncio.Queue[UUID] = asyncio.Queue()

    async def handle(_tx: Tx, events: Sequence[StreamMessage]) -> None:
        for event in events:
            read.put_nowait(event.event_id)

    async def keep_busy() -> None:
        while True:
            await client.publish(arrival_subject(BUSY), b"")
            await asyncio.sleep(ARRIVAL_SECONDS)

    consumer = Consumer(
        f"test.{uuid4()}",
        SCHEMA,
        db=db,
        leases=Leases(db, SCHEMA, uuid4()),
        nats=client,
        clock=SystemClock(),
        metrics=Metrics(),
    )
    consumer.on_all([BUSY, QUIET], handle)
    tasks = [asyncio.create_task(keep_busy()), asyncio.create_task(consumer.run())]
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            # The first is found when the consumer begins; the second can only be found by looking again.
            for _ in range(2):
                event_id = await publish(client, organization_id)
                assert await read.get() == event_id
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await db.close()


async def test_a_fact_whose_handler_is_always_in_somebodys_way_is_set_aside(
    client: Nats, database_url: str, organization_id: UUID
) -> None:
    db = Database.connect(role_url(database_url, SCHEMA))
    tried, done = 0, asyncio.Event()

    async def handle(tx: Tx, events: Sequence[StreamMessage]) -> None:
        nonlocal tried
        if any(event.event_id == refused for event in events):
            tried += 1
            raise Aborted("WRITE_CONFLICT", "Always.")
        if [event.event_id for event in events] == [welcome]:
            tx.after_commit(done.set)

    refused, welcome = [await publish(client, organization_id) for _ in range(2)]
    consumer = Consumer(
        f"test.{uuid4()}",
        SCHEMA,
        db=db,
        leases=Leases(db, SCHEMA, uuid4()),
        nats=client,
        clock=SystemClock(),
        metrics=Metrics(),
        retry_seconds=0.0,
    )
    consumer.on_all([QUIET], handle)
    try:
        async with running(consumer.run), asyncio.timeout(READ_SECONDS_MAX):
            await done.wait()
        async with db.transaction(organization_id) as tx:
            kept = await tx.execute(
                f"select event_id, failure from {SCHEMA}.consumed_events where consumer = %(name)s",
                {"name": consumer._name},
            )
            failures = dict(kept.all())
    finally:
        await db.close()
    assert failures[welcome] is None
    assert "Always." in failures[refused]
    # As one of two, alone, and once more alone for each attempt that is left.
    assert tried == 3 * ATTEMPTS_MAX - 1


@pytest.mark.parametrize("refusal", [Unauthenticated("TOKEN_INVALID", "No."), PermissionDenied("NOT_ALLOWED", "No.")])
async def test_a_fact_whose_handler_is_refused_by_another_service_is_read_again_until_it_is_not(
    client: Nats, database_url: str, organization_id: UUID, refusal: ProsaError
) -> None:
    db = Database.connect(role_url(database_url, SCHEMA))
    tried, done = 0, asyncio.Event()

    async def handle(tx: Tx, events: Sequence[StreamMessage]) -> None:
        nonlocal tried
        tried += 1
        if tried <= ATTEMPTS_MAX + 1:
            raise refusal
        tx.after_commit(done.set)

    event_id = await publish(client, organization_id)
    consumer = Consumer(
        f"test.{uuid4()}",
        SCHEMA,
        db=db,
        leases=Leases(db, SCHEMA, uuid4()),
        nats=client,
        clock=SystemClock(),
        metrics=Metrics(),
        retry_seconds=0.0,
        poll_seconds=LOOK_SECONDS,
    )
    consumer.on_all([QUIET], handle)
    try:
        async with running(consumer.run), asyncio.timeout(READ_SECONDS_MAX):
            await done.wait()
        async with db.transaction(organization_id) as tx:
            kept = await tx.execute(
                f"select event_id, failure from {SCHEMA}.consumed_events where consumer = %(name)s",
                {"name": consumer._name},
            )
            assert dict(kept.all()) == {event_id: None}
    finally:
        await db.close()


async def test_who_wants_one_type_is_sent_no_other(
    client: Nats, database_url: str, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database.connect(role_url(database_url, SCHEMA))
    sent: list[str] = []
    wanted = asyncio.Event()

    async def read(*arguments: Any, **options: Any) -> list[streams.StreamMessage]:
        messages = await streams.read_batch(*arguments, **options)
        sent.extend(message.type for message in messages)
        return messages

    async def handle_created(_tx: Tx, events: Sequence[ConsumedEvent[ContactCreated]]) -> None:
        if events[-1].event_id == last:
            wanted.set()

    monkeypatch.setattr(consumer_module, "read_batch", read)
    await publish(client, organization_id, OTHER_FACT)
    await publish(client, organization_id)
    await publish(client, organization_id, OTHER_FACT)
    last = await publish(client, organization_id)
    consumer = Consumer(
        f"test.{uuid4()}",
        SCHEMA,
        db=db,
        leases=Leases(db, SCHEMA, uuid4()),
        nats=client,
        clock=SystemClock(),
        metrics=Metrics(),
    )
    consumer.on(ContactCreated, handle_created)
    task = asyncio.create_task(consumer.run())
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            await wanted.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await db.close()
    assert sent == [FACT, FACT]


async def test_handlers_are_registered_by_class_and_get_decoded_events_in_the_order_of_the_stream(
    client: Nats, database_url: str, organization_id: UUID
) -> None:
    db = Database.connect(role_url(database_url, SCHEMA))
    handled = list[str]()
    last, done = uuid4(), asyncio.Event()

    async def on_created(tx: Tx, events: Sequence[ConsumedEvent[ContactCreated]]) -> None:
        await tx.execute("select 1")
        tx.after_commit(partial(handled.extend, [f"created {event.message.contact.name}" for event in events]))

    async def on_updated(tx: Tx, events: Sequence[ConsumedEvent[ContactUpdated]]) -> None:
        updated = [f"updated {event.message.contact.name} {event.message.version}" for event in events]
        tx.after_commit(partial(handled.extend, updated))
        if any(event.event_id == last for event in events):
            tx.after_commit(done.set)

    ana, rui = Contact(name="Ana"), Contact(name="Rui")
    await publish(client, organization_id, FACT, ContactCreated(contact=ana).SerializeToString())
    await publish(client, organization_id, OTHER_FACT, ContactUpdated(contact=ana, version=2).SerializeToString())
    await publish(client, organization_id, FACT, ContactCreated(contact=Contact(name="Eva")).SerializeToString())
    await publish(client, organization_id, "prosa.identity.v1.OrganizationCreated")
    refused = await publish(client, organization_id, FACT, NO_MESSAGE)
    await publish(client, organization_id, FACT, ContactCreated(contact=rui).SerializeToString())
    last = await publish(client, organization_id, OTHER_FACT, ContactUpdated(contact=rui).SerializeToString())
    consumer = Consumer(
        f"test.{uuid4()}",
        SCHEMA,
        db=db,
        leases=Leases(db, SCHEMA, uuid4()),
        nats=client,
        clock=SystemClock(),
        metrics=Metrics(),
        retry_seconds=0.0,
    )
    consumer.on(ContactCreated, on_created)
    consumer.on(ContactUpdated, on_updated)
    try:
        async with running(consumer.run), asyncio.timeout(READ_SECONDS_MAX):
            await done.wait()
            async with db.transaction(organization_id) as tx:
                kept = await tx.execute(
                    f"select event_id from {SCHEMA}.consumed_events where consumer = %(name)s and failure is not null",
                    {"name": consumer._name},
                )
                assert [event_id for (event_id,) in kept] == [refused]
    finally:
        await db.close()
    assert handled == ["created Ana", "updated Ana 2", "created Eva", "created Rui", "updated Rui 0"]


def test_what_is_no_event_or_has_a_handler_already_is_refused_when_it_is_registered() -> None:
    async def handle(_tx: Tx, _events: Sequence[object]) -> None:
        """Is never called."""

    subscriptions = Subscriptions()
    subscriptions.on(ContactCreated, handle)
    for event in (ContactCreated, Contact):
        with pytest.raises(ValueError, match=event.DESCRIPTOR.full_name):
            subscriptions.on(event, handle)
    with pytest.raises(ValueError, match="has handlers already"):
        subscriptions.on_all(["crm"], handle)
    subscriptions.on(DealCreated, handle)
    subscriptions.on(BoardCreated, handle)
    assert subscriptions.subjects == {"identity": "prosa.events.identity.v1.ContactCreated", "crm": streams.ALL_FACTS}


async def test_a_consumer_that_handles_nothing_does_not_run(client: Nats, database_url: str) -> None:
    db = Database.connect(role_url(database_url, SCHEMA))
    leases = Leases(db, SCHEMA, uuid4())
    consumer = Consumer("idle", SCHEMA, db=db, leases=leases, nats=client, clock=SystemClock(), metrics=Metrics())
    with pytest.raises(ValueError, match="idle handles nothing"):
        await consumer.run()
    await db.close()
