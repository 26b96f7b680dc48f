"""Redirects: who stands for whom is kept by event, newest first however events come, and by organization."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Database
from chassis.redirects import Redirects
from chassis.subscriptions import ConsumedEvent
from chassis.system import SERVICES
from tests.world import role_url

WHEN = datetime(2026, 3, 2, tzinfo=UTC)
LOST, ALSO_LOST, LEFT = sorted(uuid4() for _ in range(3))


class Redirect(NamedTuple):
    """As an event of identity tells of one."""

    contact_id: str
    surviving_contact_id: str
    version: int


class Told(NamedTuple):
    """An event of identity, as far as it tells of redirects."""

    redirects: list[Redirect]


def told(organization_id: UUID, *redirects: tuple[UUID, UUID | None, int]) -> ConsumedEvent[Any]:
    changes = [Redirect(str(lost), str(left or ""), version) for lost, left, version in redirects]
    return ConsumedEvent(cast("Any", Told(changes)), uuid4(), organization_id, WHEN, "")


@pytest_asyncio.fixture(loop_scope="session")
async def crm(database_url: str) -> AsyncIterator[Database]:
    db = Database.connect(role_url(database_url, "crm"))
    yield db
    await db.close()


async def test_a_merge_is_read_through_and_taken_back(crm: Database, organization_id: UUID) -> None:
    redirects = Redirects("crm")
    async with crm.transaction(organization_id) as tx:
        assert await redirects.resolve(tx, [LOST, LEFT]) == {LOST: LOST, LEFT: LEFT}
        merged = told(organization_id, (LOST, LEFT, 1), (ALSO_LOST, LEFT, 1))
        await redirects.handle(tx, [merged])
        assert await redirects.resolve(tx, [LOST, LEFT]) == {LOST: LEFT, LEFT: LEFT}
        assert await redirects.merged_into(tx, [LEFT, LOST]) == {LEFT: [LEFT, LOST, ALSO_LOST], LOST: [LOST]}
        await redirects.handle(tx, [told(organization_id, (LOST, None, 2))])
        # Published anew, or of a class that another reader hands over later.
        await redirects.handle(tx, [merged])
        assert await redirects.resolve(tx, [LOST, ALSO_LOST]) == {LOST: LOST, ALSO_LOST: LEFT}
        assert await redirects.merged_into(tx, [LEFT]) == {LEFT: [LEFT, ALSO_LOST]}


async def test_all_of_one_person_are_found_by_any_of_their_ids(crm: Database, organization_id: UUID) -> None:
    redirects, alone = Redirects("crm"), uuid4()
    async with crm.transaction(organization_id) as tx:
        await redirects.handle(tx, [told(organization_id, (LOST, LEFT, 1), (ALSO_LOST, LEFT, 1))])
        together = [LEFT, LOST, ALSO_LOST]
        assert await redirects.each_one_with(tx, [LOST, LEFT, alone]) == {
            LOST: together,
            LEFT: together,
            alone: [alone],
        }
        assert await redirects.one_with(tx, ALSO_LOST) == together
        assert await redirects.each_one_with(tx, []) == {}


async def test_of_several_changes_in_one_batch_the_newest_holds(crm: Database, organization_id: UUID) -> None:
    redirects = Redirects("crm")
    async with crm.transaction(organization_id) as tx:
        undone, merged = told(organization_id, (LOST, None, 2)), told(organization_id, (LOST, LEFT, 1))
        await redirects.handle(tx, [undone, merged])
        assert await redirects.resolve(tx, [LOST]) == {LOST: LOST}


async def test_another_organization_s_redirects_lead_nobody(crm: Database, organization_id: UUID) -> None:
    redirects, other = Redirects("crm"), uuid4()
    async with crm.transaction(other) as tx:
        await redirects.handle(tx, [told(other, (LOST, LEFT, 1))])
    async with crm.transaction(organization_id) as tx:
        assert await redirects.resolve(tx, [LOST]) == {LOST: LOST}
        assert await redirects.merged_into(tx, [LEFT]) == {LEFT: [LEFT]}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_statement_reads_through_redirects_in_one_go(
    database_url: str, service: str, organization_id: UUID
) -> None:
    db, redirects = Database.connect(role_url(database_url, service)), Redirects(service)
    survivor = redirects.survivor_of("mine.contact_id", "mine.organization_id")
    try:
        async with db.transaction(organization_id) as tx:
            await redirects.handle(tx, [told(organization_id, (LOST, LEFT, 1))])
            found = await tx.execute(
                f"select {survivor} from unnest(%(ids)b::uuid[]) with ordinality as given (contact_id, place),"
                " lateral (select given.contact_id, %(organization_id)s::uuid as organization_id) mine order by place",
                {"ids": [LOST, LEFT, ALSO_LOST], "organization_id": organization_id},
            )
            assert [one for (one,) in found] == [LEFT, LEFT, ALSO_LOST]
            together = redirects.one_with_of("mine.contact_id", "mine.organization_id")
            found = await tx.execute(
                "select array_agg(one.contact_id) from unnest(%(ids)b::uuid[]) with ordinality as given (contact_id,"
                " place), lateral (select given.contact_id, %(organization_id)s::uuid as organization_id) mine,"
                f" lateral {together} one group by place order by place",
                {"ids": [LOST, LEFT, ALSO_LOST], "organization_id": organization_id},
            )
            assert [one for (one,) in found] == [[LEFT, LOST], [LEFT, LOST], [ALSO_LOST]]
    finally:
        await db.close()
