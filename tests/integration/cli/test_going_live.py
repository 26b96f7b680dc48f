"""`prosa org activate` and `rollback`: an organization goes live, and back, with its evidence; others do not notice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import grpc.aio
import pytest
import pytest_asyncio

from prosa.conversation.v1 import script_service_pb2 as script_pb
from prosa.conversation.v1 import settings_service_pb2 as settings_pb
from prosa.conversation.v1.events_pb2 import TurnGathered
from prosa.conversation.v1.script_service_pb2_grpc import ScriptServiceStub
from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceStub
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import audit_service_pb2 as audit_pb
from prosa.identity.v1 import session_service_pb2 as session_pb
from prosa.identity.v1.audit_service_pb2_grpc import AuditServiceStub
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub
from prosa.ingest.v1 import rollout_service_pb2 as pb
from prosa.ingest.v1.events_pb2 import RolloutChanged
from prosa.ingest.v1.rollout_service_pb2_grpc import RolloutServiceStub
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from services.ingest.rollout.automation import Automation
from services.ingest.rollout.changing import Changing
from services.ingest.rollout.rules import TEMPLATE_STAGES, Item
from tests.browser import Authenticator
from tests.harness import sample
from tests.integration.cli.operator import Operator, Said
from tests.integration.main_way.answering import Shop, Talk, shop_of
from tests.world import OWNER, PATIENCE_SECONDS, World, error_info

PRICE = "Custa R$ 50."


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP as a client speaks it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def neighbour(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """Another one."""
    async with shop_of(world, session) as opened:
        yield opened


async def run(operator: Operator, shop: Shop, command: str, *words: str) -> Said:
    """`prosa org …` for the organization."""
    return await operator.prosa("org", command, "--org", str(shop.harness.organization_id), *words)


def states(said: Said) -> dict[str, str]:
    """The items of a report as `--json` printed it, by name."""
    return {item["name"]: item["state"].removeprefix("ITEM_STATE_") for item in said.document["items"]}


async def prepare(shop: Shop) -> None:
    """All that the doctor asks for: a board with the template's stages, and an owner with a second factor."""
    world, organization_id = shop.world, shop.harness.organization_id
    stages = [crm_pb.StageInput(label=label) for label in TEMPLATE_STAGES]
    await (
        world.as_user(organization_id)
        .stub(CrmServiceStub)
        .CreateBoard(crm_pb.CreateBoardRequest(key="a", name="A", default_board=True, stages=stages))
    )
    (member,) = await world.rows("select user_id from identity.members where organization_id = %s", organization_id)
    token, _ = world.host.signer("identity").person_token(
        kind="user", principal=f"user:{member['user_id']}", organization_id=organization_id, role=OWNER
    )
    owner = world.with_token(token).stub(SessionServiceStub)
    begun = await owner.BeginMfaSetup(session_pb.BeginMfaSetupRequest())
    code = Authenticator.of(begun.secret, world.clock).code()
    await owner.ConfirmMfaSetup(session_pb.ConfirmMfaSetupRequest(mfa_code=code))


def settings(shop: Shop) -> Any:
    """Where it is decided how the organization's conversations are answered."""
    return shop.world.as_user(shop.harness.organization_id).stub(SettingsServiceStub)


async def automated(shop: Shop) -> bool:
    """Whether its automation is on."""
    read = await settings(shop).GetConversationSettings(settings_pb.GetConversationSettingsRequest())
    return bool(read.automation_enabled)


async def switch_off(shop: Shop) -> None:
    """As it is before somebody goes live for the first time."""
    await settings(shop).UpdateConversationSettings(
        settings_pb.UpdateConversationSettingsRequest(automation_enabled=False)
    )


