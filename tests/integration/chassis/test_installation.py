"""Two installations on one NATS account: neither reads, deletes or writes what is the other's, and both say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import nats
import psycopg
import pytest
import pytest_asyncio
import structlog
from nats.aio.client import Client as Nats

from chassis import consumer, relay, streams, turns
from chassis.clock import SystemClock
from chassis.outbox import subject
from embedded.servers import EmbeddedServers
from tests.conftest import TEMPLATE, clear_streams, create_database
from tests.integration.chassis.installations import (
    PUBLISHER,
    READER,
    STREAM,
    WAIT_SECONDS,
    Installation,
    Reading,
    messages,
    open_installation,
    run_statement,
    stream,
    unmark,
    until,
    until_admitted,
    until_refused,
)
from tests.isolation.filling import named_url
from tests.world import role_url, settings_for, start_world

FACT = "prosa.crm.v1.DealCreated"
FACT_SUBJECT = subject(FACT)


class Recorder:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, object]]] = []

    def debug(self, event: str, **fields: object) -> None:
        self.told.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        self.told.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.told.append(("warning", event, fields))

    def named(self, event: str) -> list[dict[str, object]]:
        """The fields of every line of this name."""
        return [fields for _, told, fields in self.told if told == event]


@pytest_asyncio.fixture(loop_scope="session")
async def client(servers: EmbeddedServers) -> AsyncIterator[Nats]:
    """A connection to NATS, where there is no stream yet."""
    await clear_streams(servers.nats_url)
    connected = await nats.connect(servers.nats_url)
    yield connected
    await connected.close()
    await clear_streams(servers.nats_url)


@pytest_asyncio.fixture(loop_scope="session")
async def ours(servers: EmbeddedServers, template_url: str, client: Nats) -> AsyncIterator[Installation]:
    """One installation."""
    async with open_installation(await _new_database(servers), client) as installation:
        yield installation


@pytest_asyncio.fixture(loop_scope="session")
async def theirs(servers: EmbeddedServers, template_url: str, client: Nats) -> AsyncIterator[Installation]:
    """The other one."""
    async with open_installation(await _new_database(servers), client) as installation:
        yield installation


async def _new_database(servers: EmbeddedServers) -> str:
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, TEMPLATE)
    return named_url(servers.database_url, name)


async def published(installation: Installation, count: int = 1, organization_id: UUID | None = None) -> list[UUID]:
    """Lets the relay publish some more facts; answers the ids of all that are in the stream then."""
    await installation.announce(organization_id or uuid4(), count)
    async with installation.relaying():
        await until(lambda: _has_published(installation))
    return [message.event_id for message in await messages(installation.nats)]


async def _has_published(installation: Installation) -> bool:
    return await installation.waiting() == 0


async def test_a_copied_database_is_an_installation_of_its_own_once_the_documented_statement_was_run(
    ours: Installation, theirs: Installation, template_url: str
) -> None:
    ((copied,),) = await run_statement(template_url, "select installation_id from chassis.installation")
    assert len({copied, ours.installation_id, theirs.installation_id}) == 3


async def test_a_service_may_ask_for_the_id_and_neither_change_it_nor_enter_where_it_is(ours: Installation) -> None:
    for service in (PUBLISHER, READER):
        url = role_url(ours.url, service)
        assert await run_statement(url, f"select {service}.installation_id()") == [(ours.installation_id,)]
        for statement in ("select * from chassis.installation", "delete from chassis.installation"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await run_statement(url, statement)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await ours.rows(f"insert into chassis.installation (installation_id) values ('{uuid4()}')")


async def test_a_relay_lets_another_installation_s_stream_alone_until_it_is_gone(
    ours: Installation, theirs: Installation, client: Nats
) -> None:
    facts = await published(theirs, 2)
    before = await stream(client)
    await ours.announce(uuid4(), 3)
    with structlog.testing.capture_logs() as lines:
        async with ours.relaying() as refusing:
            sentence = await until_refused(refusing.refusals)
            after = await stream(client)
            assert (after.created, after.state.last_seq, after.config.metadata) == (
                before.created,
                2,
                before.config.metadata,
            )
            assert await ours.waiting() == 3
            await client.jetstream().delete_stream(STREAM)
            await until(lambda: _has_published(ours))
            await until_admitted(refusing.refusals)
    for word in (STREAM, str(theirs.installation_id), str(ours.installation_id), "NATS account of its own"):
        assert word in sentence
    (line,) = [line for line in lines if line["event"] == "stream_refused"]
    assert (line["stream"], line["by"], line["installation_id"], line["log_level"]) == (
        STREAM,
        "crm.relay",
        str(theirs.installation_id),
        "error",
    )
    own = await messages(client)
    assert {message.installation_id for message in own} == {str(ours.installation_id)}
    assert len(own) == 3
    assert not {message.event_id for message in own} & set(facts)


async def test_a_consumer_reads_nothing_of_another_installation_s_stream_and_goes_on_when_its_own_is_back(
    ours: Installation, theirs: Installation, client: Nats
) -> None:
    await published(theirs)
    reading = Reading()
    async with ours.consuming(reading) as refusing:
        sentence = await until_refused(refusing.refusals)
        assert str(theirs.installation_id) in sentence
        assert await ours.rows(f"select * from {READER}.consumer_cursors") == []
        assert reading.event_ids == []
        await client.jetstream().delete_stream(STREAM)
        facts = await published(ours)
        await reading.until(facts)
        await until_admitted(refusing.refusals)


async def test_a_fact_of_another_installation_is_not_read_though_the_stream_has_our_mark(
    ours: Installation, theirs: Installation, client: Nats
) -> None:
    """A stream may be exchanged between two looks at it, so each fact says too whose it is."""
    facts = await published(ours)
    headers = {
        streams.MESSAGE_ID_HEADER: f"1.{uuid4()}",
        streams.EPOCH_HEADER: "1",
        streams.POSITION_HEADER: "1",
        streams.TYPE_HEADER: FACT,
        streams.ORGANIZATION_HEADER: str(uuid4()),
        streams.TIME_HEADER: SystemClock().now().isoformat(),
        streams.INSTALLATION_HEADER: str(theirs.installation_id),
    }
    reading = Reading()
    with structlog.testing.capture_logs() as lines:

        async def refused() -> bool:
            return any(line["event"] == "stream_refused" for line in lines)

        async with ours.consuming(reading):
            await reading.until(facts)
            await client.jetstream().publish(FACT_SUBJECT, b"", headers=headers)
            await until(refused)
    assert reading.event_ids == facts


async def test_a_stream_of_the_version_before_is_adopted_with_all_its_facts(ours: Installation, client: Nats) -> None:
    facts = await published(ours, 2)
    await unmark(client)
    before = await stream(client)
    reading = Reading()
    async with ours.consuming(reading):
        everything = await published(ours)
        await reading.until(everything)
    after = await stream(client)
    assert after.created == before.created
    assert (after.config.metadata or {})["prosa.installation"] == str(ours.installation_id)
    assert (after.config.metadata or {})["prosa.epoch"] == (before.config.metadata or {})["prosa.epoch"]
    assert everything[:2] == facts
    assert len(everything) == len(set(everything)) == 3


async def test_a_stream_without_a_mark_that_was_read_before_is_read_on(ours: Installation, client: Nats) -> None:
    """While processes are exchanged one by one, the relay may still be of the version before."""
    reading = Reading()
    first = await published(ours)
    async with ours.consuming(reading):
        await reading.until(first)
    both = await published(ours)
    await unmark(client)
    async with ours.consuming(reading):
        await reading.until(both)


async def test_a_stream_without_a_mark_that_nobody_remembers_is_let_alone(
    ours: Installation, theirs: Installation, client: Nats
) -> None:
    await published(theirs)
    await unmark(client)
    before = await stream(client)
    await ours.announce(uuid4())
    async with ours.relaying() as refusing:
        assert "does not say of which installation" in await until_refused(refusing.refusals)
        after = await stream(client)
    assert (after.created, after.state.last_seq) == (before.created, 1)
    assert await ours.waiting() == 1


async def test_a_stream_without_a_mark_that_was_never_read_is_not_read(
    ours: Installation, theirs: Installation, client: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    await published(theirs)
    await unmark(client)
    log, reading = Recorder(), Reading()
    monkeypatch.setattr(consumer, "logger", log)

    async def looked_twice() -> bool:
        return len(log.named("stream_unmarked")) + len(log.named("consumer_rewound")) >= 2

    async with ours.consuming(reading) as waiting:
        await until(looked_twice)
        await waiting.refusals.check()
    assert log.named("consumer_rewound") == []
    assert await ours.rows(f"select * from {READER}.consumer_cursors") == []
    assert reading.event_ids == []


async def test_before_the_migration_streams_are_used_as_the_version_before_did(
    ours: Installation, client: Nats
) -> None:
    for service in (PUBLISHER, READER):
        await ours.rows(f"drop function {service}.installation_id()")
    facts = await published(ours, 2)
    assert set((await stream(client)).config.metadata or {}) & {"prosa.epoch", "prosa.installation"} == {"prosa.epoch"}
    reading = Reading()
    async with ours.consuming(reading):
        await reading.until(facts)


async def test_a_schema_that_was_taken_back_does_not_touch_streams_that_are_marked(
    ours: Installation, client: Nats
) -> None:
    await published(ours)
    before = await stream(client)
    await ours.rows(f"drop function {PUBLISHER}.installation_id()")
    async with ours.relaying() as refusing:
        assert "run `prosa migrate`" in await until_refused(refusing.refusals)
    assert (await stream(client)).created == before.created


async def test_a_deleted_stream_is_published_again_and_the_log_says_how_much(
    ours: Installation, client: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = await published(ours, 3)
    await client.jetstream().delete_stream(STREAM)
    log = Recorder()
    monkeypatch.setattr(relay, "logger", log)
    async with ours.relaying():
        await until(lambda: _holds(client, 3))
    assert [message.event_id for message in await messages(client)] == facts
    assert [fields["published_again"] for fields in log.named("stream_lost_facts")] == [3]
    assert ours.metrics.stream_losses.labels(PUBLISHER)._value.get() == 1


async def test_a_stream_that_is_gone_with_nothing_in_it_is_no_loss(
    ours: Installation, client: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ours.relaying():
        await until(lambda: _holds(client, 0))
    await client.jetstream().delete_stream(STREAM)
    log = Recorder()
    monkeypatch.setattr(relay, "logger", log)
    async with ours.relaying():
        await until(lambda: _holds(client, 0))
        await ours.announce(uuid4())
        await until(lambda: _holds(client, 1))
    assert log.named("stream_lost_facts") == []
    assert len(log.named("stream_made")) == 1
    assert ours.metrics.stream_losses.labels(PUBLISHER)._value.get() == 0


async def test_a_fact_whose_position_was_given_out_twice_is_published(ours: Installation, client: Nats) -> None:
    """A database that was put back gives out positions again that stand in the stream already."""
    organization_id = uuid4()
    (sent,) = await published(ours, organization_id=organization_id)
    await ours.rows("update crm.relay_state set last_sequence = 0")
    await ours.rows("delete from crm.outbox")
    await ours.rows("alter table crm.outbox alter column position restart with 1")
    facts = await published(ours, organization_id=organization_id)
    assert await ours.rows("select position from crm.outbox") == [(1,)]
    assert facts[0] == sent
    assert len(facts) == 2


async def _holds(client: Nats, count: int) -> bool:
    try:
        return (await stream(client)).state.messages == count
    except nats.js.errors.NotFoundError:
        return False


async def test_a_process_beside_another_installation_lives_and_says_why_it_is_not_ready(
    ours: Installation, theirs: Installation, servers: EmbeddedServers, client: Nats, keys_dir: Path
) -> None:
    facts = await published(theirs)
    settings = settings_for(ours.url, servers.nats_url, servers.redis_url, keys_dir)
    world = await start_world(settings, ours.url, (PUBLISHER,))
    try:

        async def refused() -> bool:
            _, report = await world.host.readiness.look()
            return report["streams.crm.relay"] != "ok"

        await until(refused)
        ready, report = await world.host.readiness.look()
        assert not ready
        assert "NATS account of its own" in report["streams.crm.relay"]
        assert report["nats"] == report["postgres.crm"] == "ok"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await world.host.failed()
    finally:
        await world.close()
        await world.host.stop()
    assert [message.event_id for message in await messages(client)] == facts


async def test_what_a_frozen_relay_adds_to_a_stream_made_anew_is_passed_over_and_comes_again_in_its_turn(
    ours: Installation, client: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes in the moment when the new stream has come as far as the one it knew."""
    log, reading = Recorder(), Reading()
    monkeypatch.setattr(consumer, "logger", log)
    first = await published(ours)
    await client.jetstream().delete_stream(STREAM)
    async with ours.relaying():
        await until(lambda: _holds(client, 1))
    await ours.announce(uuid4())
    ((position, event_id, organization_id, event_time),) = await ours.rows(
        "select position, event_id, organization_id, event_time from crm.outbox order by position desc limit 1"
    )
    assert isinstance(event_time, datetime)
    assert isinstance(event_id, UUID)
    headers = {
        streams.MESSAGE_ID_HEADER: f"1.{event_id}",
        streams.EXPECTED_SEQUENCE_HEADER: "1",
        streams.EPOCH_HEADER: "1",
        streams.POSITION_HEADER: str(position),
        streams.TYPE_HEADER: FACT,
        streams.ORGANIZATION_HEADER: str(organization_id),
        streams.TIME_HEADER: event_time.isoformat(),
        streams.INSTALLATION_HEADER: str(ours.installation_id),
    }
    await client.jetstream().publish(FACT_SUBJECT, b"", headers=headers)
    async with ours.consuming(reading), ours.relaying():
        await until(lambda: _holds(client, 3))
        await reading.until([*first, event_id])
    assert [message.epoch for message in await messages(client)] == [2, 1, 2]
    assert len(log.named("consumer_rewound")) == 1


