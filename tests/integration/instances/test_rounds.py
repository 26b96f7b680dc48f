"""Two numbers behind Evolution talk by themselves: nobody has to begin, no customer comes of it, nobody answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio

from chassis.clock import SettableClock, SystemClock
from cli.calls import Calls
from cli.demo.fake_evolution import NUMBERS
from cli.demo.talking import NAME, keep_talking
from embedded.servers import EmbeddedServers
from tests.conftest import ALL_TARGETS, clear_streams
from tests.evolution import Admin, Fake, eventually, free_port
from tests.harness import open_harness
from tests.integration.main_way.talking import allow_any_hour, persona, run_for, window
from tests.integration.outreach.test_kill_and_policy import Rest
from tests.world import ADMIN, PATIENCE_SECONDS, settings_for, start_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONES = ("+5511960007001", "+5511960007002")
NAMES = ("Vendas", "Suporte")


@pytest_asyncio.fixture(loop_scope="session")
async def clock() -> SettableClock:
    """Stands at the next full hour."""
    return SettableClock(SystemClock().now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))


@pytest_asyncio.fixture(loop_scope="session")
async def admin(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, clock: SettableClock, fake: Fake
) -> AsyncIterator[Admin]:
    """An organization that may send at any hour, in a world that goes by the settable clock."""
    port = free_port()
    settings = settings_for(
        *(database_url, servers.nats_url, servers.redis_url, keys_dir),
        http_port=port,
        public_url=f"http://127.0.0.1:{port}",
    )
    await clear_streams(servers.nats_url)
    world = await start_world(settings, database_url, ALL_TARGETS, clock)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
            harness = await open_harness(world, session, inboxes=())
            await allow_any_hour(world, harness.organization_id)
            yield Admin(harness, fake)
    finally:
        await world.close()
        await world.host.stop()


async def participants(admin: Admin) -> list[dict[str, str]]:
    """Two connected numbers, which reception knows for the organization's own, as a script names them."""
    rest = Rest(admin.world, admin.harness.organization_id, ADMIN)
    speaking = []
    for name, phone in zip(NAMES, PHONES, strict=True):
        number, _ = await admin.connected(name, phone)
        speaking.append({"channel_id": number["channel_id"], "persona_id": await persona(rest, name), "phone": phone})
    await admin.world.until(
        "select 1 from ingest.own_numbers where organization_id = %s having count(*) = 2",
        admin.harness.organization_id,
    )
    return speaking


async def make_script(
    admin: Admin, clock: SettableClock, speaking: list[dict[str, str]], round_count: int = 1
) -> tuple[int, dict[str, Any]]:
    """What is answered to a new script, whose rounds are all due and done within ten minutes."""
    body = {
        "name": f"Colegas {uuid4()}",
        "participants": speaking,
        "topics": ["o sábado", "a escala"],
        "calendar": {
            "windows": [window(clock, 0, round_count, begins=timedelta(minutes=1), length=timedelta(minutes=9))]
        },
        "time_zone": "UTC",
        "delay_min_seconds": 5,
        "delay_max_seconds": 20,
        "round_gap_seconds": 0,
    }
    return await admin.call("POST", "/api/v1/scripts", body)


async def rounds_of(admin: Admin, script: dict[str, Any]) -> list[dict[str, Any]]:
    """A script's rounds with their messages, the first due first."""
    status, page = await admin.call("GET", f"/api/v1/rounds?script_id={script['script_id']}")
    assert status == 200, page
    whole = [await admin.call("GET", f"/api/v1/rounds/{found['round_id']}") for found in page["rounds"]]
    return [shown for _, shown in whole][::-1]


@pytest.mark.req("CO-09")
async def test_in_ten_minutes_two_numbers_have_talked_and_nobody_else_was_written_to(
    admin: Admin, clock: SettableClock
) -> None:
    speaking = await participants(admin)
    # Were own numbers not known, this persona would answer what comes in.
    settings = {"reply_mode": "SCRIPTED", "persona_id": speaking[0]["persona_id"], "debounce_seconds": 0}
    assert (await admin.call("PATCH", "/api/v1/conversation-settings", settings))[0] == 200
    status, script = await make_script(admin, clock, speaking)
    assert status == 200, script

    await run_for(admin.world, clock, timedelta(minutes=10))

    (done,) = await rounds_of(admin, script)
    assert (done["state"], done["reason"]) == ("DONE", "")
    assert 2 <= done["exchange_count"] <= 4
    sent = admin.fake.world.sent
    assert [message.text for message in sent] == [message["text"] for message in done["messages"]]
    assert len(sent) == done["sent_count"] == 2 * done["exchange_count"]
    assert [message.number for message in sent] == [PHONES[1][1:], PHONES[0][1:]] * done["exchange_count"]
    assert len({message.instance for message in sent}) == 2
    # What the one sends reaches the other, and is no customer's.
    heard = await admin.done(len(sent))
    assert {(event["state"], event["reason"]) for event in heard} == {("IGNORED", "OWN_NUMBER")}
    for table in ("identity.contacts", "crm.deals", "conversation.turns"):
        assert await admin.harness.count(table) == 0
    kept = await admin.world.rows(
        "select conversation_key, contact_id, contact_name, conversation_id::text from conversation.conversations"
        " where organization_id = %s order by conversation_key desc",
        admin.harness.organization_id,
    )
    assert [(row["conversation_key"], row["contact_id"], row["contact_name"]) for row in kept] == [
        (f"whatsapp:{PHONES[1]}", None, NAMES[1]),
        (f"whatsapp:{PHONES[0]}", None, NAMES[0]),
    ]
    assert done["conversation_id"] == kept[0]["conversation_id"]
    for place, row in enumerate(kept):
        said = await admin.messages(row["conversation_id"])
        assert [message["text"] for message in said] == [message["text"] for message in done["messages"]][place::2]