async def waiting_reply(shop: Shop) -> tuple[Talk, str]:
    """A conversation whose automatic reply is queued, and its delivery: the kill switch holds it up."""
    scripts = shop.world.as_user(shop.harness.organization_id).stub(ScriptServiceStub)
    persona = await scripts.CreatePersona(
        script_pb.CreatePersonaRequest(
            name=f"Lia {uuid4()}",
            reply_templates=[
                script_pb.ReplyTemplate(intent="preço", phrases=["quanto custa"], texts=[PRICE]),
            ],
        )
    )
    await settings(shop).UpdateConversationSettings(
        settings_pb.UpdateConversationSettingsRequest(
            reply_mode=settings_pb.REPLY_MODE_SCRIPTED, persona_id=persona.persona_id, debounce_seconds=0
        )
    )
    owner = shop.world.as_user(shop.harness.organization_id).stub(SendServiceStub)
    await owner.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason="pausa"))
    talk = await shop.said("Oi, quanto custa?")
    (turn,) = await shop.world.until(
        "select reply_message_id::text from conversation.turns where conversation_id = %s and state = 'ANSWERED'",
        UUID(talk.conversation_id),
    )
    return talk, turn["reply_message_id"]


async def delivery(shop: Shop, delivery_id: str) -> tuple[str, str]:
    """State and reason of a delivery, as it is now."""
    (row,) = await shop.world.rows(
        "select state, reason from conversation.deliveries where delivery_id = %s", UUID(delivery_id)
    )
    return row["state"], row["reason"]


async def test_it_goes_live_only_when_nothing_is_missing_and_keeps_what_was_seen(
    operator: Operator, shop: Shop, tmp_path: Path
) -> None:
    world, organization_id = shop.world, shop.harness.organization_id
    await switch_off(shop)
    refused = await run(operator, shop, "activate")
    assert refused.code == 1, refused.err
    assert "FAIL  administrators" in refused.out
    assert "FAIL  board_stages" in refused.out
    assert "FAIL  first_event:Chatwoot: No signed message of the last 72 h" in refused.out
    assert "Write to one of its inboxes as a customer would" in refused.out
    assert "Nothing was changed. Mend what failed, then run it again." in refused.out
    assert not await automated(shop)
    assert await world.announced(RolloutChanged, organization_id) == []

    await prepare(shop)
    talk = await shop.said()
    await world.until(
        "select 1 from ingest.webhook_events where organization_id = %s and state = 'PROCESSED'"
        " and deal_id is not null and message_id is not null",
        organization_id,
    )
    # A quiet connection's message counts, however much has come in over others since.
    async with await world.admin() as admin:
        await admin.execute(
            b"insert into ingest.webhook_events select (jsonb_populate_record(null::ingest.webhook_events,"
            b" to_jsonb(known) || jsonb_build_object("
            b" 'id', 'ffffffff-0000-7000-8000-' || lpad(to_hex(number), 12, '0'), 'connection_id', %s::text))).*"
            b" from (select * from ingest.webhook_events where organization_id = %s limit 1) known,"
            b" generate_series(1, 10000) number",
            [str(uuid4()), organization_id],
        )
    folder = tmp_path / "evidence"
    live = await run(operator, shop, "activate", "--reason", "primeira onda", "--evidence", str(folder), "--json")
    assert live.code == 0, live.out
    assert states(live) == dict.fromkeys(
        ["administrators", "connection:Chatwoot", "board_stages:a", "first_event:Chatwoot", "automation_on"], "PASSED"
    )
    assert await automated(shop)
    [file] = folder.iterdir()
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept == live.document
    assert (kept["before"]["state"], kept["after"]["state"]) == ("ROLLOUT_STATE_PREPARING", "ROLLOUT_STATE_LIVE")
    assert (kept["reason"], kept["actor"]["principal"]) == ("primeira onda", "service:cli")
    [first] = [item for item in kept["items"] if item["name"] == "first_event:Chatwoot"]
    assert json.loads(first["evidence_json"])["conversation_id"] == talk.conversation_id

    # Live already: checked anew, and nothing else.
    again = await run(operator, shop, "activate", "--json")
    assert again.code == 0, again.out
    assert again.document["before"] == again.document["after"] == kept["after"]
    [fact] = await world.announced(RolloutChanged, organization_id)
    assert (fact.rollout.state, fact.previous_rollout.state) == (pb.ROLLOUT_STATE_LIVE, pb.ROLLOUT_STATE_PREPARING)
    await world.until(
        "select 1 from identity.audit_entries where organization_id = %s and reason <> ''", organization_id
    )
    listed = await (
        world.as_user(organization_id)
        .stub(AuditServiceStub)
        .ListAuditEntries(audit_pb.ListAuditEntriesRequest(target_type="rollout"))
    )
    [entry] = listed.audit_entries
    assert (entry.action, entry.reason) == ("prosa.ingest.v1.RolloutService.Activate", "primeira onda")
    assert (entry.actor.principal, entry.target_id) == ("service:cli", str(organization_id))
    assert json.loads(entry.after_json)["state"] == "ROLLOUT_STATE_LIVE"

    # Who switched automation off by hand finds it off: that is said, and not changed.
    await switch_off(shop)
    off = await run(operator, shop, "activate", "--json")
    assert (off.code, states(off)["automation_on"]) == (1, "FAILED")
    assert "prosa org automation on" in off.document["items"][-1]["advice"]
    assert off.document["before"] == off.document["after"] == kept["after"]
    assert not await automated(shop)


