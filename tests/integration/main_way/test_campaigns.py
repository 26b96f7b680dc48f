"""A campaign through the real entry: imported, allowed, sent to two, answered by one, refused by the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from prosa.outreach.v1.events_pb2 import CampaignChanged, SendDue, SendWithdrawn
from tests.integration.main_way.answering import Shop, Talk, shop_of
from tests.world import OWNER, World

TEXT = "Oi {name}, temos pão de queijo novo!"


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def owner(shop: Shop, method: str, path: str, body: Any = None, data: bytes | None = None) -> tuple[int, Any]:
    """What the REST interface answers the owner."""
    harness = shop.harness
    token, _ = harness.world.host.signer("identity").person_token(
        kind="user",
        principal=f"user:{uuid4()}",
        organization_id=harness.organization_id,
        role=OWNER,
        name="dona@padaria.example",
        mfa_time=harness.world.clock.now(),
        mfa_set_up=True,
    )
    url, headers = f"{harness.url}/api/v1{path}", {"Authorization": f"Bearer {token}"}
    async with harness.session.request(method, url, json=body, data=data, headers=headers) as response:
        return response.status, await response.json()


async def done(shop: Shop, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
    """The same, where it is taken."""
    status, answer = await owner(shop, method, path, body, data)
    assert status == 200, answer
    return answer


async def imported(shop: Shop, name: str, rows: list[str]) -> tuple[str, Any]:
    """A new list filled from a file; the list's id, and the import when it has ended."""
    list_id = (await done(shop, "POST", "/contact-lists", {"name": name}))["contact_list_id"]
    begun = await done(shop, "POST", "/contact-imports", {"contact_list_id": list_id})
    path = f"/contact-imports/{begun['contact_import_id']}"
    await done(shop, "PUT", f"{path}/file", data="\n".join(["nome;telefone", *rows, ""]).encode())
    await done(shop, "POST", f"{path}:start", {})
    await shop.world.until(
        "select 1 from outreach.contact_imports where id = %s and state = 'DONE'", begun["contact_import_id"]
    )
    return list_id, await done(shop, "GET", path)


async def phone_of(shop: Shop, talk: Talk) -> str:
    """The number that a contact writes from."""
    found = await done(shop, "GET", f"/conversations/{talk.conversation_id}")
    return str(found["conversation_key"]).removeprefix("whatsapp:")


async def allow(shop: Shop) -> None:
    """Terms are accepted, and the limits are those of a fast number at any hour."""
    terms = await done(shop, "GET", "/terms")
    await done(shop, "POST", "/terms:accept", {"terms_version": terms["terms_version"]})
    policy = {"quiet_hours": {"quiet_hours": []}, "number_gap_seconds": 0, "burst_limit": 1000}
    await done(shop, "PATCH", "/send-policy", policy)


async def new_campaign(shop: Shop, list_id: str) -> Any:
    """A campaign to a list, by the number that everybody wrote to."""
    (channel,) = await shop.world.rows(
        "select distinct channel_id::text from conversation.conversations where organization_id = %s",
        shop.harness.organization_id,
    )
    # Outreach was told of the channel, and of whom it talks with.
    await shop.world.until(
        "select 1 from outreach.channels where id = %s and not exists (select from conversation.conversations known"
        " where known.channel_id = channels.id and not exists (select from outreach.channel_threads told"
        " where told.channel_id = known.channel_id and told.conversation_key = known.conversation_key))",
        channel["channel_id"],
    )
    made = {"name": "Pão de queijo", "contact_list_id": list_id, "text": TEXT, **channel}
    return await done(shop, "POST", "/campaigns", made)


async def ended(shop: Shop, campaign: Any) -> Any:
    """The campaign when nothing of it waits."""
    await shop.world.until(
        "select 1 from outreach.campaigns where id = %s and state in ('DONE', 'CANCELLED')", campaign["campaign_id"]
    )
    return await done(shop, "GET", f"/campaigns/{campaign['campaign_id']}")


async def test_a_preview_says_who_cannot_be_reached_and_why(shop: Shop) -> None:
    ana = await shop.said("Oi", name=f"Ana {uuid4().hex}")
    list_id, _ = await imported(shop, "Três", [f"Ana;{await phone_of(shop, ana)}", "Nova;+5511960000001"])
    begun = await done(shop, "POST", "/contact-imports", {"contact_list_id": list_id, "source": "INSTAGRAM"})
    path = f"/contact-imports/{begun['contact_import_id']}"
    await done(shop, "PUT", f"{path}/file", data=b"nome;external_id\nIgor;17841400000000123\n")
    await done(shop, "POST", f"{path}:start", {})
    await shop.world.until(
        "select 1 from outreach.contact_imports where id = %s and state = 'DONE'", begun["contact_import_id"]
    )
    campaign = await new_campaign(shop, list_id)
    preview = await done(shop, "POST", f"/campaigns/{campaign['campaign_id']}:preview", {})
    assert preview["audience_count"] == 3
    assert preview["left_out"] == [
        {"reason": "ADDRESS_MISSING", "count": 1},
        {"reason": "CONVERSATION_MISSING", "count": 1},
    ]
    # It is as the preview said: of the others the campaign says so too.
    await allow(shop)
    await done(shop, "POST", f"/campaigns/{campaign['campaign_id']}:start", {})
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'DELIVERED'", campaign["campaign_id"]
    )
    counted = await ended(shop, campaign)
    assert counted["reason_counts"] == [{"reason": "CHANNEL_CANNOT_SEND", "count": 2}]
    assert len(ana.left) == 1


