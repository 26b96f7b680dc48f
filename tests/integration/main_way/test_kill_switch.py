"""The global kill switch: from the command's end on nothing leaves, whatever wants to, until it is lifted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio

from chassis.clock import SettableClock, SystemClock
from chassis.config import Settings
from embedded.servers import EmbeddedServers
from prosa.identity.v1 import audit_service_pb2 as audit_pb
from prosa.identity.v1.audit_service_pb2_grpc import AuditServiceStub
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import OUTGOING
from services.conversation.deliveries.reserving import Allowed, Decision, Reserver
from services.outreach.limits import RESERVATION_START_MS, RESERVATION_START_SLACK_MS
from services.outreach.sending.rules import GLOBAL_KILL_RETRY
from tests.conftest import ALL_TARGETS, TEMPLATE, clear_streams, create_database
from tests.integration.cli.operator import Operator
from tests.integration.main_way.answering import Shop, shop_of
from tests.integration.main_way.talking import SECOND_INBOX, two_numbers, window
from tests.integration.main_way.test_automatic_replies import PRICE, choose
from tests.integration.main_way.test_campaigns import allow, done, imported, phone_of
from tests.isolation.filling import named_url
from tests.world import PATIENCE_SECONDS, World, settings_for, start_world

EVERYBODY = UUID(int=0)
REASON = "o provedor caiu"
REFUSED = "select * from conversation.deliveries where organization_id = %s and reason = 'KILLED_GLOBALLY'"


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(servers: EmbeddedServers, template_url: str) -> str:
    """A database of the test's own: what is stopped for everybody is stopped for other tests too."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, TEMPLATE)
    return named_url(servers.database_url, name)


@pytest_asyncio.fixture(loop_scope="session")
async def settings(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> Settings:
    """All services, on that database."""
    await clear_streams(servers.nats_url)
    return settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)


