"""Contact redirects: who stands for a contact that was merged into another. Identity owns the truth and announces it.

Every other service keeps a small table of them and reads through it; it rewrites none of its own rows, so that a merge
taken back is one more event. A redirect comes already led on to whom survives in the end, and counts its contact's
changes: an older one than is kept changes nothing, so events of several classes need no order among them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol
from uuid import UUID

from chassis import wire
from chassis.db import Tx
from chassis.process import Process
from chassis.subscriptions import ConsumedEvent
from prosa.identity.v1.events_pb2 import ContactMergeUndone, ContactsMerged


class Redirect(Protocol):
    """One contact's redirect as an event tells it."""

    contact_id: str
    surviving_contact_id: str
    """Whom to read in its place; empty where it stands for itself again."""
    version: int


class Redirecting(Protocol):
    """An event that tells of redirects."""

    @property
    def redirects(self) -> Sequence[Redirect]: ...


class Redirects:
    """The redirects that one schema keeps."""

    def __init__(self, schema: str) -> None:
        self._table = f"{schema}.contact_redirects"

    async def handle(self, tx: Tx, events: Sequence[ConsumedEvent[Any]]) -> None:
        """Keeps what events tell; the handler of each class that has ``redirects``."""
        newest: dict[tuple[UUID, UUID], tuple[int, UUID | None]] = {}
        for event in events:
            told: Redirecting = event.message
            for redirect in told.redirects:
                key = event.organization_id, wire.to_uuid("contact_id", redirect.contact_id)
                survivor = wire.to_optional_uuid("surviving_contact_id", redirect.surviving_contact_id)
                if key not in newest or newest[key][0] < redirect.version:
                    newest[key] = redirect.version, survivor
        if not newest:
            return
        keys = sorted(newest)
        await tx.execute(
            f"""
            insert into {self._table} as kept (organization_id, contact_id, surviving_contact_id, version)
            select * from unnest(%(organizations)b::uuid[], %(contacts)b::uuid[], %(survivors)b::uuid[],
              %(versions)b::bigint[])
            on conflict (organization_id, contact_id) do update
              set surviving_contact_id = excluded.surviving_contact_id, version = excluded.version
              where kept.version < excluded.version
            """,
            {
                "organizations": [organization_id for organization_id, _ in keys],
                "contacts": [contact_id for _, contact_id in keys],
                "survivors": [newest[key][1] for key in keys],
                "versions": [newest[key][0] for key in keys],
            },
        )

    async def resolve(self, tx: Tx, contact_ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Who stands for each contact, itself where nobody else does; of the transaction's organizations."""
        rows = await tx.execute(
            f"select contact_id, surviving_contact_id from {self._table}"
            " where contact_id = any (%(ids)b::uuid[]) and surviving_contact_id is not null",
            {"ids": sorted(set(contact_ids))},
        )
        return {contact_id: contact_id for contact_id in contact_ids} | {
            row.contact_id: row.surviving_contact_id for row in rows
        }

    async def merged_into(self, tx: Tx, contact_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
        """All that lead to each contact, itself first: under which ids its rows are kept."""
        found = {contact_id: [contact_id] for contact_id in contact_ids}
        for row in await tx.execute(
            f"select contact_id, surviving_contact_id from {self._table}"
            " where surviving_contact_id = any (%(ids)b::uuid[]) order by contact_id",
            {"ids": sorted(found)},
        ):
            found[row.surviving_contact_id].append(row.contact_id)
        return found

    async def one_with(self, tx: Tx, contact_id: UUID) -> list[UUID]:
        """All that are one with a contact, who stands for them first: what a filter by any of them means."""
        return (await self.each_one_with(tx, [contact_id]))[contact_id]

    async def each_one_with(self, tx: Tx, contact_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
        """The same for many: under which ids the rows of whoever each contact is are kept."""
        survivors = await self.resolve(tx, contact_ids)
        together = await self.merged_into(tx, set(survivors.values()))
        return {contact_id: together[survivor] for contact_id, survivor in survivors.items()}

    def survivor_of(self, column: str, organization: str) -> str:
        """SQL for who stands for the contact of a column, for a statement that reads through redirects in one go."""
        return (
            f"coalesce((select redirect.surviving_contact_id from {self._table} redirect"
            f" where redirect.organization_id = {organization} and redirect.contact_id = {column}), {column})"
        )

    def one_with_of(self, column: str, organization: str) -> str:
        """SQL for a table of every ``contact_id`` that is one with the contact of a column, who stands for it first.

        Who stands for it is looked up before the rest (``offset 0``), which is then found by its index.
        """
        return (
            f"(select one.contact_id from (select {self.survivor_of(column, organization)} as survivor offset 0) stands"
            " cross join lateral (select stands.survivor as contact_id"
            f" union all select led.contact_id from {self._table} led"
            f" where led.organization_id = {organization} and led.surviving_contact_id = stands.survivor) one)"
        )


def follow_redirects(process: Process) -> Redirects:
    """The redirects of a service's own schema, kept by event from now on.

    One consumer for each class: each is then sent that subject alone, and versions make order between them needless.
    """
    redirects = Redirects(process.service)
    process.consumer("contacts_merged").on(ContactsMerged, redirects.handle)
    process.consumer("contact_merges_undone").on(ContactMergeUndone, redirects.handle)
    return redirects
