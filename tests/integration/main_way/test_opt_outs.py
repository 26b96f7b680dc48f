"""A contact who writes SAIR is suppressed at once, and one confirmation is due; VOLTAR lets them come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest_asyncio

from prosa.outreach.v1.events_pb2 import SendDue, SuppressionCreated, SuppressionLifted
from prosa.v1 import options_pb2
from tests.integration.main_way.answering import Shop, bearer, shop_of
from tests.world import World


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


async def heard(shop: Shop) -> None:
    """Waits until outreach has consumed all that contacts wrote."""
    await shop.world.until(
        "select 1 where not exists (select from conversation.outbox sent where sent.organization_id = %s"
        " and sent.type = 'prosa.conversation.v1.MessageReceived' and not exists"
        " (select from outreach.consumed_events heard where heard.event_id = sent.event_id))",
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