async def test_it_goes_back_with_what_waited_and_goes_on_receiving_and_others_do_not_notice(
    operator: Operator, shop: Shop, neighbour: Shop, tmp_path: Path
) -> None:
    world, organization_id = shop.world, shop.harness.organization_id
    talk, waiting = await waiting_reply(shop)
    _, theirs = await waiting_reply(neighbour)
    told = len(await world.announced(TurnGathered, organization_id))
    folder = tmp_path / "evidence"
    back = await run(operator, shop, "rollback", "--reason", "respostas erradas", "--evidence", str(folder), "--json")
    # Looked at when the command has returned, not some time later.
    assert await delivery(shop, waiting) == ("CANCELLED", "AUTOMATION_OFF")
    assert (await delivery(neighbour, theirs))[0] == "QUEUED"
    assert back.code == 0, back.out
    assert states(back) == dict.fromkeys(["automation_off", "deliveries_taken_back", "events_accepted"], "PASSED")
    taken = json.loads(back.document["items"][1]["evidence_json"])
    assert taken == {"cancelled_count": 1, "waiting_count": 0, "automation_enabled": False}
    assert (not await automated(shop), await automated(neighbour)) == (True, True)
    [file] = folder.iterdir()
    assert json.loads(file.read_text(encoding="utf-8"))["after"]["state"] == "ROLLOUT_STATE_ROLLED_BACK"

    # Whoever writes now comes in as before, and is answered by nobody.
    later = await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "Oi? Quanto custa?"))
    assert later.conversation_id == talk.conversation_id
    await world.until(
        "select 1 from conversation.message_keys where organization_id = %s and message_id = %s",
        organization_id,
        UUID(later.message_id),
    )
    # Once more, among more connections than one look takes: a change all the same, and it is back since the first.
    async with await world.admin() as admin:
        await admin.execute(
            b"insert into ingest.connections select (jsonb_populate_record(null::ingest.connections, to_jsonb(known) ||"
            b" jsonb_build_object("
            b" 'id', 'ffffffff-0000-7000-8000-' || lpad(to_hex(number), 12, '0'),"
            b" 'name', 'Reserva ' || number, 'connection_key', known.connection_key || number))).*"
            b" from (select * from ingest.connections where organization_id = %s) known,"
            b" generate_series(1, 100) number",
            [organization_id],
        )
    again = await run(operator, shop, "rollback", "--json")
    assert again.code == 0, again.out
    before, after = again.document["before"], again.document["after"]
    assert (before["state"], after["state"]) == ("ROLLOUT_STATE_ROLLED_BACK", "ROLLOUT_STATE_ROLLED_BACK")
    assert (before["etag"] != after["etag"], before["roll_back_time"] == after["roll_back_time"]) == (True, True)
    assert json.loads(again.document["items"][2]["evidence_json"])["connections"] == ["Chatwoot"]
    assert len(await world.announced(RolloutChanged, organization_id)) == 2
    assert len(await world.announced(TurnGathered, organization_id)) == told
    assert talk.left == []