@pytest.mark.req("CO-05")
async def test_a_script_is_read_back_as_it_was_made(admin: Admin, clock: SettableClock) -> None:
    speaking = await participants(admin)
    status, made = await make_script(admin, clock, speaking)
    assert status == 200, made
    _, read = await admin.call("GET", f"/api/v1/scripts/{made['script_id']}")
    _, page = await admin.call("GET", "/api/v1/scripts")
    for script in (read, *page["scripts"]):
        assert script["participants"] == speaking
        assert script["topics"] == ["o sábado", "a escala"]
        assert script == made


async def test_the_next_round_goes_on_where_the_one_before_was(admin: Admin, clock: SettableClock) -> None:
    speaking = await participants(admin)
    status, script = await make_script(admin, clock, speaking, round_count=2)
    assert status == 200, script
    await run_for(admin.world, clock, timedelta(minutes=10))
    first, second = await rounds_of(admin, script)
    assert [first["state"], second["state"]] == ["DONE", "DONE"]
    assert first["conversation_id"] == second["conversation_id"]
    assert await admin.harness.count("conversation.conversations") == 2


async def test_a_round_waits_for_a_number_that_is_not_connected_and_says_why(
    admin: Admin, clock: SettableClock
) -> None:
    speaking = await participants(admin)
    status, script = await make_script(admin, clock, speaking)
    assert status == 200, script
    instance = admin.fake.world.connected_as(PHONES[1][1:])
    assert instance is not None
    admin.fake.world.end(instance, 401)
    await admin.world.until(
        "select 1 from conversation.instances where organization_id = %s and state = 'CLOSED'",
        admin.harness.organization_id,
    )
    await run_for(admin.world, clock, timedelta(minutes=10))
    (skipped,) = await rounds_of(admin, script)
    assert (skipped["state"], skipped["reason"]) == ("SKIPPED", "NUMBER_NOT_CONNECTED")
    assert admin.fake.world.sent == []


async def test_a_number_that_was_paired_with_another_phone_is_not_written_to(
    admin: Admin, clock: SettableClock
) -> None:
    speaking = await participants(admin)
    status, script = await make_script(admin, clock, speaking)
    assert status == 200, script
    await admin.world.rows(
        "update conversation.instances set phone = '+5511960007003' where organization_id = %s and phone = %s"
        " returning instance_id",
        *(admin.harness.organization_id, PHONES[1]),
    )
    await run_for(admin.world, clock, timedelta(minutes=10))
    (skipped,) = await rounds_of(admin, script)
    assert (skipped["state"], skipped["reason"]) == ("SKIPPED", "CHANNEL_CANNOT_SEND")
    assert admin.fake.world.sent == []


async def test_a_script_names_each_number_by_its_own_phone(admin: Admin, clock: SettableClock) -> None:
    first, second = await participants(admin)
    stranger = second | {"phone": "+5511960007099"}
    status, refused = await make_script(admin, clock, [first, stranger])
    assert (status, refused["reason"]) == (400, "SCRIPT_INVALID")
    assert "participants[1].phone must be +5511960007002" in refused["detail"]
    made = await admin.create("Novo")
    await admin.until_state(made["instance_id"], "QR")

    async def of_channel() -> Any:
        _, found = await admin.call("GET", f"/api/v1/instances/{made['instance_id']}")
        return found.get("channel_id")

    unpaired = second | {"channel_id": await eventually(of_channel)}
    status, refused = await make_script(admin, clock, [first, unpaired])
    assert (status, refused["reason"]) == (400, "SCRIPT_INVALID")
    assert "connect the channel's number with a phone first" in refused["detail"]
    assert UUID(unpaired["channel_id"]) != UUID(second["channel_id"])


async def test_the_demos_numbers_talk_soon_after_each_start(admin: Admin, clock: SettableClock) -> None:
    calls = Calls(admin.world.host.signer("cli"), {}, admin.world.host.grpc_address)
    organization_id = str(admin.harness.organization_id)
    for name, phone in NUMBERS:
        await admin.connected(name, phone)
    for start in range(2):
        await keep_talking(calls, organization_id, clock.now)
        await run_for(admin.world, clock, timedelta(minutes=4))
        _, page = await admin.call("GET", "/api/v1/rounds?state=DONE")
        assert len(page["rounds"]) == start + 1
    assert {sent.number for sent in admin.fake.world.sent} == {phone[1:] for _, phone in NUMBERS}
    _, page = await admin.call("GET", "/api/v1/scripts")
    assert [script["name"] for script in page["scripts"]] == [NAME]
    await calls.close()


async def test_a_script_whose_number_was_paired_with_another_phone_can_be_paused_and_not_go_on(
    admin: Admin, clock: SettableClock
) -> None:
    status, script = await make_script(admin, clock, await participants(admin))
    assert status == 200, script
    await admin.world.rows(
        "update conversation.instances set phone = '+5511960007009' where organization_id = %s and phone = %s"
        " returning 1",
        *(UUID(str(admin.harness.organization_id)), PHONES[0]),
    )
    path = f"/api/v1/scripts/{script['script_id']}"
    status, paused = await admin.call("PATCH", path, {"state": "PAUSED"})
    assert (status, paused.get("state")) == (200, "PAUSED"), paused
    assert (await admin.call("PATCH", path, {"name": "Outro nome"}))[0] == 200
    status, refused = await admin.call("PATCH", path, {"state": "ACTIVE"})
    assert (status, refused["reason"]) == (400, "SCRIPT_INVALID"), refused
