"""A contact who writes SAIR is suppressed at once, and one confirmation is due; VOLTAR lets them come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest_asyncio

from prosa.outreach.v1.events_pb2 import SendDue, SuppressionCreated, SuppressionLifted
from prosa.v1 import options_pb2
from sandbox.chatwoot.people import Person
from tests.integration.main_way.answering import Shop, bearer, shop_of
from tests.world import AGENT, World


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def call(shop: Shop, method: str, path: str, body: Any = None) -> Any:
    """What the REST interface answers somebody of the staff."""
    harness = shop.harness
    async with harness.session.request(method, harness.url + path, json=body, headers=bearer(harness)) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return answer


async def sure(shop: Shop, path: str, body: Any) -> Any:
    """What somebody is answered who has just shown a second factor."""
    harness = shop.harness
    token, _ = harness.world.host.signer("identity").person_token(
        kind="user",
        principal=f"user:{uuid4()}",
        organization_id=harness.organization_id,
        role=AGENT,
        mfa_time=harness.world.clock.now(),
        mfa_set_up=True,
    )
    headers = {"Authorization": f"Bearer {token}"}
    async with harness.session.post(harness.url + path, json=body, headers=headers) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return answer


async def heard(shop: Shop) -> None:
    """Waits until outreach has read all that contacts wrote for what they ask."""
    await shop.world.until(
        "select 1 where not exists (select from conversation.outbox sent where sent.organization_id = %s"
        " and sent.type = 'prosa.conversation.v1.MessageReceived' and not exists"
        " (select from outreach.consumed_events heard where heard.event_id = sent.event_id"
        " and heard.consumer = 'opt_outs'))",
        shop.harness.organization_id,
    )


async def test_who_writes_sair_is_suppressed_with_their_words_and_confirmed_once(shop: Shop) -> None:
    organization_id = shop.harness.organization_id
    name = f"Bia {uuid4().hex}"
    await shop.said("Oi", name=name)
    talk = await shop.said("Sair.", name=name)
    await heard(shop)
    (kept,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert (kept["origin"], kept["reason"], kept["evidence"]) == ("CONTACT", "Sair.", "sair")
    assert kept["message_id"] == talk.message_id
    (due,) = await shop.world.announced(SendDue, organization_id)
    assert (due.suppression_id, due.send_class) == (kept["suppression_id"], options_pb2.SEND_CLASS_CONFIRMATION)
    assert due.contact_id == kept["contact_id"]
    assert "VOLTAR" in due.text
    # Whoever says it again is left alone already.
    await shop.said("PARAR", name=name)
    await heard(shop)
    assert len(await shop.world.announced(SuppressionCreated, organization_id)) == 1
    assert len(await shop.world.announced(SendDue, organization_id)) == 1


async def test_who_writes_sair_where_the_staff_had_suppressed_them_is_left_alone_when_the_staff_ends_theirs(
    shop: Shop,
) -> None:
    organization_id, name = shop.harness.organization_id, f"Davi {uuid4().hex}"
    talk = await shop.said("Oi", name=name)
    shown = await call(shop, "GET", f"/api/v1/conversations/{talk.conversation_id}")
    address = {"source": "WHATSAPP", "external_id": shown["conversation_key"].partition(":")[2]}
    staff = await call(
        shop, "POST", "/api/v1/suppressions", {**address, "contact_id": shown["contact_id"], "reason": "Ao telefone"}
    )
    await shop.said("SAIR", name=name)
    await heard(shop)
    own, first = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert first == staff
    assert (own["origin"], own["reason"], own["contact_id"]) == ("CONTACT", "SAIR", shown["contact_id"])
    # Confirmed as if nobody had decided anything, and once.
    await shop.world.until(
        "select 1 from conversation.deliveries where organization_id = %s and send_class = 'CONFIRMATION'"
        " and state = 'DELIVERED'",
        organization_id,
    )
    await shop.said("Parar", name=name)
    await heard(shop)
    assert len(await shop.world.announced(SendDue, organization_id)) == 1
    await call(shop, "POST", f"/api/v1/suppressions/{staff['suppression_id']}:lift", {"reason": "Por engano"})
    (holds,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert holds["suppression_id"] == own["suppression_id"]
    # Both ways: what the staff decides while the contact's word holds stays when that ends.
    staff = await call(shop, "POST", "/api/v1/suppressions", {**address, "reason": "De novo"})
    await shop.said("voltar", name=name)
    await heard(shop)
    (holds,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert holds == staff


async def test_who_was_one_of_two_is_left_alone_as_if_they_had_never_been_one(shop: Shop) -> None:
    """While Eva and Fábio are taken for one, either asks for no more, and the other for more."""
    world, organization_id = shop.world, shop.harness.organization_id
    names = f"Eva {uuid4().hex}", f"Fábio {uuid4().hex}"
    phones, people = [Person.named(name).phone for name in names], []
    for name, phone in zip(names, phones, strict=True):
        person = {"source": "WHATSAPP", "external_id": phone, "name": name}
        people.append((await shop.harness.send("/api/v1/contacts:ensure", person))[1]["contact_id"])
    eva, fabio = people
    merged = await sure(shop, f"/api/v1/contacts/{eva}:merge", {"losing_contact_id": fabio})
    await shop.said("SAIR", name=names[1])
    await heard(shop)
    (first,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert (first["external_id"], first["contact_id"]) == (phones[1], eva)
    for words, name, held_count in [("voltar", names[0], 0), ("SAIR", names[0], 1), ("voltar", names[1], 0)]:
        # The one person's words, as far as anybody knows.
        await shop.said(words, name=name)
        await heard(shop)
        assert len((await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]) == held_count

    await sure(shop, f"/api/v1/contact-merges/{merged['contact_merge_id']}:undo", {})
    await world.until(
        "select 1 from outreach.consumed_events told join identity.outbox sent on sent.event_id = told.event_id"
        " where sent.organization_id = %s and sent.type = 'prosa.identity.v1.ContactMergeUndone'"
        " and told.consumer = 'opt_outs_of_undone_merges'",
        organization_id,
    )
    # Neither asked to come back.
    held = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert {(one["contact_id"], one["external_id"]) for one in held} == {(eva, phones[0]), (fabio, phones[1])}
    for contact_id in (eva, fabio):
        assert len((await call(shop, "GET", f"/api/v1/suppressions?contact_id={contact_id}"))["suppressions"]) == 1
    # Each comes back by their own word, and frees nobody else.
    await shop.said("voltar", name=names[0])
    await heard(shop)
    (left,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert left["contact_id"] == fabio
    # Nor does who is merged with them since.
    await sure(shop, f"/api/v1/contacts/{eva}:merge", {"losing_contact_id": fabio})
    await shop.said("voltar", name=names[0])
    await heard(shop)
    assert len((await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]) == 1
    await shop.said("voltar", name=names[1])
    await heard(shop)
    assert (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"] == []


async def test_who_writes_about_leaving_is_not_suppressed(shop: Shop) -> None:
    await shop.said("Vou sair às 18h, dá tempo?")
    await heard(shop)
    assert (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"] == []
    assert await shop.world.announced(SendDue, shop.harness.organization_id) == []


async def test_who_writes_voltar_comes_back_unless_the_staff_decided_otherwise(shop: Shop) -> None:
    name = f"Caio {uuid4().hex}"
    await shop.said("SAIR", name=name)
    await heard(shop)
    (own,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    await shop.said("voltar", name=name)
    await heard(shop)
    assert (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"] == []
    shown = await call(shop, "GET", f"/api/v1/suppressions/{own['suppression_id']}")
    assert (shown["lift_reason"], bool(shown["lift_time"])) == ("voltar", True)
    assert len((await call(shop, "GET", "/api/v1/suppressions?include_lifted=true"))["suppressions"]) == 1
    (lifted,) = await shop.world.announced(SuppressionLifted, shop.harness.organization_id)
    assert lifted.suppression.suppression_id == own["suppression_id"]
    address = {"source": "WHATSAPP", "external_id": own["external_id"], "reason": "Reclamou ao telefone"}
    staff = await call(shop, "POST", "/api/v1/suppressions", address)
    await shop.said("voltar", name=name)
    await heard(shop)
    (holds,) = (await call(shop, "GET", "/api/v1/suppressions"))["suppressions"]
    assert holds["suppression_id"] == staff["suppression_id"]
    # The staff ends by hand what the staff decided, once.
    path = f"/api/v1/suppressions/{staff['suppression_id']}:lift"
    ended = await call(shop, "POST", path, {"reason": "Pediu para voltar"})
    assert (ended["lift_reason"], ended["lifted_by"]["name"]) == ("Pediu para voltar", "larissa@escola-ipe.example")
    again = await call(shop, "POST", path, {"reason": "De novo"})
    assert again == ended
    assert len(await shop.world.announced(SuppressionLifted, shop.harness.organization_id)) == 2