async def test_facts_that_wait_while_nats_is_away_are_told_though_the_outage_began_idle(
    ours: Installation, servers: EmbeddedServers, client: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, away = Recorder(), await nats.connect(servers.nats_url)
    monkeypatch.setattr(turns, "logger", log)

    async def interrupted() -> bool:
        return bool(log.named("stream_work_interrupted"))

    async def told() -> bool:
        return bool(ours.metrics.outbox_lag.labels(PUBLISHER)._value.get() == 3)

    async with replace(ours, nats=away).relaying():
        await until(lambda: _holds(client, 0))
        await away.close()
        await until(interrupted)
        await ours.announce(uuid4(), 3)
        await until(told)


class SlowClient(streams.Client):
    """Stores a fact only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.storing, self.may_store = asyncio.Event(), asyncio.Event()

    async def publish(self, subject: str, *arguments: Any, **options: Any) -> None:
        if subject == FACT_SUBJECT:
            self.storing.set()
            await self.may_store.wait()
        await super().publish(subject, *arguments, **options)


async def test_nothing_is_held_while_nats_stores(ours: Installation, servers: EmbeddedServers, client: Nats) -> None:
    slow = SlowClient()
    await slow.connect(servers.nats_url)
    async with replace(ours, nats=slow).relaying():
        await ours.announce(uuid4())
        async with asyncio.timeout(WAIT_SECONDS):
            await slow.storing.wait()
        # What upkeep does to make or drop a partition.
        await ours.rows(f"begin; lock table {PUBLISHER}.outbox in access exclusive mode nowait; rollback")
        slow.may_store.set()
        await until(lambda: _holds(client, 1))
    await slow.close()
