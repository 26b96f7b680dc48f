"""A conflict of identities, as identity announces it, becomes one task for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from chassis import wire
from chassis.leases import Leases
from chassis.outbox import Fact, Outbox
from chassis.relay import Relay
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.events_pb2 import ReconciliationTaskOpened
from prosa.identity.v1.events_pb2 import IdentityConflictDetected
from prosa.v1 import options_pb2
from tests.integration.crm.deals import crm
from tests.world import World, unheard

TARGETS = ("crm",)

CONFLICT_TIME = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def a_conflict(organization_id: UUID, candidates: Sequence[UUID] = ()) -> IdentityConflictDetected:
    return IdentityConflictDetected(
        organization_id=str(organization_id),
        identity_conflict_id=str(uuid4()),
        source=options_pb2.SOURCE_INSTAGRAM,
        external_id="17841400000000000",
        contact_id=str(uuid4()),
        candidate_contact_ids=[str(candidate) for candidate in candidates],
        create_time=wire.to_timestamp(CONFLICT_TIME),
    )


@asynccontextmanager
async def identity_publishing(world: World) -> AsyncIterator[None]:
    """Identity's relay at work beside CRM, as it is when the whole suite runs."""
    database = world.database("identity")
    leases = Leases(database, "identity", uuid4())
    relay = asyncio.create_task(Relay("identity", database, leases, world.host.nats, world.host.metrics).run())
    try:
        yield
    finally:
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)


async def announce(world: World, *conflicts: IdentityConflictDetected) -> None:
    """Leaves facts in identity's outbox, each under an event id of its own."""
    facts = [Fact(UUID(conflict.organization_id), conflict, correlation_id="event-7") for conflict in conflicts]
    async with world.database("identity").transaction(*{fact.organization_id for fact in facts}) as tx:
        await Outbox("identity", world.host.ids, unheard).add(tx, facts, world.clock.now())


async def tasks_of(
    world: World, organization_id: UUID, request: pb.ListReconciliationTasksRequest | None = None
) -> list[pb.ReconciliationTask]:
    answer = await crm(world, organization_id).ListReconciliationTasks(request or pb.ListReconciliationTasksRequest())
    return list(answer.tasks)


async def until_task(world: World, conflict: IdentityConflictDetected) -> None:
    await world.until(
        "select 1 from crm.reconciliation_tasks where identity_conflict_id = %s", UUID(conflict.identity_conflict_id)
    )


async def test_a_conflict_opens_one_task_however_often_it_is_heard_of(world: World, organization_id: UUID) -> None:
    candidates = sorted([uuid4(), uuid4()])
    conflict, last = a_conflict(organization_id, candidates), a_conflict(organization_id)
    async with identity_publishing(world):
        await announce(world, conflict, conflict)
        await announce(world, conflict, last)
        # Facts come in order: once the last has its task, those before it have had their effect.
        await until_task(world, last)
    second, task = await tasks_of(world, organization_id)
    assert second.contact_id == last.contact_id
    assert (task.source, task.external_id) == (options_pb2.SOURCE_INSTAGRAM, "17841400000000000")
    assert (task.contact_id, task.state) == (conflict.contact_id, pb.TASK_STATE_OPEN)
    assert list(task.candidate_contact_ids) == [str(candidate) for candidate in candidates]
    opened = await world.announced(ReconciliationTaskOpened, organization_id)
    assert [fact.task for fact in opened] == [task, second]
    rows = await world.rows("select correlation_id from crm.outbox where organization_id = %s", organization_id)
    assert {row["correlation_id"] for row in rows} == {"event-7"}


async def test_conflicts_of_several_organizations_that_come_together_stay_apart(
    world: World, organization_id: UUID
) -> None:
    mine, theirs = a_conflict(organization_id), a_conflict(uuid4())
    async with identity_publishing(world):
        await announce(world, mine, theirs)
        await until_task(world, mine)
        await until_task(world, theirs)
    assert [task.contact_id for task in await tasks_of(world, organization_id)] == [mine.contact_id]
    assert [task.contact_id for task in await tasks_of(world, UUID(theirs.organization_id))] == [theirs.contact_id]


@pytest.mark.parametrize(("state", "count"), [(pb.TASK_STATE_OPEN, 3), (pb.TASK_STATE_ACCEPTED, 0)])
async def test_tasks_are_listed_newest_first_by_state(
    world: World, organization_id: UUID, state: pb.TaskState.ValueType, count: int
) -> None:
    conflicts = [a_conflict(organization_id) for _ in range(3)]
    async with identity_publishing(world):
        await announce(world, *conflicts)
        await until_task(world, conflicts[-1])
    tasks = await tasks_of(world, organization_id, pb.ListReconciliationTasksRequest(state=state))
    assert len(tasks) == count
    expected = [conflict.contact_id for conflict in reversed(conflicts)]
    assert [task.contact_id for task in await tasks_of(world, organization_id)] == expected
    page = await crm(world, organization_id).ListReconciliationTasks(pb.ListReconciliationTasksRequest(page_size=2))
    rest = await crm(world, organization_id).ListReconciliationTasks(
        pb.ListReconciliationTasksRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [task.contact_id for task in [*page.tasks, *rest.tasks]] == expected
