"""Who asks one number of a business to be left alone is left alone by all of them, whatever waits to be sent."""

from __future__ import annotations

from uuid import UUID

import pytest

from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from tests.evolution import PHONE, Admin
from tests.integration.instances.test_first_messages import allow, started, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.req("OU-06")
async def test_nothing_that_is_queued_for_who_wrote_sair_leaves_by_any_number(admin: Admin) -> None:
    numbers = [await admin.connected("Vendas", "+5511960007001"), await admin.connected("Suporte", "+5511960007002")]
    await allow(admin)
    organization_id = UUID(str(admin.harness.organization_id))
    sending = admin.world.as_user(organization_id).stub(SendServiceStub)
    for _, instance in numbers:
        admin.fake.world.person_writes(instance, PHONE, "Tem vaga?", "Marisa")
    await admin.done(2)
    # Held in the queue of each number, and let go only when the word has come.
    await sending.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason="Espera"))
    campaign_ids = [await started(admin, made["channel_id"], PHONE) for made, _ in numbers]
    for campaign_id in campaign_ids:
        await admin.world.until(
            "select 1 from outreach.touches where campaign_id = %s and reason = 'KILLED'", campaign_id
        )
    admin.fake.world.person_writes(numbers[0][1], PHONE, "SAIR", "Marisa")
    await admin.world.until("select 1 from outreach.suppressions where organization_id = %s", organization_id)
    await sending.LiftKillSwitch(send_pb.LiftKillSwitchRequest(reason="Passou"))
    for campaign_id in campaign_ids:
        [touch] = await until(admin, campaign_id, "SUPPRESSED", 1)
        assert touch["reason"] == "SUPPRESSED"
    await admin.world.until(
        "select 1 from conversation.deliveries where organization_id = %s and send_class = 'CONFIRMATION'"
        " and state = 'SENT'",
        organization_id,
    )
    [confirmation] = admin.fake.world.sent
    assert (confirmation.instance, "VOLTAR" in confirmation.text) == (numbers[0][1].name, True)
