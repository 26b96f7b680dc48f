"""A number connects, says what state it is in, and people write to it: over HTTP, against the fake Evolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import orjson
import pytest

from chassis.enums import enum_text
from chassis.errors import InvalidArgument
from prosa.conversation.v1 import instance_service_pb2 as pb
from prosa.conversation.v1.events_pb2 import InstanceChanged, MessageReceived
from sandbox.evolution.faults import Fault
from sandbox.evolution.numbers import lid_of
from sandbox.evolution.sender import token
from services.conversation.instances.client import Evolution
from services.conversation.messages.own_key_store import own_keys
from tests.evolution import GLOBAL_KEY, PHONE, Admin, eventually, free_port
from tests.integration.cli.operator import Operator
from tests.listeners import http, listening

FIXTURES = Path(__file__).parents[3] / "services/ingest/providers/evolution/fixtures"
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_number_shows_a_code_is_scanned_and_is_open(admin: Admin) -> None:
    made = await admin.create("Vendas", phone="+55 11 96000-7001")
    instance_id = made["instance_id"]
    waiting = await admin.until_state(instance_id, "QR")
    assert (waiting["name"], waiting["qr_count"]) == ("Vendas", 1)
    status, code = await admin.call("GET", f"/api/v1/instances/{instance_id}/qr")
    instance = admin.fake.world.instances[made["channel"]["evolution_instance"]]
    assert (status, code["code"], code["pairing_code"]) == (200, instance.qr_code, "WZYEH1YY")
    assert code["qr_svg"].startswith("<svg xmlns=")
    admin.fake.world.scan(instance, "+5511960007001", "Escola Ipê")
    found = await admin.until_state(instance_id, "OPEN")
    assert (found["phone"], found["profile_name"]) == ("+5511960007001", "Escola Ipê")
    status, refused = await admin.call("GET", f"/api/v1/instances/{instance_id}/qr")
    assert (status, refused["reason"]) == (400, "INSTANCE_OPEN")
    told = await admin.world.announced(InstanceChanged, admin.harness.organization_id)
    states = [enum_text(pb.InstanceState, fact.instance.state) for fact in told]
    # Where this takes longer than a code is worth, the next one is told of as well.
    assert states == ["CREATING", *["QR"] * found["qr_count"], "OPEN"]
    assert [fact.version for fact in told] == [*range(1, len(states) + 1)]
    # No secret lies open: neither the key, nor the codes.
    [row] = await admin.world.rows("select * from conversation.instances where instance_id = %s", instance_id)
    assert row["qr_sealed"] is None
    assert b"the-global-key" not in bytes(row["access_token_sealed"])


async def test_a_number_that_cannot_be_looked_at_is_said_so_and_looked_at_again(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = await admin.connected()
    instance_id = made["instance_id"]

    async def refuse(*_: Any) -> NoReturn:
        raise InvalidArgument("ITEM_REFUSED", "The item cannot be processed: Fault.")

    async def told() -> InstanceChanged | None:
        facts = await admin.world.announced(InstanceChanged, admin.harness.organization_id)
        return next((fact for fact in facts if fact.instance.state == pb.INSTANCE_STATE_UNREACHABLE), None)

    look_now = "update conversation.instance_queue set due_time = now() where item_id = %s returning 1"
    monkeypatch.setattr(Evolution, "state", refuse)
    await admin.world.until(look_now, instance_id)
    # A webhook that comes after may say better.
    assert "fault of its own" in (await eventually(told)).instance.cause
    monkeypatch.undo()
    await admin.world.until(look_now, instance_id)
    await admin.until_state(instance_id, "OPEN")
    dead = "select count(*) as count from conversation.instance_queue_dead where item_id = %s"
    assert await admin.world.rows(dead, instance_id) == [{"count": 0}]


async def test_only_a_person_with_a_fresh_second_factor_connects_a_number(admin: Admin) -> None:
    body = {"name": "Vendas", "base_url": admin.fake.url, "access_token": "key"}
    status, refused = await admin.harness.send("/api/v1/instances", body)
    assert (status, refused["reason"]) == (403, "PEOPLE_ONLY")
    status, refused = await admin.call("POST", "/api/v1/instances", body, token=admin.token(mfa=False))
    assert (status, refused["reason"]) == (403, "MFA_REQUIRED")
    assert not admin.fake.world.instances


async def test_the_same_request_twice_makes_one_number(admin: Admin) -> None:
    request_id = "0b1e4cf0-3a40-4d32-9a3c-0a5f6a4f7d11"
    made = await admin.create("Vendas", request_id=request_id)
    assert await admin.create("Vendas", request_id=request_id) == made
    await admin.until_state(made["instance_id"], "QR")
    assert len(admin.fake.world.instances) == 1
    status, refused = await admin.call(
        "POST", "/api/v1/instances", {"name": "Vendas", "base_url": admin.fake.url, "access_token": "key"}
    )
    assert (status, refused["reason"]) == (409, "CONNECTION_NAME_TAKEN")


async def test_a_lost_answer_makes_no_second_number(admin: Admin) -> None:
    admin.fake.faults.set(Fault("rest.lost_answer", count=1, only="/instance/create"))
    made = await admin.create()
    found = await admin.until_state(made["instance_id"], "QR")
    assert len(admin.fake.world.instances) == 1
    assert found["qr_count"] == 1


async def test_a_wrong_key_is_told_with_what_to_do(admin: Admin) -> None:
    made = await admin.create(access_token="another-key")
    found = await admin.until_state(made["instance_id"], "FAILED")
    assert found["cause"] == "Evolution does not take the key."
    assert "prosa connection update" in found["advice"]
    assert "page Numbers" in found["advice"]
    [item] = [item for item in await admin.doctor() if item["name"] == "connection:Vendas"]
    assert "Evolution does not take the key." in item["advice"]
    assert found["advice"] in item["advice"]
    assert "inbox" not in item["advice"]


async def test_a_wrong_key_is_corrected_with_the_command(admin: Admin, keys_dir: Path, tmp_path: Path) -> None:
    made = await admin.create(access_token="another-key")
    instance_id, organization_id = made["instance_id"], str(admin.harness.organization_id)
    await admin.until_state(instance_id, "FAILED")
    environment = {"PROSA_GRPC_ADDRESS": admin.world.host.grpc_address, "PROSA_KEYS_DIR": str(keys_dir)}
    operator = Operator(environment | {"PROSA_HOME": str(tmp_path / "no-home")}, tmp_path)
    words = ("connection", "update", made["connection"]["connection_id"], "--org", organization_id)
    said = await operator.prosa(*words, PROSA_EVOLUTION_KEY=GLOBAL_KEY)
    assert said.code == 0, said.err
    assert "that of PROSA_EVOLUTION_KEY" in said.out
    await admin.until_state(instance_id, "QR")
    instance = admin.fake.world.instances[made["channel"]["evolution_instance"]]
    admin.fake.world.scan(instance, "+5511960007021", "Escola Ipê")
    await admin.until_state(instance_id, "OPEN")


async def test_a_wrong_address_is_corrected_and_the_key_goes_nowhere_by_itself(admin: Admin) -> None:
    made = await admin.create(base_url=f"http://127.0.0.1:{free_port()}")
    instance_id, path = made["instance_id"], f"/api/v1/connections/{made['connection']['connection_id']}"
    found = await eventually(lambda: admin.caused(instance_id, "cannot be reached"))
    assert "correct its address" in found["advice"]
    for address, reason in (
        (admin.fake.url, "ACCESS_TOKEN_NEEDED"),
        ("", "BASE_URL_INVALID"),
        ("http://10.0.0.1:8080", "ADDRESS_PRIVATE"),
    ):
        status, refused = await admin.call("PATCH", path, {"base_url": address})
        assert (status, refused["reason"]) == (400, reason)
    status, _ = await admin.call("PATCH", path, {"base_url": admin.fake.url, "access_token": GLOBAL_KEY})
    assert status == 200
    await admin.until_state(instance_id, "QR")


async def test_a_private_address_is_refused_at_once_with_the_way_out(admin: Admin) -> None:
    for base_url in ("http://10.0.0.1:8080", "http://169.254.169.254", "http://[fd00::1]:8080"):
        body = {"name": "Vendas", "base_url": base_url, "access_token": "key"}
        status, refused = await admin.call("POST", "/api/v1/instances", body)
        assert (status, refused["reason"]) == (400, "ADDRESS_PRIVATE"), refused
        assert "PROSA_ALLOWED_HOSTS" in str(refused)
    assert not await admin.world.rows(
        "select 1 from ingest.connections where organization_id = %s and provider = 'EVOLUTION'",
        admin.harness.organization_id,
    )


async def test_logged_out_banned_and_refused_are_told_apart(admin: Admin) -> None:
    found, instance = await admin.connected()
    admin.fake.world.end(instance, 401)
    closed = await admin.until_state(found["instance_id"], "CLOSED")
    assert closed["cause"] == "The phone has logged this device out."
    status, _ = await admin.call("POST", f"/api/v1/instances/{found['instance_id']}:connect", {})
    assert status == 200
    again = await admin.until_state(found["instance_id"], "QR")
    assert again["qr_count"] == 2
    admin.fake.world.refuse(instance)
    refused = await admin.until_state(found["instance_id"], "CLOSED")
    assert refused["cause"] == "The QR codes ran out before one was scanned."
    admin.fake.world.end(instance, 403)
    await admin.until_state(found["instance_id"], "BANNED")


async def test_a_short_loss_needs_no_new_code(admin: Admin) -> None:
    found, instance = await admin.connected()
    admin.fake.world.lose(instance, again=False)
    await admin.until_state(found["instance_id"], "CONNECTING")
    # What arrives meanwhile is processed.
    admin.fake.world.person_writes(instance, PHONE, "oi", "Marisa")
    await admin.done(1)
    admin.fake.world.open(instance)
    healed = await admin.until_state(found["instance_id"], "OPEN")
    assert healed["qr_count"] == 1


async def test_who_writes_goes_the_main_way(admin: Admin) -> None:
    _, instance = await admin.connected()
    message_id = admin.fake.world.person_writes(instance, PHONE, "Tem vaga sábado?", "Marisa Teles")
    [event] = await admin.done(1)
    assert (event["state"], event["detail"]) == ("PROCESSED", "created")
    contact, conversation_id = str(event["contact_id"]), str(event["conversation_id"])
    _, found = await admin.harness.get(f"/api/v1/conversations/{conversation_id}")
    assert found["conversation_key"] == f"whatsapp:{PHONE}"
    assert found["provider_conversation_id"] == contact
    assert found["deal_id"] == str(event["deal_id"])
    assert found["contact_name"] == "Marisa Teles"
    [message] = await admin.messages(conversation_id)
    assert (message["text"], message["direction"]) == ("Tem vaga sábado?", "INBOUND")
    assert (message["provider_message_id"], message["provider_source_id"]) == (message_id, f"WAID:{message_id}")
    [told] = await admin.world.announced(MessageReceived, admin.harness.organization_id)
    assert told.message.text == "Tem vaga sábado?"


async def test_phone_and_lid_of_one_person_are_one_thread(admin: Admin) -> None:
    _, instance = await admin.connected()
    write = admin.fake.world.person_writes
    # Releases name the same person by the phone, by the LID with the phone beside it, by both, and by the LID alone.
    for count, form in enumerate(("2.3.7", "2.3.6", "2.4.0", "lid"), start=1):
        write(instance, PHONE, f"por {form}", "Marisa", form=form)
        events = await admin.done(count)
    assert {event["state"] for event in events} == {"PROCESSED"}
    assert len({event["contact_id"] for event in events}) == 1
    [conversation_id] = {str(event["conversation_id"]) for event in events}
    assert len(await admin.messages(conversation_id)) == 4
    assert await admin.harness.count("crm.deals") == 1


async def test_somebody_known_by_the_lid_alone_is_found_again_with_the_phone(admin: Admin) -> None:
    _, instance = await admin.connected()
    admin.fake.world.person_writes(instance, PHONE, "só o LID", "Marisa", form="lid")
    [first] = await admin.done(1)
    _, found = await admin.harness.get(f"/api/v1/conversations/{first['conversation_id']}")
    assert found["conversation_key"] == f"whatsapp:lid:{lid_of(PHONE[1:]).partition('@')[0]}"
    admin.fake.world.person_writes(instance, PHONE, "e o número", "Marisa", form="2.3.6")
    _, second = await admin.done(2)
    assert (second["contact_id"], second["conversation_id"]) == (first["contact_id"], first["conversation_id"])


async def test_what_is_no_customer_makes_nobody(admin: Admin) -> None:
    _, instance = await admin.connected()
    write = admin.fake.world.person_writes
    write(instance, PHONE, "no grupo", "Marisa", form="group")
    write(instance, PHONE, "um status", "Marisa", form="status")
    write(instance, "+5511960007001", "nota para mim", from_phone=True)
    events = await admin.done(3)
    assert sorted(event["reason"] for event in events) == ["GROUP", "GROUP", "OWN_NUMBER"]
    assert [await admin.harness.count(f"{table}") for table in ("identity.contacts", "crm.deals")] == [0, 0]


async def test_the_organizations_other_number_is_no_customer(admin: Admin) -> None:
    _, first = await admin.connected("Vendas", "+5511960007001")
    await admin.connected("Suporte", "+5511960007002")

    async def known() -> Any:
        return await admin.world.rows(
            "select * from ingest.own_numbers where organization_id = %s and phone = '+5511960007002'",
            admin.harness.organization_id,
        )

    await eventually(known)
    admin.fake.world.person_writes(first, "+5511960007002", "oi, colega", "Suporte")
    [event] = await admin.done(1)
    assert (event["state"], event["reason"]) == ("IGNORED", "OWN_NUMBER")


async def test_what_the_staff_write_on_the_phone_takes_over_and_opens_no_deal(admin: Admin) -> None:
    _, instance = await admin.connected()
    admin.fake.world.person_writes(instance, PHONE, "Bom dia, Marisa", from_phone=True)
    [event] = await admin.done(1)
    [message] = await admin.messages(str(event["conversation_id"]))
    assert (message["direction"], message["author"], message.get("author_name", "")) == ("OUTBOUND", "NATIVE_APP", "")
    _, found = await admin.harness.get(f"/api/v1/conversations/{event['conversation_id']}")
    assert found["handoff"]["mode"] == "HUMAN"
    assert found["contact_name"] != "Você"
    assert await admin.harness.count("crm.deals") == 0


async def test_receipts_find_their_message_by_its_id_alone(admin: Admin) -> None:
    _, instance = await admin.connected()
    message_id = admin.fake.world.person_writes(instance, PHONE, "Bom dia", from_phone=True)
    [event] = await admin.done(1)
    # By a LID that nobody has heard of; and READ before DELIVERY_ACK.
    for count, status in enumerate(("READ", "DELIVERY_ACK"), start=1):
        admin.fake.world.receipt(instance, f"{PHONE[1:]}@s.whatsapp.net", message_id, status)
        await admin.done(count, "messages.update")
    [message] = await admin.messages(str(event["conversation_id"]))
    assert message["state"] == "READ"
    assert {row["state"] for row in await admin.done(2, "messages.update")} == {"PROCESSED"}
    assert await admin.harness.count("identity.contacts") == 1


async def test_duplicates_and_reordered_webhooks_change_nothing(admin: Admin) -> None:
    _, instance = await admin.connected()
    admin.fake.faults.set(Fault("webhook.duplicate", count=2))
    admin.fake.faults.set(Fault("webhook.reorder", count=1))
    admin.fake.world.person_writes(instance, PHONE, "primeira", "Marisa", message_id="ACAA01")
    admin.fake.world.person_writes(instance, PHONE, "segunda", "Marisa", message_id="ACAA02")
    # The same message once more, as after a reconnect, in other bytes.
    admin.fake.world.person_writes(instance, PHONE, "primeira", "Marisa T.", message_id="ACAA01")
    events = await admin.done(3)
    [conversation_id] = {str(event["conversation_id"]) for event in events}
    assert sorted(said["text"] for said in await admin.messages(conversation_id)) == ["primeira", "segunda"]


async def test_a_forged_webhook_is_refused_and_leaves_nothing(admin: Admin) -> None:
    _, instance = await admin.connected()
    admin.fake.faults.set(Fault("webhook.wrong_secret", count=1, only="messages.upsert"))
    admin.fake.world.person_writes(instance, PHONE, "forjada", "Mallory")
    await eventually(lambda: _refusals(admin))
    rows = await admin.world.rows(
        "select 1 from ingest.webhook_events where organization_id = %s and event = 'messages.upsert'",
        admin.harness.organization_id,
    )
    assert rows == []


async def _refusals(admin: Admin) -> int:
    return admin.fake.world.sender.statuses[401]


async def test_a_number_goes_to_no_other_address_with_the_key_of_before(admin: Admin) -> None:
    made = await admin.create()
    path = f"/api/v1/connections/{made['connection']['connection_id']}"
    status, refused = await admin.call("PATCH", path, {"base_url": "https://elsewhere.example"})
    assert (status, refused["reason"]) == (400, "ACCESS_TOKEN_NEEDED")
    status, renamed = await admin.call("PATCH", path, {"name": "Vendas 2"})
    assert (status, renamed["name"]) == (200, "Vendas 2")


@pytest.mark.case("O10")
@pytest.mark.parametrize(("reason", "says"), [("NO_VALID_IDENTITY", "LID"), ("NO_INBOX_CONTEXT", "Evolution")])
async def test_a_dead_letter_is_explained_by_what_evolution_can_do(admin: Admin, reason: str, says: str) -> None:
    _, instance = await admin.connected()
    assert instance.webhook is not None
    recorded = orjson.loads((FIXTURES / "webhook.messages_upsert.text.json").read_bytes())
    recorded["instance"] = instance.name
    if reason == "NO_VALID_IDENTITY":
        recorded["data"]["key"] = {"remoteJid": "sem-nome@unknown", "fromMe": False, "id": "ACNOBODY"}
    else:
        del recorded["instance"]
    secret, now = instance.webhook.headers["jwt_key"], int(admin.world.clock.now().timestamp())
    headers = {"Authorization": f"Bearer {token(secret, now)}"}
    async with admin.harness.session.post(instance.webhook.url, data=orjson.dumps(recorded), headers=headers) as answer:
        assert answer.status == 200
    [event] = await admin.done(1)
    _, told = await admin.harness.get(f"/api/v1/webhook-events/{event['id']}")
    assert (told["state"], told["reason"]) == ("DEAD_LETTER", reason)
    for sentence in (told["explanation"], told["detail"]):
        assert says in sentence
        assert "Chatwoot" not in sentence


@pytest.mark.req("IN-08")
async def test_a_recorded_message_is_in_the_rows_and_a_forged_one_is_not(admin: Admin) -> None:
    _, instance = await admin.connected()
    assert instance.webhook is not None
    # With the event's name behind the address too, as byEvents has it.
    url, secret = instance.webhook.url + "/messages-upsert", instance.webhook.headers["jwt_key"]
    recorded = orjson.loads((FIXTURES / "webhook.messages_upsert.text.json").read_bytes())
    recorded |= {"instance": instance.name, "apikey": "an-instance-token"}
    body, message_id = orjson.dumps(recorded), recorded["data"]["key"]["id"]
    forged = orjson.dumps(recorded | {"data": recorded["data"] | {"key": recorded["data"]["key"] | {"id": "ACFORGED"}}})
    # Half an hour old, as the last try of an event carries it; and one under another secret.
    long_ago = int(admin.world.clock.now().timestamp()) - 1800
    for raw, key, answered in ((body, secret, 200), (forged, "another-secret", 401), (forged, "", 401)):
        headers = {"Authorization": f"Bearer {token(key, long_ago)}"} if key else {}
        async with admin.harness.session.post(url, data=raw, headers=headers) as answer:
            assert answer.status == answered
    [event] = await admin.done(1)
    assert (event["state"], event["connection_id"] is not None) == ("PROCESSED", True)
    kept = orjson.loads(bytes(event["body"]))
    assert (kept["data"]["key"]["id"], kept["apikey"]) == (message_id, "[blanked]")
    rows = await admin.world.rows(
        "select direction, text, content_type, provider_message_id from conversation.messages"
        " where organization_id = %s",
        admin.harness.organization_id,
    )
    assert rows == [
        {"direction": "INBOUND", "text": "SIM, confirmo 😁", "content_type": "text", "provider_message_id": message_id}
    ]


async def test_of_a_private_host_nobody_learns_which_ports_are_open(admin: Admin) -> None:
    # The test's host is allowed without a port: what listens at one, and what does not, are told alike.
    told = set()
    async with listening(http(b'{"version":"4.15.1"}')) as other, listening(http(b"no JSON")) as another:
        for place, port in enumerate((other.port, another.port, free_port())):
            made = await admin.create(f"Número {place}", base_url=f"http://127.0.0.1:{port}")

            async def looked(instance_id: str = made["instance_id"]) -> Any:
                status, found = await admin.call("GET", f"/api/v1/instances/{instance_id}")
                return found if status == 200 and found["advice"] else None

            found = await eventually(looked)
            told.add((found["state"], found["cause"]))
    assert told == {("CREATING", "Evolution cannot be reached.")}


async def test_a_connected_number_is_one_of_the_organizations_own(admin: Admin) -> None:
    await admin.connected(phone="+5511960007009")
    async with admin.world.database("conversation").transaction(admin.harness.organization_id) as tx:
        own = await own_keys(tx, [admin.harness.organization_id])
    assert own == {(admin.harness.organization_id, "whatsapp:+5511960007009")}