@pytest.mark.req("IN-11")
async def test_while_automation_is_off_events_are_taken_and_linked_and_handed_to_nobody(
    operator: Operator, shop: Shop
) -> None:
    harness, world = shop.harness, shop.world
    off = await operator.prosa("org", "automation", "off", "--org", str(harness.organization_id), "--json")
    assert (off.code, off.document["automation_enabled"]) == (0, False)
    written = await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
    assert written["state"] == "PROCESSED"
    links = await world.rows(
        "select contact_id, deal_id from conversation.messaging_conversation_links where organization_id = %s",
        harness.organization_id,
    )
    assert links == [{"contact_id": written["contact_id"], "deal_id": written["deal_id"]}]
    # A message of the time after is handed on, which shows that the one before was passed over and not only late.
    on = await operator.prosa("org", "automation", "on", "--org", str(harness.organization_id))
    assert (on.code, "Automation is on" in on.out) == (0, True)
    talk = await shop.said("E agora?")
    turns = await world.until(
        "select conversation_id::text from conversation.turns where organization_id = %s", harness.organization_id
    )
    assert [turn["conversation_id"] for turn in turns] == [talk.conversation_id]


async def made_ready(shop: Shop) -> Any:
    """All that going live asks for, with automation off; answers who takes the organization live and back."""
    world, organization_id = shop.world, shop.harness.organization_id
    await prepare(shop)
    await shop.said()
    await world.until(
        "select 1 from ingest.webhook_events where organization_id = %s and state = 'PROCESSED'"
        " and deal_id is not null and message_id is not null",
        organization_id,
    )
    await switch_off(shop)
    return world.as_user(organization_id).stub(RolloutServiceStub)


@asynccontextmanager
async def held_settings(shop: Shop) -> AsyncIterator[None]:
    """Nobody switches the organization's automation until the end."""
    async with await shop.world.admin() as blocker:
        await blocker.execute("begin")
        await blocker.execute(
            b"select 1 from conversation.conversation_settings where organization_id = %s for update",
            [shop.harness.organization_id],
        )
        yield
        await blocker.execute("commit")


@pytest.mark.parametrize("gone_back", [False, True])
async def test_whoever_takes_back_meanwhile_wins(shop: Shop, gone_back: bool) -> None:
    world = shop.world
    stub = await made_ready(shop)
    if gone_back:
        await stub.RollBack(pb.RollBackRequest(request_id=str(uuid4())))
    async with held_settings(shop):
        activation = asyncio.ensure_future(stub.Activate(pb.ActivateRequest(request_id=str(uuid4()))))
        # It has seen that all is well, and is about to switch automation on.
        await world.until_waiting_on_locks(1)
        back = asyncio.ensure_future(stub.RollBack(pb.RollBackRequest(request_id=str(uuid4()))))
        await world.until_waiting_on_locks(2)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await activation
    assert error_info(refused.value).reason == "ROLLOUT_CHANGED"
    assert (await back).after.state == pb.ROLLOUT_STATE_ROLLED_BACK
    assert not await automated(shop)
    assert (await stub.GetRollout(pb.GetRolloutRequest())).state == pb.ROLLOUT_STATE_ROLLED_BACK


