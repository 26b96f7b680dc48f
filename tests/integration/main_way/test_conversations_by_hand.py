"""Conversations that people and programs link by hand: only among what is their organization's own."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from embedded.servers import EmbeddedServers
from tests.harness import Harness, open_harness
from tests.world import World, settings_for, start_world

CONVERSATIONS = "/api/v1/conversations"
KINDS = {
    "connection_id": "CONNECTION_NOT_FOUND",
    "channel_id": "CHANNEL_NOT_FOUND",
    "contact_id": "CONTACT_NOT_FOUND",
    "deal_id": "DEAL_NOT_FOUND",
}


async def own(harness: Harness, inbox: int = 0) -> dict[str, Any]:
    """What a request names, all of it the organization's own; ``inbox`` counts its channels."""
    status, contact = await harness.send("/api/v1/contacts", {"name": "Ana"})
    assert status == 200, contact
    status, board = await harness.send("/api/v1/boards", {"name": "Vendas", "key": f"vendas-{uuid4().hex[:8]}"})
    assert status == 200, board
    asked = {"title": "Curso", "contact_id": contact["contact_id"], "board": board["board_id"]}
    status, deal = await harness.send("/api/v1/deals", asked)
    assert status == 200, deal
    _, listed = await harness.get(f"/api/v1/connections/{harness.connection.connection_id}/channels")
    channel = listed["channels"][inbox]
    return {
        "connection_id": harness.connection.connection_id,
        "channel_id": channel["channel_id"],
        "source": channel["source"],
        "provider_conversation_id": "391",
        "contact_id": contact["contact_id"],
        "deal_id": deal["deal_id"],
        "request_id": str(uuid4()),
    }


@pytest_asyncio.fixture(loop_scope="session")
async def other(world: World, session: aiohttp.ClientSession) -> Harness:
    """Another organization."""
    return await open_harness(world, session)


async def test_a_conversation_among_ones_own_is_linked_once(harness: Harness) -> None:
    asked = await own(harness)
    status, made = await harness.send(CONVERSATIONS, asked)
    assert status == 200, made
    assert {field: made[field] for field in KINDS} == {field: asked[field] for field in KINDS}
    assert await harness.send(CONVERSATIONS, asked) == (200, made)
    status, refused = await harness.send(CONVERSATIONS, asked | {"provider_conversation_id": "392"})
    assert (status, refused["reason"]) == (409, "REQUEST_ID_REUSED")
    assert await harness.get(f"{CONVERSATIONS}/{made['conversation_id']}") == (200, made)


async def test_contact_and_deal_may_be_left_out(harness: Harness) -> None:
    asked = await own(harness) | {"contact_id": "", "deal_id": ""}
    status, made = await harness.send(CONVERSATIONS, asked)
    assert (status, made["deal_id"], made["contact_id"]) == (200, "", "")


@pytest.mark.case("S13")
@pytest.mark.parametrize("field", KINDS)
async def test_what_another_organization_has_is_refused_as_what_nobody_has(
    harness: Harness, other: Harness, field: str
) -> None:
    asked, theirs = await own(harness), await own(other)
    refusals = []
    for stranger in (theirs[field], str(uuid4())):
        status, problem = await harness.send(CONVERSATIONS, asked | {field: stranger, "request_id": str(uuid4())})
        assert (status, problem["reason"]) == (404, KINDS[field]), problem
        refusals.append({name: value for name, value in problem.items() if "correlation" not in name})
    assert refusals[0] == refusals[1]
    for organization in (harness, other):
        assert await organization.count("conversation.conversations") == 0
        assert await organization.count("conversation.request_answers") == 0


async def test_a_channel_is_one_of_the_connection_that_is_named(harness: Harness) -> None:
    asked = await own(harness)
    status, second = await harness.send(
        "/api/v1/connections", {"name": "Second", "account_id": 77, "provider": "CHATWOOT"}
    )
    assert status == 200, second
    status, problem = await harness.send(CONVERSATIONS, asked | {"connection_id": second["connection_id"]})
    assert (status, problem["reason"]) == (404, "CHANNEL_NOT_FOUND")
    assert await harness.count("conversation.conversations") == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"provider_conversation_id": "conversation-391"}, "PROVIDER_CONVERSATION_ID_INVALID"),
        ({"conversation_key": "Ana"}, "CONVERSATION_KEY_INVALID"),
        ({"connection_id": "Ana"}, "REQUEST_INVALID"),
        ({"deal_id": "Ana"}, "ID_INVALID"),
        ({"contact_id": "Ana"}, "ID_INVALID"),
        ({"request_id": "once"}, "REQUEST_ID_INVALID"),
    ],
)
async def test_what_is_no_value_is_refused_by_its_old_reason(
    harness: Harness, change: dict[str, str], reason: str
) -> None:
    status, problem = await harness.send(CONVERSATIONS, await own(harness) | change)
    assert (status, problem["reason"]) == (400, reason), problem
    assert await harness.count("conversation.conversations") == 0


async def test_a_deal_that_nobody_can_look_up_is_503_and_nothing_is_linked(
    harness: Harness, servers: EmbeddedServers, database_url: str
) -> None:
    asked = await own(harness)
    with socket.socket() as closed:
        # Bound and not listening: nobody else gets the port, and nobody answers there.
        closed.bind(("127.0.0.1", 0))
        settings = settings_for(
            database_url,
            servers.nats_url,
            servers.redis_url,
            harness.world.settings.keys_dir,
            crm_address=f"127.0.0.1:{closed.getsockname()[1]}",
        )
        lame = await start_world(settings, database_url, ("gateway", "identity", "ingest-accept", "conversation"))
        try:
            away = replace(harness, world=lame)
            status, problem = await away.send(CONVERSATIONS, asked)
            assert (status, problem["reason"]) == (503, "SERVICE_UNAVAILABLE"), problem
            assert await harness.count("conversation.conversations") == 0
            # Without a deal nobody has to be asked for it.
            status, made = await away.send(CONVERSATIONS, asked | {"deal_id": ""})
            assert status == 200, made
        finally:
            await lame.close()
            await lame.host.stop()
    status, filled = await harness.send(CONVERSATIONS, asked | {"request_id": str(uuid4())})
    assert (status, filled["deal_id"]) == (200, asked["deal_id"])
