"""Writes down who did what, in the transaction that did it: what was not done is not written, and the reverse."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from google.protobuf import json_format
from google.protobuf.message import Message

from chassis import auth, context
from chassis.db import Tx
from chassis.ids import Ids
from services.identity.audit import store
from services.identity.audit.store import Entry

SERVICE = "prosa.identity.v1."


class Target(NamedTuple):
    """What something was done to, and what it was before and after, where there is a resource to show."""

    type: str
    id: object
    before: Message | None = None
    after: Message | None = None


class Audit:
    """The one writer of audit entries."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    async def of_caller(self, tx: Tx, organization_id: UUID, action: str, target: Target, now: datetime) -> None:
        """The caller did it. ``action`` is "<service>.<method>" of identity."""
        caller = auth.caller()
        await self.of(tx, organization_id, caller.principal, caller.name, action, target, now)

    async def of_person(
        self, tx: Tx, organization_id: UUID, user_id: UUID, email: str, action: str, target: Target, now: datetime
    ) -> None:
        """A person did it whom no token named yet, such as signing in."""
        await self.of(tx, organization_id, f"user:{user_id}", email, action, target, now)

    async def of(
        self, tx: Tx, organization_id: UUID, principal: str, name: str, action: str, target: Target, now: datetime
    ) -> None:
        """Somebody did it."""
        entry = Entry(
            organization_id,
            self._ids.new(),
            now,
            principal,
            name,
            SERVICE + action,
            target.type,
            str(target.id),
            context.client_network.get(),
            context.correlation_id.get(),
            _json(target.before),
            _json(target.after),
            "",
        )
        await store.insert_entry(tx, entry)


def _json(resource: Message | None) -> str:
    if resource is None:
        return ""
    return json_format.MessageToJson(resource, preserving_proto_field_name=True, indent=None)
