"""SQL of conflicts, as people read and decide them; every function runs in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.db import Tx
from services.identity.contacts.merge_domain import Actor


class Decided(StrEnum):
    """How people decided a conflict; the values are those of the table."""

    LINK = "LINK"
    MERGE = "MERGE"
    REJECT = "REJECT"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Contacts of whom two or more could be meant by one identity."""

    organization_id: UUID
    id: UUID
    source: str
    external_id: str
    contact_id: UUID
    candidates: tuple[UUID, ...]
    create_time: datetime
    decide_time: datetime | None
    decision: Decided | None
    """None while it is open."""
    surviving_contact_id: UUID | None
    decider: Actor

    def parties(self) -> list[UUID]:
        """All whom it is about, each once."""
        return list(dict.fromkeys((self.contact_id, *self.candidates)))


async def find_conflict(tx: Tx, organization_id: UUID, conflict_id: UUID, *, lock: bool = False) -> Conflict | None:
    """One conflict; ``lock`` makes everybody else who would decide it wait until commit."""
    found = await tx.execute(
        "select organization_id, identity_conflict_id, source, external_id, contact_id, candidate_contact_ids,"
        " create_time, resolve_time, decision, surviving_contact_id, decider_principal, decider_name"
        " from identity.identity_conflicts"
        " where organization_id = %(organization_id)s and identity_conflict_id = %(id)s"
        + (" for update" if lock else ""),
        {"organization_id": organization_id, "id": conflict_id},
    )
    row = found.one_or_none()
    if row is None:
        return None
    return Conflict(
        organization_id=row.organization_id,
        id=row.identity_conflict_id,
        source=row.source,
        external_id=row.external_id,
        contact_id=row.contact_id,
        candidates=tuple(row.candidate_contact_ids),
        create_time=row.create_time,
        decide_time=row.resolve_time,
        decision=Decided(row.decision) if row.decision else None,
        surviving_contact_id=row.surviving_contact_id,
        decider=Actor(row.decider_principal, row.decider_name),
    )


async def decide(tx: Tx, conflict: Conflict) -> None:
    """Keeps how a conflict was decided."""
    await tx.execute(
        "update identity.identity_conflicts set state = 'RESOLVED', resolve_time = %(time)s, decision = %(decision)s,"
        " surviving_contact_id = %(survivor)s, decider_principal = %(principal)s, decider_name = %(name)s"
        " where organization_id = %(organization_id)s and identity_conflict_id = %(id)s",
        {
            "organization_id": conflict.organization_id,
            "id": conflict.id,
            "time": conflict.decide_time,
            "decision": conflict.decision.value if conflict.decision is not None else "",
            "survivor": conflict.surviving_contact_id,
            "principal": conflict.decider.principal,
            "name": conflict.decider.name,
        },
    )


async def merges_of(tx: Tx, organization_id: UUID, conflict_id: UUID) -> list[UUID]:
    """The merges that deciding a conflict made, the first first."""
    found = await tx.execute(
        "select contact_merge_id from identity.contact_merges where organization_id = %(organization_id)s"
        " and identity_conflict_id = %(id)s order by contact_merge_id",
        {"organization_id": organization_id, "id": conflict_id},
    )
    return [row.contact_merge_id for row in found]