@pytest.mark.req("OU-04")
async def test_two_are_written_to_one_goes_on_and_one_gets_a_confirmation_and_nothing_more(shop: Shop) -> None:
    names = f"Ana {uuid4().hex}", f"Bia {uuid4().hex}"
    ana, bia = [await shop.said("Oi", name=name) for name in names]
    two = [f"Ana;{await phone_of(shop, ana)}", f"Bia;{await phone_of(shop, bia)}"]
    others = [f"Pessoa {number};+5511988{number:06d}" for number in range(1, 96)]
    _, whole = await imported(shop, "Todos", [*two, *others, "Sem;", "Curta;12", '"Aberta;+5511911112222'])
    assert [int(whole[f"{what}_count"]) for what in ("row", "created", "existing", "error")] == [100, 95, 2, 3]

    list_id, _ = await imported(shop, "Dois", two)
    campaign = await new_campaign(shop, list_id)
    start = f"/campaigns/{campaign['campaign_id']}:start"
    status, refused = await owner(shop, "POST", start, {})
    assert (status, refused["reason"]) == (400, "TERMS_NOT_ACCEPTED")
    await allow(shop)
    preview = await done(shop, "POST", f"/campaigns/{campaign['campaign_id']}:preview", {})
    assert (preview["audience_count"], preview["left_out"]) == (2, [])
    assert {example["text"] for example in preview["examples"]} == {
        "Oi Ana, temos pão de queijo novo!",
        "Oi Bia, temos pão de queijo novo!",
    }
    await done(shop, "POST", start, {})
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'DELIVERED' having count(*) = 2",
        campaign["campaign_id"],
    )
    assert ana.left == ["Oi Ana, temos pão de queijo novo!"]
    assert bia.left == ["Oi Bia, temos pão de queijo novo!"]
    assert (await ended(shop, campaign))["counts"]["delivered_count"] == 2

    await shop.said("Quero dois!", name=names[0])
    await shop.said("SAIR", name=names[1])
    await shop.world.until(
        "select 1 from conversation.deliveries where organization_id = %s and send_class = 'CONFIRMATION'"
        " and state = 'DELIVERED'",
        shop.harness.organization_id,
    )
    assert len(bia.left) == 2
    assert "VOLTAR" in bia.left[1]
    await shop.said("sair", name=names[1])
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and reply_time is not null having count(*) = 2",
        campaign["campaign_id"],
    )
    counts = (await done(shop, "GET", f"/campaigns/{campaign['campaign_id']}"))["counts"]
    assert (counts["planned_count"], counts["replied_count"], counts["opted_out_count"]) == (2, 2, 1)

    # The next campaign reaches who goes on, and nobody else.
    second = await new_campaign(shop, list_id)
    await done(shop, "POST", f"/campaigns/{second['campaign_id']}:start", {})
    shown = await ended(shop, second)
    assert (shown["counts"]["suppressed_count"], shown["reason_counts"]) == (1, [{"reason": "SUPPRESSED", "count": 1}])
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'DELIVERED'", second["campaign_id"]
    )
    assert len(ana.left) == 2
    assert len(bia.left) == 2
    touches = (await done(shop, "GET", f"/campaigns/{second['campaign_id']}/touches"))["touches"]
    assert sorted((touch["state"], touch["delivery_id"] != "") for touch in touches) == [
        ("DELIVERED", True),
        ("SUPPRESSED", False),
    ]


