"""Who may connect a number, and several of them at once: what is told of each, and how soon."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.conversation.instances.domain import PROBE_EVERY
from tests.browser import Browser, browser_session
from tests.evolution import GLOBAL_KEY, Admin, Fake, eventually
from tests.integration.gateway.test_stream import read_event
from tests.integration.identity.access.test_sessions import PASSWORD, owner
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

INSTANCES, VERIFY = "/api/v1/instances", "/api/v1/session:verify"
SEEN_SECONDS = 2.0
MANY = 60
STORED_SECONDS = 10.0
"""How long the messages of all numbers may take together, told at once, until each is in its conversation."""


@pytest.mark.req("ID-18")
async def test_an_owner_connects_a_number_with_a_code_of_just_now_and_each_code_counts_once(
    world: World, fake: Fake
) -> None:
    email, _ = await owner(world)
    body = {"name": "Vendas", "base_url": fake.url, "access_token": GLOBAL_KEY}
    async with browser_session() as http:
        browser = Browser.at(world, http)
        assert (await browser.sign_in(email, PASSWORD))[0] == 200
        status, refused = await browser.call("POST", INSTANCES, body)
        assert (status, refused["reason"], refused["metadata"]) == (403, "MFA_REQUIRED", {"setup": "true"})
        assert not fake.world.instances
        phone, _ = await browser.set_up_mfa(world.clock)
        code = phone.code()
        # A code of the authenticator lets in; the number is made at Evolution.
        assert (await browser.call("POST", VERIFY, {"mfa_code": code}))[0] == 200
        status, made = await browser.call("POST", INSTANCES, body)
        assert status == 200, made
        status, refused = await browser.call("POST", VERIFY, {"mfa_code": code})
        assert (status, refused["reason"]) == (403, "MFA_CODE_INVALID")
        # Nor does it open another session, though the password is right.
        status, refused = await browser.sign_in(email, PASSWORD, mfa_code=code)
        assert (status, refused["reason"]) == (403, "MFA_CODE_INVALID")

    async def at_evolution() -> bool:
        return made["channel"]["evolution_instance"] in fake.world.instances

    await eventually(at_evolution)


@pytest.mark.req("CO-04")
async def test_two_numbers_open_and_whoever_watches_sees_each_within_two_seconds(admin: Admin) -> None:
    headers = {"Authorization": f"Bearer {admin.token()}"}
    stream = admin.harness.session.get(
        f"{admin.harness.url}/api/v1/stream", params={"types": "InstanceChanged"}, headers=headers
    )
    async with stream as watching:
        assert watching.status == 200
        made = {name: await admin.create(name) for name in ("Vendas", "Suporte")}
        for place, (name, begun) in enumerate(made.items(), start=1):
            await admin.until_state(begun["instance_id"], "QR")
            scanned = time.monotonic()
            admin.fake.world.scan(
                admin.fake.world.instances[begun["channel"]["evolution_instance"]], f"+551196000700{place}"
            )
            told = await _until_told(watching, begun["instance_id"], "OPEN")
            assert time.monotonic() - scanned < SEEN_SECONDS
            assert (told["name"], told["phone"]) == (name, f"+551196000700{place}")
    status, listed = await admin.call("GET", INSTANCES)
    assert status == 200
    assert {(each["name"], each["state"]) for each in listed["instances"]} == {("Vendas", "OPEN"), ("Suporte", "OPEN")}
    # Each keeps a state of its own.
    admin.fake.world.end(admin.fake.world.instances[made["Vendas"]["channel"]["evolution_instance"]], 401)
    await admin.until_state(made["Vendas"]["instance_id"], "CLOSED")
    _, other = await admin.call("GET", f"{INSTANCES}/{made['Suporte']['instance_id']}")
    assert other["state"] == "OPEN"


async def _until_told(watching: Any, instance_id: str, state: str) -> dict[str, Any]:
    """The instance as the stream tells of it once it is in a state."""
    while True:
        event = await read_event(watching)
        told: dict[str, Any] = event.data["data"]["instance"]
        if (told["instance_id"], told["state"]) == (instance_id, state):
            return told


@pytest.mark.req("CO-22")
async def test_sixty_numbers_are_looked_at_within_their_minute_and_heard_at_once(admin: Admin) -> None:
    await asyncio.gather(*(admin.create(f"Loja {place:02}") for place in range(MANY)))
    organization_id = UUID(str(admin.harness.organization_id))
    states = "select count(*) as count from conversation.instances where organization_id = %s and state = any (%s)"
    await admin.world.until(f"{states} having count(*) = %s", organization_id, ["QR"], MANY)
    numbers = list(admin.fake.world.instances.values())
    assert len(numbers) == MANY
    for place, number in enumerate(numbers):
        admin.fake.world.scan(number, f"+55119600{place:05}")
    await admin.world.until(f"{states} having count(*) = %s", organization_id, ["OPEN"], MANY)

    # Somebody writes to each at once: nobody waits for the other numbers.
    told = time.monotonic()
    for place, number in enumerate(numbers):
        admin.fake.world.person_writes(number, f"+55119000{place:05}", "Tem vaga?", f"Pessoa {place}")
    events = await admin.done(MANY)
    assert {event["state"] for event in events} == {"PROCESSED"}
    assert time.monotonic() - told < STORED_SECONDS
    assert len({event["conversation_id"] for event in events}) == MANY

    # All are due at the same moment; before they are due again each was asked.
    [begun] = await admin.world.rows("select clock_timestamp() as now")
    looks = time.monotonic()
    await admin.world.rows(
        "update conversation.instance_queue set due_time = now() where organization_id = %s returning 1",
        organization_id,
    )
    await admin.world.until(
        "select count(*) as count from conversation.instances where organization_id = %s and last_probe_time > %s"
        " having count(*) = %s",
        *(organization_id, begun["now"], MANY),
        seconds=PROBE_EVERY.total_seconds(),
    )
    assert time.monotonic() - looks < PROBE_EVERY.total_seconds()
    status, listed = await admin.call("GET", f"{INSTANCES}?page_size={MANY}")
    assert status == 200
    assert [each["state"] for each in listed["instances"]] == ["OPEN"] * MANY


@pytest.mark.req("IN-09")
async def test_a_message_is_stored_with_all_that_was_told_of_it(admin: Admin) -> None:
    found, number = await admin.connected()
    admin.fake.world.person_writes(number, "+5511900004821", "Tem vaga?", "Marisa")
    await admin.done(1)
    admin.fake.world.person_writes(number, "+5511900004821", "Tem sim.", from_phone=True)
    events = await admin.done(2)
    rows = await admin.world.rows(
        "select channel.provider_channel_id as instance, message.direction, conversation.conversation_key as remote,"
        " message.provider_message_id as id, message.content_type as type, message.create_time as time,"
        " message.cause_id as correlation_id from conversation.messages message"
        " join conversation.conversations conversation using (organization_id, conversation_id)"
        " join ingest.channels channel on channel.id = message.channel_id"
        " where message.organization_id = %s order by message.record_time",
        UUID(str(admin.harness.organization_id)),
    )
    assert rows == [
        {
            "instance": found["provider_instance_name"],
            "direction": direction,
            "remote": "whatsapp:+5511900004821",
            "id": told["key"]["id"],
            "type": "text",
            "time": datetime.fromtimestamp(told["messageTimestamp"], UTC),
            # By which every service's log is asked.
            "correlation_id": str(event["id"]),
        }
        for direction, told, event in zip(("INBOUND", "OUTBOUND"), admin.fake.world.messages, events, strict=True)
    ]
