"""Contact events of an account that several organizations name: only what a server answered counts, never a claim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from sandbox.chatwoot.app import make_app, set_up_account
from sandbox.chatwoot.faults import Faults
from sandbox.chatwoot.sender import Sender
from sandbox.chatwoot.world import World as ChatwootWorld
from tests.harness import SECRET, Harness, changed, open_harness, sample
from tests.unit.sandbox.clock import TickingClock
from tests.world import World

ACCOUNT_ID = 7
TOKEN = "token-da-administradora"
AGENT_TOKEN = "token-da-atendente"
OTHER_SECRET = "whsec-of-somebody-else-9876543210"


UPLOADED = "/rails/active_storage/blobs/proxy/evil"


@asynccontextmanager
async def chatwoot() -> AsyncIterator[str]:
    """A Chatwoot's address; it has the account, an administrator and an agent."""
    clock, faults = TickingClock(), Faults()
    kept = ChatwootWorld(clock, seed=4, account_id=ACCOUNT_ID)
    set_up_account(kept, access_token=TOKEN)
    kept.setup.add_agent("Noemi Prates", "noemi@example.com", access_token=AGENT_TOKEN)
    sender = Sender(kept.setup, faults, now=clock, in_flight_max=1)
    app = make_app(kept, sender, faults)
    # What somebody has uploaded there, who may make it say anything.
    nobodys = Sender(kept.setup, faults, now=clock, in_flight_max=1)
    app.add_subapp(UPLOADED, make_app(kept, nobodys, faults))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Chatwoots:
    """Two servers, each with an account of the same number."""

    one: str
    another: str


@pytest_asyncio.fixture(loop_scope="session")
async def chatwoots() -> AsyncIterator[Chatwoots]:
    """Two servers of the test's own: what is proved on them is nothing to the other tests."""
    async with chatwoot() as one, chatwoot() as another:
        yield Chatwoots(one, another)


async def check(harness: Harness) -> None:
    """Asks the connection's server about it."""
    stub = harness.world.as_service("cli", harness.organization_id).stub(ConnectionServiceStub)
    await stub.CheckConnection(connection_pb.CheckConnectionRequest(connection_id=harness.connection.connection_id))


async def fate(harness: Harness, contact_id: int) -> tuple[str, str]:
    """What becomes of a contact nobody has heard of, on the organization's own address."""
    body = changed(sample("contact_created.whatsapp_cloud"), id=contact_id, phone_number=f"+55119888{contact_id:05}")
    event = await harness.deliver(body)
    return event["state"], event["reason"]


@pytest.mark.case("S1", "F32")
@pytest.mark.parametrize("where", ["unnamed", "same", "another"])
@pytest.mark.parametrize("secret", ["", OTHER_SECRET])
async def test_a_claim_changes_nothing_of_another_organization_s_contacts(
    world: World, session: aiohttp.ClientSession, chatwoots: Chatwoots, where: str, secret: str
) -> None:
    """Not even one that its own webhooks seem to prove: who makes a connection chooses its secret."""
    harness = await open_harness(world, session, account_id=ACCOUNT_ID, base_url=chatwoots.one)
    base_url = {"unnamed": "", "same": chatwoots.one, "another": chatwoots.another}[where]
    claiming = await open_harness(world, session, account_id=ACCOUNT_ID, secret=secret, base_url=base_url)
    await check(claiming)
    event = await claiming.deliver(sample("message_created.whatsapp_cloud.incoming"), secret=secret or None)
    assert event["state"] == "PROCESSED"
    assert await fate(harness, 501) == ("PROCESSED", "")
    assert await harness.count("identity.contacts") == 1


@pytest.mark.case("F32")
async def test_an_account_proved_on_another_server_is_another_account(
    world: World, session: aiohttp.ClientSession, chatwoots: Chatwoots
) -> None:
    harness = await open_harness(world, session, account_id=ACCOUNT_ID, base_url=chatwoots.one)
    elsewhere = await open_harness(
        world, session, account_id=ACCOUNT_ID, base_url=chatwoots.another, access_token=TOKEN
    )
    await check(elsewhere)
    assert await fate(harness, 502) == ("PROCESSED", "")


@pytest.mark.case("S1")
async def test_what_answers_below_a_path_of_the_server_proves_no_account_of_it(
    world: World, session: aiohttp.ClientSession, chatwoots: Chatwoots
) -> None:
    harness = await open_harness(world, session, account_id=ACCOUNT_ID, base_url=chatwoots.one)
    other = await open_harness(
        world, session, account_id=ACCOUNT_ID, base_url=chatwoots.one + UPLOADED, access_token=TOKEN
    )
    await check(other)
    (row,) = await world.rows(
        "select proved_server from ingest.connections where organization_id = %s", other.organization_id
    )
    assert row["proved_server"].endswith(UPLOADED)
    assert await fate(harness, 506) == ("PROCESSED", "")


@pytest.mark.case("S1")
async def test_an_agent_s_token_proves_no_account(
    world: World, session: aiohttp.ClientSession, chatwoots: Chatwoots
) -> None:
    harness = await open_harness(world, session, account_id=ACCOUNT_ID, base_url=chatwoots.another)
    other = await open_harness(
        world, session, account_id=ACCOUNT_ID, base_url=chatwoots.another, access_token=AGENT_TOKEN
    )
    await check(other)
    assert await fate(harness, 503) == ("PROCESSED", "")


@pytest.mark.case("F32")
async def test_an_account_that_two_have_proved_on_one_server_is_shared_until_one_leaves_it(
    world: World, session: aiohttp.ClientSession, chatwoots: Chatwoots
) -> None:
    harness = await open_harness(world, session, account_id=ACCOUNT_ID, base_url=chatwoots.another)
    other = await open_harness(
        world, session, account_id=ACCOUNT_ID, base_url=f"{chatwoots.another}/", access_token=TOKEN, secret=SECRET
    )
    assert await fate(harness, 504) == ("PROCESSED", "")
    await check(other)
    # Nobody can say which of the two the contact is, until it writes.
    assert await fate(harness, 505) == ("IGNORED", "CONTACT_UNKNOWN")
    stub = world.as_service("cli", other.organization_id).stub(ConnectionServiceStub)
    await stub.UpdateConnection(
        connection_pb.UpdateConnectionRequest(
            connection_id=other.connection.connection_id, base_url=chatwoots.one, access_token=TOKEN
        )
    )
    assert await fate(harness, 506) == ("PROCESSED", "")