async def test_what_could_not_be_written_down_is_undone(shop: Shop) -> None:
    world, organization_id = shop.world, shop.harness.organization_id
    stub = await made_ready(shop)
    await stub.RollBack(pb.RollBackRequest(request_id=str(uuid4())))
    async with await world.admin() as blocker:
        async with held_settings(shop):
            activation = asyncio.ensure_future(stub.Activate(pb.ActivateRequest(request_id=str(uuid4()))))
            # That it is on its way stands written, and automation is about to be switched on.
            await world.until_waiting_on_locks(1)
            assert (await stub.GetRollout(pb.GetRolloutRequest())).state == pb.ROLLOUT_STATE_ACTIVATING
            await blocker.execute("begin")
            await blocker.execute(
                b"select 1 from ingest.rollouts where organization_id = %s for update", [organization_id]
            )
        # Automation is on, and that the organization is live is about to be written.
        await world.until_waiting_on_locks(1)
        assert await automated(shop)
        activation.cancel()
        await blocker.execute("commit")
    await world.until(
        "select 1 from ingest.rollouts where organization_id = %s and state = 'ROLLED_BACK'", organization_id
    )
    assert not await automated(shop)


async def test_what_a_crash_cuts_off_the_same_request_finishes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    world, organization_id = shop.world, shop.harness.organization_id
    stub = await made_ready(shop)
    request = pb.ActivateRequest(request_id=str(uuid4()))

    async def crash(*_: object, **__: object) -> bool:
        raise ConnectionError

    with monkeypatch.context() as crashing:
        # Automation is on, and nothing that comes after it happens.
        crashing.setattr(Changing, "_activated", crash)
        crashing.setattr(Changing, "_give_up", crash)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Activate(request)
    assert await automated(shop)
    assert (await stub.GetRollout(pb.GetRolloutRequest())).state == pb.ROLLOUT_STATE_ACTIVATING
    report = await stub.Activate(request)
    assert report.passed
    assert (report.before.state, report.after.state) == (pb.ROLLOUT_STATE_ACTIVATING, pb.ROLLOUT_STATE_LIVE)
    assert await automated(shop)
    assert await stub.Activate(request) == report
    [fact] = await world.announced(RolloutChanged, organization_id)
    assert fact.rollout.state == pb.ROLLOUT_STATE_LIVE


async def test_of_two_that_go_live_at_once_one_does(shop: Shop) -> None:
    world = shop.world
    stub = await made_ready(shop)
    async with held_settings(shop):
        first = asyncio.ensure_future(stub.Activate(pb.ActivateRequest(request_id=str(uuid4()))))
        await world.until_waiting_on_locks(1)
        second = asyncio.ensure_future(stub.Activate(pb.ActivateRequest(request_id=str(uuid4()))))
        await world.until_waiting_on_locks(2)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await first
    assert error_info(refused.value).reason == "ROLLOUT_CHANGED"
    assert (await second).after.state == pb.ROLLOUT_STATE_LIVE
    assert await automated(shop)
    assert len(await world.announced(RolloutChanged, shop.harness.organization_id)) == 1


async def test_what_is_late_switches_nothing_on_after_somebody_took_it_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = await made_ready(shop)
    about_to, go_on, switch = asyncio.Event(), asyncio.Event(), Automation.switch

    async def late(self: Automation, organization_id: UUID, *, on: bool, reason: str, version: int) -> Item:
        if on:
            about_to.set()
            await go_on.wait()
        return await switch(self, organization_id, on=on, reason=reason, version=version)

    async def crash(*_: object, **__: object) -> bool:
        raise ConnectionError

    monkeypatch.setattr(Automation, "switch", late)
    monkeypatch.setattr(Changing, "_give_up", crash)
    activation = asyncio.ensure_future(stub.Activate(pb.ActivateRequest(request_id=str(uuid4()))))
    await about_to.wait()
    assert (await stub.RollBack(pb.RollBackRequest(request_id=str(uuid4())))).passed
    go_on.set()
    with pytest.raises(grpc.aio.AioRpcError):
        await activation
    assert not await automated(shop)
    assert (await stub.GetRollout(pb.GetRolloutRequest())).state == pb.ROLLOUT_STATE_ROLLED_BACK


async def test_only_prosa_itself_says_which_change_a_switch_belongs_to(shop: Shop) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await settings(shop).UpdateConversationSettings(
            settings_pb.UpdateConversationSettingsRequest(automation_enabled=False, rollout_version=2**40)
        )
    assert error_info(refused.value).reason == "REQUEST_INVALID"
