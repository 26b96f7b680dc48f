"""Accepted terms in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from services.outreach.sending.kill_switch import Actor

# Who accepts the same terms again stays named as the one who did it first.
_ACCEPT = """
insert into outreach.terms_acceptances (organization_id, terms_version, principal, principal_name, accept_time)
values (%(organization_id)s, %(terms_version)s, %(principal)s, %(principal_name)s, %(accept_time)s)
on conflict (organization_id, terms_version) do nothing
"""

_LAST = """
select terms_version, principal, principal_name, accept_time from outreach.terms_acceptances
where organization_id = %(organization_id)s order by accept_time desc, terms_version desc limit 1
"""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which terms were accepted, and by whom."""

    terms_version: str
    actor: Actor
    accept_time: datetime


async def accept(tx: Tx, organization_id: UUID, acceptance: Acceptance) -> None:
    """Records an acceptance, once for each version."""
    values = {
        "organization_id": organization_id,
        "terms_version": acceptance.terms_version,
        "principal": acceptance.actor.principal,
        "principal_name": acceptance.actor.name,
        "accept_time": acceptance.accept_time,
    }
    await tx.execute(_ACCEPT, values)


async def last_acceptance(tx: Tx, organization_id: UUID) -> Acceptance | None:
    """What was accepted last; None where nothing ever was."""
    row = (await tx.execute(_LAST, {"organization_id": organization_id})).one_or_none()
    if row is None:
        return None
    return Acceptance(row.terms_version, Actor(row.principal, row.principal_name), row.accept_time)
