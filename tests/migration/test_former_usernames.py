"""Former usernames move from arrays of their identity into rows, and back, whichever release changes one meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import migrate
from tests.conftest import TEMPLATE
from tests.isolation.catalogue import connect, rows
from tests.migration.conftest import NewDatabase
from tests.migration.test_migrations import down_to

BEFORE = "identity_0013"
NOW = datetime(2026, 3, 20, tzinfo=UTC)
ORGANIZATIONS = (uuid4(), uuid4())
# As the release before writes a change of name.
RENAME = """
update identity.contact_identities identity set username = %s, update_time = %s,
  former_usernames = array_prepend(username, former_usernames),
  former_username_times = array_prepend(%s::timestamptz, former_username_times)
where organization_id = %s returning 1
"""


def add_identity(admin: Any, organization_id: UUID, username: str, former: list[str]) -> None:
    """One contact with an account that had other names before, each given up a day before the next."""
    contact_id = uuid4()
    admin.execute(
        "insert into identity.contacts (organization_id, contact_id, name, phone, email, tags, version, create_time,"
        " update_time) values (%s, %s, 'Caio', '', '', '{}', 1, %s, %s)",
        [organization_id, contact_id, NOW, NOW],
    )
    admin.execute(
        "insert into identity.contact_identities (organization_id, contact_identity_id, contact_id, source,"
        " external_id, address, username, former_usernames, former_username_times, create_time, update_time)"
        " values (%s, %s, %s, 'INSTAGRAM', '17840000000000001', '', %s, %s, %s, %s, %s)",
        [
            organization_id,
            uuid4(),
            contact_id,
            username,
            former,
            [NOW - timedelta(days=days) for days in range(len(former))],
            NOW,
            NOW,
        ],
    )


def in_rows(url: str) -> dict[UUID, list[str]]:
    """What the table holds, the latest first."""
    with connect(url) as admin:
        found = rows(admin, "select * from identity.former_usernames order by end_time desc")
    return {each: [row["username"] for row in found if row["organization_id"] == each] for each in ORGANIZATIONS}


def in_arrays(url: str) -> dict[UUID, list[str]]:
    """What the identities hold, in their order."""
    with connect(url) as admin:
        found = rows(
            admin, "select organization_id, former_usernames, former_username_times from identity.contact_identities"
        )
    assert all(len(row["former_usernames"]) == len(row["former_username_times"]) for row in found)
    return {row["organization_id"]: row["former_usernames"] for row in found}


@pytest.mark.case("F34")
async def test_former_usernames_are_moved_and_put_back(new_database: NewDatabase) -> None:
    first, second = ORGANIZATIONS
    url = await new_database(TEMPLATE)
    await asyncio.to_thread(down_to, url, "identity", BEFORE)
    with connect(url) as admin:
        # Of a name that was there twice the later end counts.
        add_identity(admin, first, "agora", ["ontem", "antes", "ontem"])
        add_identity(admin, second, "agora", [])
    await asyncio.to_thread(migrate.migrate_up, url, ["identity"])
    assert in_rows(url) == {first: ["ontem", "antes"], second: []}
    assert in_arrays(url) == {first: [], second: []}
    with connect(url) as admin:
        for organization_id in ORGANIZATIONS:
            later = NOW + timedelta(days=1)
            assert rows(admin, RENAME, "novo", later, later, organization_id)
    assert in_rows(url) == {first: ["agora", "ontem", "antes"], second: ["agora"]}
    assert in_arrays(url) == {first: [], second: []}
    await asyncio.to_thread(down_to, url, "identity", BEFORE)
    assert in_arrays(url) == {first: ["agora", "ontem", "antes"], second: ["agora"]}
    await asyncio.to_thread(migrate.migrate_up, url, ["identity"])
    assert in_rows(url) == {first: ["agora", "ontem", "antes"], second: ["agora"]}
