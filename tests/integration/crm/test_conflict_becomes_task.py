"""From two people who could be meant, in identity, to one task for people, in CRM: over the real stream."""

from __future__ import annotations

from uuid import UUID

import pytest

from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from tests.integration.crm.deals import crm, ensure_one
from tests.integration.identity.cast import INSTAGRAM, WHATSAPP, given_organization, new_igsid, new_phone, resolve_one
from tests.world import World

TARGETS = ("identity", "crm")


@pytest.mark.req("ID-07", "CR-07")
async def test_a_conflict_keeps_the_link_and_opens_one_task_and_one_log_row(world: World) -> None:
    organization_id = await given_organization(world)
    igsid, phone = new_igsid(), new_phone()
    ana = await resolve_one(world, organization_id, source=INSTAGRAM, external_id=igsid, name="Ana")
    rui = await resolve_one(world, organization_id, source=WHATSAPP, external_id=phone, phone=phone, name="Rui")
    deal = await ensure_one(world, organization_id, UUID(ana.contact_id))
    links = "select * from identity.contact_identities where organization_id = %s order by contact_identity_id"
    before = await world.rows(links, organization_id)

    for _ in range(2):
        met = await resolve_one(world, organization_id, source=INSTAGRAM, external_id=igsid, phone=phone)
        assert met.contact_id == ana.contact_id
    # Another conflict, heard of last: when it has its task, those before it have had theirs.
    other_organization_id = await given_organization(world)
    await resolve_one(world, other_organization_id, source=INSTAGRAM, external_id=igsid, name="Ana")
    await resolve_one(world, other_organization_id, source=WHATSAPP, external_id=phone, phone=phone)
    await resolve_one(world, other_organization_id, source=INSTAGRAM, external_id=igsid, phone=phone)
    await world.until("select 1 from crm.reconciliation_tasks where organization_id = %s", other_organization_id)

    assert await world.rows(links, organization_id) == before
    answer = await crm(world, organization_id).ListReconciliationTasks(
        pb.ListReconciliationTasksRequest(state=pb.TASK_STATE_OPEN)
    )
    (task,) = answer.tasks
    assert (task.source, task.external_id, task.contact_id) == (INSTAGRAM, igsid, ana.contact_id)
    assert set(task.candidate_contact_ids) == {ana.contact_id, rui.contact_id}
    logged = await world.rows(
        "select action from identity.messaging_identity_resolution_log"
        " where organization_id = %s and action = 'ambiguous'",
        organization_id,
    )
    assert len(logged) == 1
    assert met.outcome == identity_pb.RESOLUTION_OUTCOME_MATCHED
    assert (await ensure_one(world, organization_id, UUID(ana.contact_id))).deal_id == deal.deal_id