@pytest.mark.req("OU-11")
async def test_what_is_paused_goes_on_once_as_it_was_planned_under_a_delivery_of_its_own(shop: Shop) -> None:
    talk = await shop.said("Oi", name=f"Caio {uuid4().hex}")
    list_id, _ = await imported(shop, "Um", [f"Caio;{await phone_of(shop, talk)}"])
    await allow(shop)
    await done(shop, "POST", "/kill-switch:engage", {"reason": "Espera"})
    campaign = await new_campaign(shop, list_id)
    path = f"/campaigns/{campaign['campaign_id']}"
    await done(shop, "POST", f"{path}:start", {})
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and reason = 'KILLED'", campaign["campaign_id"]
    )
    paused = await done(shop, "POST", f"{path}:pause", {})
    assert (paused["state"], paused["reason"]) == ("PAUSED", "BY_HAND")
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'PLANNED'", campaign["campaign_id"]
    )
    # What was planned is what is sent, whatever the contact is called by now; resumed twice at once, it is sent once.
    for renamed in (
        "update identity.contacts set name = 'Outro Nome' where organization_id = %s returning 1",
        "update outreach.contact_list_members set name = 'Outro Nome' where organization_id = %s returning 1",
    ):
        assert await shop.world.rows(renamed, shop.harness.organization_id)
    await done(shop, "POST", "/kill-switch:lift", {})
    assert talk.left == []
    await asyncio.gather(*(done(shop, "POST", f"{path}:start", {}) for _ in range(2)))
    assert (await ended(shop, campaign))["state"] == "DONE"
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'DELIVERED'", campaign["campaign_id"]
    )
    assert talk.left == ["Oi Caio, temos pão de queijo novo!"]
    due = await shop.world.announced(SendDue, shop.harness.organization_id)
    assert len({fact.send_id for fact in due}) == 2
    assert len({fact.touch_id for fact in due}) == 1
    status, refused = await owner(shop, "POST", f"{path}:pause", {})
    assert (status, refused["reason"]) == (400, "CAMPAIGN_ENDED")


async def test_what_is_cancelled_is_never_sent_and_says_why(shop: Shop) -> None:
    talk = await shop.said("Oi", name=f"Davi {uuid4().hex}")
    await done(shop, "POST", "/kill-switch:engage", {"reason": "Espera"})
    stranger = "Eva;+5511977770001"
    list_id, _ = await imported(shop, "Dois", [f"Davi;{await phone_of(shop, talk)}", stranger])
    await allow(shop)
    campaign = await new_campaign(shop, list_id)
    path = f"/campaigns/{campaign['campaign_id']}"
    await done(shop, "POST", f"{path}:start", {})
    # Nobody on this number has ever heard of Eva: nothing can be sent to her there.
    (failed,) = await shop.world.until(
        "select reason, explanation from outreach.touches where campaign_id = %s and state = 'FAILED'",
        campaign["campaign_id"],
    )
    assert failed["reason"] == "CHANNEL_CANNOT_SEND"
    assert "no conversation" in failed["explanation"]
    cancelled = await done(shop, "POST", f"{path}:cancel", {})
    assert cancelled["state"] == "CANCELLED"
    await shop.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'CANCELLED'"
        " and reason = 'CAMPAIGN_CANCELLED'",
        campaign["campaign_id"],
    )
    await done(shop, "POST", "/kill-switch:lift", {})
    assert talk.left == []
    (withdrawn,) = await shop.world.announced(SendWithdrawn, shop.harness.organization_id)
    assert withdrawn.reason == "CAMPAIGN_CANCELLED"
    told = await shop.world.announced(CampaignChanged, shop.harness.organization_id)
    assert told[-1].version == max(fact.version for fact in told)
    status, refused = await owner(shop, "POST", f"{path}:start", {})
    assert (status, refused["reason"]) == (400, "CAMPAIGN_ENDED")


async def test_what_cannot_be_a_campaign_is_refused(shop: Shop) -> None:
    list_id = (await done(shop, "POST", "/contact-lists", {"name": "Vazia"}))["contact_list_id"]
    await shop.said("Oi")
    campaign = await new_campaign(shop, list_id)
    await allow(shop)
    for body, reason in (
        ({"text": "Oi {nome_do_cliente}"}, "TEXT_INVALID"),
        ({"text": "  "}, "TEXT_INVALID"),
        ({"contact_list_id": str(uuid4())}, "CONTACT_LIST_NOT_FOUND"),
        ({"channel_id": str(uuid4())}, "CHANNEL_NOT_FOUND"),
    ):
        made = {"name": "x", "contact_list_id": list_id, "channel_id": campaign["channel_id"], "text": "Oi"}
        assert (await owner(shop, "POST", "/campaigns", made | body))[1]["reason"] == reason
    status, refused = await owner(shop, "POST", f"/campaigns/{campaign['campaign_id']}:start", {})
    assert (status, refused["reason"]) == (400, "AUDIENCE_EMPTY")
    status, refused = await owner(shop, "POST", f"/campaigns/{uuid4()}:start", {})
    assert (status, refused["reason"]) == (404, "CAMPAIGN_NOT_FOUND")
    # One that was made before its channel was looked for.
    await shop.world.rows(
        "update outreach.campaigns set channel_id = %s where id = %s returning 1", uuid4(), campaign["campaign_id"]
    )
    status, refused = await owner(shop, "POST", f"/campaigns/{campaign['campaign_id']}:start", {})
    assert (status, refused["reason"]) == (404, "CHANNEL_NOT_FOUND")
