"""Lists and their members in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.redirects import Redirects
from services.outreach.lists.domain import ContactList, Member
from services.outreach.lists.limits import AUDIENCE_COUNTED_MAX, MEMBERS_READ_MAX
from services.outreach.store import suppressed

REDIRECTS = Redirects("outreach")
_COLUMNS = "organization_id, id, name, create_time, member_count, version"

_INSERT = f"""
insert into outreach.contact_lists ({_COLUMNS}, folded_name)
select %(organization_id)s, %(id)s, %(name)s, %(create_time)s, 0, 1, %(folded_name)s
where (select count(*) from outreach.contact_lists where organization_id = %(organization_id)s) < %(lists_max)s
on conflict (organization_id, folded_name) do nothing
returning id
"""

_FIND = f"select {_COLUMNS} from outreach.contact_lists where organization_id = %(organization_id)s"

# The page is taken first; all else is asked of its rows alone, each by key. A survivor who stood in the conditions as
# the look-up that it is would have all redirects read for every member.
_MEMBERS = f"""
with page as (
  select * from outreach.contact_list_members
  where organization_id = %(organization_id)s and contact_list_id = %(contact_list_id)s
    and id < coalesce(%(before)s, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  order by id desc limit %(row_limit)s
), shown as materialized (
  select page.*, {REDIRECTS.survivor_of("page.contact_id", "page.organization_id")} as survivor from page
)
select id, survivor, source, external_id, name, add_time,
  {suppressed("shown.organization_id", "shown.source", "shown.external_id", "shown.survivor")} as suppressed
from shown order by id desc
"""

_IDS_OF_CONTACTS = """
select contact_id, id from outreach.contact_list_members
where organization_id = %(organization_id)s and contact_list_id = %(contact_list_id)s
  and contact_id = any (%(contact_ids)b::uuid[])
"""

_ADD = """
with added as (
  insert into outreach.contact_list_members
    (organization_id, contact_list_id, contact_id, id, source, external_id, name, add_time)
  select %(organization_id)s, %(contact_list_id)s, member.*, %(now)s
  from unnest(%(contact_ids)b::uuid[], %(ids)b::uuid[], %(sources)b::text[], %(external_ids)b::text[],
    %(names)b::text[]) as member
  on conflict (organization_id, contact_list_id, contact_id) do nothing
  returning id
)
update outreach.contact_lists
set member_count = member_count + (select count(*) from added), version = version + 1
where organization_id = %(organization_id)s and id = %(contact_list_id)s and (select count(*) from added) > 0
"""


async def hold_counts(tx: Tx, organization_id: UUID) -> None:
    """Holds the numbers of an organization's lists, imports and files until commit: whoever counts holds them first."""
    await tx.execute(
        "select pg_advisory_xact_lock(hashtextextended('outreach.lists:' || %(id)s::text, 0))", {"id": organization_id}
    )


async def insert_list(tx: Tx, made: ContactList, lists_max: int) -> bool:
    """Writes a list; answers whether it did: not where the name is taken or there are too many."""
    inserted = await tx.execute(
        _INSERT,
        {
            "organization_id": made.organization_id,
            "id": made.id,
            "name": made.name,
            "folded_name": made.name.casefold(),
            "create_time": made.create_time,
            "lists_max": lists_max,
        },
    )
    return inserted.first() is not None


async def name_taken(tx: Tx, organization_id: UUID, name: str) -> bool:
    """Whether a list has the name, in whatever case."""
    found = await tx.execute(
        f"{_FIND} and folded_name = %(folded_name)s",
        {"organization_id": organization_id, "folded_name": name.casefold()},
    )
    return found.first() is not None


async def find_list(tx: Tx, organization_id: UUID, contact_list_id: UUID) -> ContactList | None:
    """One of the organization's lists."""
    found = await tx.execute(f"{_FIND} and id = %(id)s", {"organization_id": organization_id, "id": contact_list_id})
    row = found.one_or_none()
    return None if row is None else _list(row)


async def list_lists(
    tx: Tx, organization_id: UUID, after: tuple[str, ...] | None, row_limit: int
) -> list[tuple[str, ContactList]]:
    """Lists by name, each with the name that it is ordered by."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    condition = ""
    if after is not None:
        condition = "and folded_name > %(after)s"
        values["after"] = after[0]
    found = await tx.execute(
        f"select {_COLUMNS}, folded_name from outreach.contact_lists where organization_id = %(organization_id)s"
        f" {condition} order by folded_name limit %(row_limit)s",
        values,
    )
    return [(row.folded_name, _list(row)) for row in found]


async def list_members(
    tx: Tx, organization_id: UUID, contact_list_id: UUID, before: UUID | None, row_limit: int
) -> list[Member]:
    """Members added before ``before``, the latest first; of merged contacts one, as the survivor."""
    shown: list[Member] = []
    size = row_limit
    while len(shown) < row_limit:
        found = await tx.execute(
            _MEMBERS,
            {
                "organization_id": organization_id,
                "contact_list_id": contact_list_id,
                "before": before,
                "row_limit": size,
            },
        )
        rows = found.all()
        latest = await _latest(tx, organization_id, contact_list_id, {row.survivor for row in rows})
        shown += [
            Member(row.id, row.survivor, row.source, row.external_id, row.name, row.add_time, row.suppressed)
            for row in rows
            if latest.get(row.survivor, row.id) == row.id
        ]
        if len(rows) < size:
            break
        # Some were left out: more than are missing, so that a run of merged contacts takes few looks.
        before, size = rows[-1].id, min(2 * size, MEMBERS_READ_MAX)
    return shown[:row_limit]


async def _latest(
    tx: Tx, organization_id: UUID, contact_list_id: UUID, survivors: Collection[UUID]
) -> dict[UUID, UUID]:
    """Of those that others were merged into: the member that was added last, under whichever of their ids."""
    together = {survivor: one for survivor, one in (await REDIRECTS.merged_into(tx, survivors)).items() if len(one) > 1}
    if not together:
        return {}
    found = await tx.execute(
        _IDS_OF_CONTACTS,
        {
            "organization_id": organization_id,
            "contact_list_id": contact_list_id,
            "contact_ids": sorted(contact_id for one in together.values() for contact_id in one),
        },
    )
    ids: dict[UUID, UUID] = {row.contact_id: row.id for row in found}
    # Nobody is left of one whose merge was taken back meanwhile; their row stands for itself then.
    listed = {
        survivor: [ids[contact_id] for contact_id in one if contact_id in ids] for survivor, one in together.items()
    }
    return {survivor: max(latest) for survivor, latest in listed.items() if latest}


async def read_audience(tx: Tx, organization_id: UUID, contact_list_id: UUID) -> AsyncIterator[list[Member]]:
    """The contacts of a list page by page, those that were added last first; no more than are counted at all."""
    before: UUID | None = None
    for _ in range(AUDIENCE_COUNTED_MAX // MEMBERS_READ_MAX):
        page = await list_members(tx, organization_id, contact_list_id, before, MEMBERS_READ_MAX)
        if page:
            yield page
            before = page[-1].id
        if len(page) < MEMBERS_READ_MAX:
            return


async def add_members(tx: Tx, organization_id: UUID, contact_list_id: UUID, members: Sequence[Member]) -> None:
    """Adds contacts; who is in the list already stays as they are."""
    if not members:
        return
    await tx.execute(
        _ADD,
        {
            "organization_id": organization_id,
            "contact_list_id": contact_list_id,
            "contact_ids": [member.contact_id for member in members],
            "ids": [member.id for member in members],
            "sources": [member.source for member in members],
            "external_ids": [member.external_id for member in members],
            "names": [member.name for member in members],
            "now": members[0].add_time,
        },
    )


def _list(row: Any) -> ContactList:
    return ContactList(row.organization_id, row.id, row.name, row.create_time, row.member_count, row.version)
