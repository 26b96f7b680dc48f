"""What an organization may have of imports at a time, also where several are begun or uploaded at once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from services.outreach.lists.limits import FILES_BYTES_MAX, IMPORTS_OPEN_MAX, LISTS_MAX
from tests.integration.identity.cast import given_organization
from tests.integration.outreach.test_imports import Clerk, rows
from tests.world import World

TARGETS = ("identity", "outreach", "gateway")


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization that no other test knows."""
    return await given_organization(world)


@pytest.fixture
def clerk(world: World, organization_id: UUID) -> Clerk:
    """An agent of it."""
    return Clerk(world, organization_id)


async def begin(clerk: Clerk, list_id: str) -> tuple[int, Any]:
    """What a new import is answered."""
    return await clerk.call("POST", "/contact-imports", {"contact_list_id": list_id})


async def pretend(world: World, import_id: str, file_size: int) -> None:
    """Makes of an import's file one of that size, as far as anybody looks without reading it."""
    await world.rows(
        "update outreach.contact_imports set file_size = %s where id = %s returning 1", file_size, import_id
    )


async def test_the_files_of_imports_that_were_only_tried_count(
    world: World, organization_id: UUID, clerk: Clerk
) -> None:
    list_id, data = await clerk.new_list(), rows(2)
    tried_id = await clerk.new_import(list_id, data)
    assert (await clerk.run(world, tried_id, dry_run=True))["state"] == "DONE"
    _, made = await begin(clerk, list_id)
    path = f"/contact-imports/{made['contact_import_id']}/file"
    await pretend(world, tried_id, FILES_BYTES_MAX - len(data) + 1)
    status, refused = await clerk.call("PUT", path, data=data)
    assert (status, refused["reason"]) == (429, "IMPORTS_LIMITED")
    assert "2048 MiB" in refused["detail"]
    # To the very byte; and what is kept already may be sent again.
    await pretend(world, tried_id, FILES_BYTES_MAX - len(data))
    for _ in range(2):
        assert (await clerk.call("PUT", path, data=data))[0] == 200
    more = {"Content-Range": f"bytes {len(data)}-{len(data)}/*"}
    status, refused = await clerk.call("PUT", path, data=b"x", headers=more)
    assert (status, refused["reason"]) == (429, "IMPORTS_LIMITED")
    # Others are not concerned.
    other = Clerk(world, await given_organization(world))
    await other.new_import(await other.new_list(), data)
    # What the refusal says helps: an import that was read to its end has no file any more.
    await pretend(world, tried_id, len(data))
    assert (await clerk.run(world, tried_id))["state"] == "DONE"
    await pretend(world, tried_id, FILES_BYTES_MAX)
    assert (await clerk.call("PUT", path, data=b"x", headers=more))[0] == 200


async def test_files_that_are_uploaded_at_once_pass_the_limit_together_no_more_than_alone(
    world: World, clerk: Clerk
) -> None:
    list_id, data = await clerk.new_list(), rows(2)
    await pretend(world, await clerk.new_import(list_id, data), FILES_BYTES_MAX - len(data))
    paths = [f"/contact-imports/{(await begin(clerk, list_id))[1]['contact_import_id']}/file" for _ in range(2)]
    async with await world.admin() as blocker:
        async with blocker.transaction():
            # Whoever was let through waits here with what they write.
            await blocker.execute("lock table outreach.import_parts in share mode")
            uploads = [asyncio.create_task(clerk.call("PUT", path, data=data)) for path in paths]
            await world.until_waiting_on_locks(2)
        answers = await asyncio.gather(*uploads)
    assert sorted(status for status, _ in answers) == [200, 429], answers


async def test_imports_that_are_begun_at_once_pass_the_limit_together_no_more_than_alone(
    world: World, organization_id: UUID, clerk: Clerk
) -> None:
    lists = [await clerk.new_list(name) for name in ("Um", "Dois")]
    for _ in range(IMPORTS_OPEN_MAX - 1):
        assert (await begin(clerk, lists[0]))[0] == 200
    async with await world.admin() as blocker:
        async with blocker.transaction():
            await blocker.execute("lock table outreach.contact_imports in share mode")
            begun = [asyncio.create_task(begin(clerk, list_id)) for list_id in lists]
            await world.until_waiting_on_locks(2)
        answers = await asyncio.gather(*begun)
    assert sorted(status for status, _ in answers) == [200, 429], answers
    (refused,) = [answer for status, answer in answers if status == 429]
    assert refused["reason"] == "IMPORTS_LIMITED"
    (kept,) = await world.rows(
        "select count(*) as count from outreach.contact_imports where organization_id = %s", organization_id
    )
    assert kept["count"] == IMPORTS_OPEN_MAX


async def test_lists_that_are_made_at_once_pass_the_limit_together_no_more_than_alone(
    world: World, organization_id: UUID, clerk: Clerk
) -> None:
    await world.rows(
        "insert into outreach.contact_lists"
        " (organization_id, id, name, folded_name, member_count, create_time, version)"
        " select %s, gen_random_uuid(), 'L' || number, 'l' || number, 0, now(), 1 from generate_series(2, %s) as number"
        " returning 1",
        organization_id,
        LISTS_MAX,
    )
    async with await world.admin() as blocker:
        async with blocker.transaction():
            await blocker.execute("lock table outreach.contact_lists in share mode")
            made = [
                asyncio.create_task(clerk.call("POST", "/contact-lists", {"name": name})) for name in ("Um", "Dois")
            ]
            await world.until_waiting_on_locks(2)
        answers = await asyncio.gather(*made)
    assert sorted(status for status, _ in answers) == [200, 429], answers
    (refused,) = [answer for status, answer in answers if status == 429]
    assert refused["reason"] == "LISTS_LIMITED"