@pytest_asyncio.fixture(loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP as a client speaks it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as opened:
        yield opened


def left(shop: Shop) -> list[str]:
    """What reached the provider to be sent."""
    return [
        message.content or ""
        for message in shop.chatwoot.messages.values()
        if message.message_type == OUTGOING and not message.private
    ]


async def refused(world: World, shop: Shop, condition: str, *values: Any) -> str:
    """The delivery that is kept back by the switch, once it has asked."""
    found = await world.until(f"{REFUSED} and {condition}", shop.harness.organization_id, *values)
    assert len(found) == 1
    return str(found[0]["delivery_id"])


async def begun_campaign(shop: Shop, channel_id: str) -> str:
    """A campaign to somebody who just wrote and is being answered, started; its id."""
    second = shop.chatwoot.setup.inbox(SECOND_INBOX)
    assert second is not None
    caio = await shop.known(
        shop.chatwoot.incoming_message(second, Person.named(f"Caio {uuid4().hex}"), "Quanto custa?")
    )
    list_id, _ = await imported(shop, "Um", [f"Caio;{await phone_of(shop, caio)}"])
    await shop.world.until(
        "select 1 from outreach.channel_threads where channel_id = %s and conversation_key ="
        " (select conversation_key from conversation.conversations where conversation_id = %s)",
        *(UUID(channel_id), UUID(caio.conversation_id)),
    )
    made = {"name": "Novidades", "contact_list_id": list_id, "text": "Oi {name}!", "channel_id": channel_id}
    campaign = await done(shop, "POST", "/campaigns", made)
    await done(shop, "POST", f"/campaigns/{campaign['campaign_id']}:start", {})
    return str(campaign["campaign_id"])


@pytest.mark.req("CO-21")
async def test_nothing_leaves_from_the_commands_end_on_also_over_a_restart_and_the_audit_says_who_stopped_it(
    database_url: str,
    settings: Settings,
    session: aiohttp.ClientSession,
    keys_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The command is a process of its own, whose clock is the machine's.
    clock = SettableClock(SystemClock().now())
    world = await start_world(settings, database_url, ALL_TARGETS, clock)
    try:
        async with shop_of(world, session) as shop:
            numbers = await two_numbers(shop)
            await allow(shop)
            await choose(shop)
            script = await numbers.script(calendar={"windows": [window(clock)]}, time_zone="UTC")
            # Each by a number of its own: what waits for a number holds back what comes after it.
            talk = await shop.said("Alguém aí?", inbox="instagram")

            # A message was allowed, and is held in the moment before its request to the provider begins.
            allowed, begin, ask = asyncio.Event(), asyncio.Event(), Reserver.ask

            async def slow(*args: Any, dry: bool = False) -> Decision:
                decision = await ask(*args, dry=dry)
                if isinstance(decision, Allowed) and not dry:
                    allowed.set()
                    await begin.wait()
                return decision

            monkeypatch.setattr(Reserver, "ask", slow)
            status, person = await talk.send("Já vai")
            assert status == 200, person
            await allowed.wait()

            operator = Operator(
                {
                    "PROSA_HOME": str(tmp_path / "no-home"),
                    "PROSA_GRPC_ADDRESS": world.host.grpc_address,
                    "PROSA_KEYS_DIR": str(keys_dir),
                },
                tmp_path,
            )
            stopped = await operator.prosa("kill", "on", "--global", "--reason", REASON, "--json")
            assert stopped.code == 0, stopped.err
            assert stopped.document["engaged_globally"]
            # From its commit on the switch waits for this long, and for nothing else, before it answers.
            assert RESERVATION_START_MS + RESERVATION_START_SLACK_MS < 1000
            begin.set()
            waiting = [await refused(world, shop, "delivery_id = %s", UUID(person["message_id"]))]

            # What a calendar, a customer and a campaign would have sent.
            clock.advance(datetime.fromisoformat(script["next_round_time"]) - clock.now())
            waiting.append(await refused(world, shop, "internal"))
            campaign_id = await begun_campaign(shop, numbers.channel_ids[1])
            waiting.append(await refused(world, shop, "send_class = 'REPLY'"))
            handed_over = "select 1 from outreach.touches where campaign_id = %s and state = 'HANDED_OVER'"
            await world.until(handed_over, UUID(campaign_id))
            assert left(shop) == []

            await world.until("select 1 from identity.audit_entries where organization_id = %s", EVERYBODY)
            audit = world.as_service("cli", EVERYBODY).stub(AuditServiceStub)
            listed = await audit.ListAuditEntries(audit_pb.ListAuditEntriesRequest(target_type="kill_switch"))
            [entry] = listed.audit_entries
            assert entry.action == "prosa.outreach.v1.SendService.EngageKillSwitch"
            assert (entry.actor.principal, entry.reason) == ("service:cli", REASON)

            # Everything is started anew, and everything that waits asks again.
            await world.close()
            await world.host.stop()
            world = await start_world(settings, database_url, ALL_TARGETS, clock)
            clock.advance(2 * GLOBAL_KILL_RETRY)
            await world.until(
                "select 1 from conversation.deliveries where delivery_id = any (%s) and reason = 'KILLED_GLOBALLY'"
                " and retry_time > %s having count(*) = 3",
                *([UUID(delivery_id) for delivery_id in waiting], clock.now()),
            )
            assert left(shop) == []

            # They only waited: lifted, they leave.
            lift = send_pb.LiftKillSwitchRequest(reason="voltou", **{"global": True})
            await world.as_service("cli", EVERYBODY).stub(SendServiceStub).LiftKillSwitch(lift)
            clock.advance(2 * GLOBAL_KILL_RETRY)
            await world.until(
                "select 1 from conversation.deliveries where state = 'SENT'"
                " and (delivery_id = any (%s) or send_class = 'MARKETING') having count(*) = 4",
                [UUID(delivery_id) for delivery_id in waiting],
            )
            assert {"Já vai", PRICE} < set(left(shop))
    finally:
        await world.close()
        await world.host.stop()
