"""The relay: a stream holds the outbox' facts in their order, without a gap, under an epoch that never comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client as Nats

from chassis import turns
from chassis.clock import SystemClock
from chassis.ids import Uuid7Ids
from chassis.installation import StreamMark
from chassis.outbox import Fact, Outbox
from embedded.servers import EmbeddedServers
from prosa.crm.v1.crm_service_pb2 import Deal
from prosa.crm.v1.events_pb2 import DealCreated
from tests.conftest import TEMPLATE, clear_streams, create_database
from tests.integration.chassis.installations import (
    PUBLISHER,
    STREAM,
    WAIT_SECONDS,
    Installation,
    Reading,
    messages,
    open_installation,
    stream,
    until,
)
from tests.isolation.filling import named_url
from tests.world import unheard

SMALL_BYTES, LARGE_BYTES = 10, 8_000
STREAM_MESSAGE_BYTES = 4_000
"""What the stream takes for a time: the small facts with their headers, and not the large one."""


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
    """An installation with a database of its own."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, TEMPLATE)
    async with open_installation(named_url(servers.database_url, name), client) as installation:
        yield installation


async def announce_sizes(ours: Installation, *sizes: int) -> list[UUID]:
    """Leaves facts of these sizes in the outbox, in one transaction; answers their ids."""
    clock, organization_id = SystemClock(), uuid4()
    facts = [
        Fact(organization_id, DealCreated(organization_id=str(organization_id), deal=Deal(title="x" * size)))
        for size in sizes
    ]
    async with ours.publisher.transaction(organization_id) as tx:
        await Outbox(PUBLISHER, Uuid7Ids(clock), unheard).add(tx, facts, clock.now())
    found = await ours.rows(f"select event_id from {PUBLISHER}.outbox order by position desc limit {len(sizes)}")
    ids = [event_id for (event_id,) in reversed(found)]
    assert all(isinstance(event_id, UUID) for event_id in ids)
    return ids  # type: ignore[return-value]


async def until_all_are_out(ours: Installation) -> None:
    """Waits until nothing waits for the relay."""

    async def empty() -> bool:
        return await ours.waiting() == 0

    await until(empty)


class Interruptions:
    """A logger that knows when the relay was interrupted."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    def warning(self, event: str, **_: object) -> None:
        if event == "stream_work_interrupted":
            self.came.set()

    def info(self, _event: str, **_: object) -> None:
        """Of no interest."""


async def test_a_fact_that_the_stream_refuses_is_overtaken_by_none_that_came_after_it(
    ours: Installation, client: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fact says which sequence the stream must have reached: a batch that was cut short leaves no gap."""
    interruptions = Interruptions()
    async with ours.relaying():
        first = await announce_sizes(ours, SMALL_BYTES)
        await until_all_are_out(ours)
        config = (await stream(client)).config
        config.max_msg_size = STREAM_MESSAGE_BYTES
        await client.jetstream().update_stream(config)
        monkeypatch.setattr(turns, "logger", interruptions)
        rest = await announce_sizes(ours, SMALL_BYTES, LARGE_BYTES, SMALL_BYTES)
        async with asyncio.timeout(WAIT_SECONDS):
            await interruptions.came.wait()
        config.max_msg_size = -1
        await client.jetstream().update_stream(config)
        await until_all_are_out(ours)
    assert [message.event_id for message in await messages(client)] == [*first, *rest]


async def test_a_stream_that_lost_its_end_is_made_anew_with_all_that_is_kept(ours: Installation, client: Nats) -> None:
    """NATS acknowledges before it syncs: after a power cut it may stand before where it stood."""
    async with ours.relaying():
        facts = await announce_sizes(ours, SMALL_BYTES, SMALL_BYTES)
        await until_all_are_out(ours)
    await ours.rows(f"update {PUBLISHER}.relay_state set last_sequence = last_sequence + 1")
    facts += await announce_sizes(ours, SMALL_BYTES)
    async with ours.relaying():
        await until_all_are_out(ours)
    assert StreamMark.of(await stream(client)).epoch == 2
    assert [message.event_id for message in await messages(client)] == facts


async def test_an_epoch_never_comes_twice_though_the_database_was_put_back_from_before_it(
    ours: Installation, client: Nats
) -> None:
    """The stream's own epoch counts: who has read under it would else pass over the facts that take their places."""
    reading = Reading()
    async with ours.consuming(reading):
        async with ours.relaying():
            read = await announce_sizes(ours, SMALL_BYTES)
            await until_all_are_out(ours)
            await reading.until(read)
            remembered = await ours.rows(f"select epoch, stream_created from {PUBLISHER}.relay_state")
            # Lost, and made anew under the next epoch.
            await client.jetstream().delete_stream(STREAM)
            await until(lambda: _stands_at(client, 2))
            read += await announce_sizes(ours, SMALL_BYTES, SMALL_BYTES)
            await until_all_are_out(ours)
            await reading.until(read)
        # Put back from a copy that was made before that: it knows neither the epoch nor what came under it.
        ((epoch, created),) = remembered
        await ours.rows(
            f"update {PUBLISHER}.relay_state set epoch = {epoch}, stream_created = '{created}', last_sequence = 1"
        )
        await ours.rows(f"delete from {PUBLISHER}.outbox")
        after = await announce_sizes(ours, SMALL_BYTES)
        async with ours.relaying():
            await until_all_are_out(ours)
            assert StreamMark.of(await stream(client)).epoch == 3
            await reading.until([*read, *after])


async def _stands_at(client: Nats, epoch: int) -> bool:
    try:
        return StreamMark.of(await stream(client)).epoch == epoch
    except nats.js.errors.NotFoundError:
        return False
