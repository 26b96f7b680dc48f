"""People decide tasks, identity does it, and the task says what came of it; whatever stops in between."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio

from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.events_pb2 import ReconciliationTaskDecided
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.v1 import options_pb2
from tests.integration.crm.deals import crm
from tests.integration.identity.cast import INSTAGRAM, WHATSAPP, given_organization, new_igsid, new_phone, resolve_one
from tests.world import World, error_info

TARGETS = ("identity", "crm")


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World) -> UUID:
    """An organization of the test's own."""
    return await given_organization(world)


async def given_task(world: World, shop: UUID) -> pb.ReconciliationTask:
    """An open task about two people: who has the identity, and who carries its phone."""
    igsid, phone = new_igsid(), new_phone()
    await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="Ana")
    await resolve_one(world, shop, source=WHATSAPP, external_id=phone, phone=phone, name="Rui")
    await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone)
    await world.until(
        "select 1 from crm.reconciliation_tasks where organization_id = %s and external_id = %s", *(shop, igsid)
    )
    (task,) = await tasks(world, shop, state=pb.TASK_STATE_OPEN)
    return task


async def tasks(world: World, shop: UUID, **wanted: Any) -> list[pb.ReconciliationTask]:
    """The tasks that a list shows."""
    answer = await crm(world, shop).ListReconciliationTasks(pb.ListReconciliationTasksRequest(**wanted))
    return list(answer.tasks)


def other_than(task: pb.ReconciliationTask) -> str:
    """The task's contact who has not the identity."""
    (other,) = set(task.candidate_contact_ids) - {task.contact_id}
    return other


async def accept(world: World, shop: UUID, task: pb.ReconciliationTask, **fields: Any) -> pb.ReconciliationTask:
    """Accepts a task."""
    request = pb.AcceptReconciliationTaskRequest(reconciliation_task_id=task.reconciliation_task_id, **fields)
    answer: pb.ReconciliationTask = await crm(world, shop).AcceptReconciliationTask(request)
    return answer


async def reject(world: World, shop: UUID, task: pb.ReconciliationTask, **fields: Any) -> pb.ReconciliationTask:
    """Rejects a task."""
    request = pb.RejectReconciliationTaskRequest(reconciliation_task_id=task.reconciliation_task_id, **fields)
    answer: pb.ReconciliationTask = await crm(world, shop).RejectReconciliationTask(request)
    return answer


async def refusal(call: Any) -> Any:
    """How a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return error_info(refused.value)


async def test_accepting_as_one_merges_and_says_which_merges(world: World, shop: UUID) -> None:
    task = await given_task(world, shop)
    survivor = other_than(task)
    request_id = str(uuid4())
    decided = await accept(
        world, shop, task, surviving_contact_id=survivor, merge=True, etag=task.etag, request_id=request_id
    )
    assert (decided.state, decided.merged, decided.surviving_contact_id) == (pb.TASK_STATE_ACCEPTED, True, survivor)
    contacts = world.as_user(shop).stub(ContactServiceStub)
    merges = (await contacts.ListContactMerges(identity_pb.ListContactMergesRequest())).contact_merges
    assert [each.contact_merge_id for each in merges] == list(decided.contact_merge_ids)
    assert merges[0].identity_conflict_id == task.identity_conflict_id
    assert merges[0].merged_by == decided.decided_by
    # The same again, by its request or by what it asks, is answered as it is; anything else is refused.
    again = {"surviving_contact_id": survivor, "merge": True}
    assert await accept(world, shop, task, **again, etag=task.etag, request_id=request_id) == decided
    assert await accept(world, shop, task, **again) == decided
    assert (await refusal(accept(world, shop, task, **again, etag=task.etag))).reason == "ETAG_STALE"
    refused = await refusal(reject(world, shop, task))
    assert (refused.reason, refused.metadata["state"]) == ("TASK_DECIDED", "ACCEPTED")
    (fact,) = await world.announced(ReconciliationTaskDecided, shop)
    assert fact.task == decided
    assert await tasks(world, shop, state=pb.TASK_STATE_OPEN) == []
    assert await tasks(world, shop, contact_id=task.contact_id) == [decided]


async def test_accepting_for_one_gives_them_the_identity_and_merges_nobody(world: World, shop: UUID) -> None:
    task = await given_task(world, shop)
    survivor = other_than(task)
    decided = await accept(world, shop, task, surviving_contact_id=survivor)
    assert (decided.state, decided.merged, list(decided.contact_merge_ids)) == (pb.TASK_STATE_ACCEPTED, False, [])
    assert (await resolve_one(world, shop, source=INSTAGRAM, external_id=task.external_id)).contact_id == survivor


async def test_what_was_rejected_is_not_asked_about_again(world: World, shop: UUID) -> None:
    task = await given_task(world, shop)
    stranger = str(uuid4())
    assert (await refusal(accept(world, shop, task, surviving_contact_id=stranger))).reason == "SURVIVOR_INVALID"
    unknown = pb.ReconciliationTask(reconciliation_task_id=stranger)
    assert (await refusal(reject(world, shop, unknown))).reason == "TASK_NOT_FOUND"
    decided = await reject(world, shop, task)
    assert (decided.state, decided.surviving_contact_id) == (pb.TASK_STATE_REJECTED, "")
    phones = await world.rows("select phone from identity.contacts where contact_id = %s", other_than(task))
    await resolve_one(world, shop, source=INSTAGRAM, external_id=task.external_id, phone=phones[0]["phone"])
    conflicts = await world.rows("select 1 from identity.identity_conflicts where organization_id = %s", shop)
    assert len(conflicts) == 1


async def test_a_task_follows_what_identity_decided_though_nobody_asks_again(world: World, shop: UUID) -> None:
    # As where crm was stopped after identity's answer and before its own commit.
    task = await given_task(world, shop)
    await (
        world.as_service("crm", shop)
        .stub(ContactServiceStub)
        .DecideIdentityConflict(
            identity_pb.DecideIdentityConflictRequest(
                identity_conflict_id=task.identity_conflict_id,
                decision=identity_pb.CONFLICT_DECISION_MERGE,
                surviving_contact_id=task.contact_id,
                decided_by=options_pb2.Actor(principal="user:1", name="ana@example.com"),
            )
        )
    )
    await world.until(
        "select 1 from crm.reconciliation_tasks where organization_id = %s and state = 'ACCEPTED' and merged", shop
    )
    (decided,) = await tasks(world, shop, state=pb.TASK_STATE_ACCEPTED)
    assert (decided.decided_by.name, len(decided.contact_merge_ids)) == ("ana@example.com", 1)
    again = await accept(world, shop, task, surviving_contact_id=task.contact_id, merge=True)
    assert again == decided
    assert (await refusal(reject(world, shop, task))).metadata["decided_by"] == "ana@example.com"
