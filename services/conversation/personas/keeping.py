"""Makes, answers, changes and ends personas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, ResourceExhausted
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.paging import read_page, token_invalid
from prosa.conversation.v1 import script_service_pb2 as pb
from services.conversation.limits import PERSONAS_MAX
from services.conversation.personas import messages, store
from services.conversation.personas.persona import Persona, etag_fresh, no_persona

UsedBy = Callable[[Tx, UUID, UUID], Awaitable[list[str]]]
"""Takes an organization and a persona. What uses it, in words for whoever would end it."""


class Personas:
    """The personas of organizations; each call is for the caller's own."""

    def __init__(self, db: Database, idempotency: IdempotencyStore, clock: Clock, ids: Ids, used_by: UsedBy) -> None:
        self._db, self._idempotency, self._clock, self._ids = db, idempotency, clock, ids
        self._used_by = used_by

    async def create(self, request: pb.CreatePersonaRequest) -> pb.Persona:
        """Raises as CreatePersona says."""
        organization_id, now = auth.organization_id(), self._clock.now()
        persona = Persona(organization_id, self._ids.new(), create_time=now, **messages.named(request))

        async def create(tx: Tx) -> pb.Persona:
            if await store.count(tx, organization_id) >= PERSONAS_MAX:
                raise ResourceExhausted(
                    "PERSONAS_TOO_MANY",
                    f"An organization has {PERSONAS_MAX} personas at most. End one that is not used.",
                )
            await store.insert(tx, persona)
            return messages.persona_message(persona)

        return await self._idempotency.once(self._db, organization_id, request, pb.Persona, now, create)

    async def get(self, request: pb.GetPersonaRequest) -> pb.Persona:
        """Raises as GetPersona says."""
        organization_id = auth.organization_id()
        persona_id = wire.to_uuid("persona_id", request.persona_id)
        async with self._db.transaction(organization_id) as tx:
            return messages.persona_message(await _find(tx, organization_id, persona_id))

    async def list_by_name(self, request: pb.ListPersonasRequest) -> pb.ListPersonasResponse:
        """A page by name."""
        organization_id, page = auth.organization_id(), read_page(request, 2)
        try:
            after = messages.after(page.after)
        except ValueError:
            raise token_invalid() from None
        async with self._db.transaction(organization_id) as tx:
            found = await store.list_by_name(tx, organization_id, after, page.size + 1)
        shown, token = page.cut(found, lambda persona: (persona.name, persona.persona_id))
        return pb.ListPersonasResponse(personas=map(messages.persona_message, shown), next_page_token=token)

    async def update(self, request: pb.UpdatePersonaRequest) -> pb.Persona:
        """Raises as UpdatePersona says."""
        organization_id, now = auth.organization_id(), self._clock.now()
        persona_id, changes = wire.to_uuid("persona_id", request.persona_id), messages.changes(request)

        async def update(tx: Tx) -> pb.Persona:
            before = await _find(tx, organization_id, persona_id, lock=True)
            etag_fresh(before.version, request.etag)
            after = replace(before, **changes)
            if after != before:
                after = replace(after, version=before.version + 1)
                await store.update(tx, after)
            return messages.persona_message(after)

        return await self._idempotency.once(self._db, organization_id, request, pb.Persona, now, update)

    async def delete(self, request: pb.DeletePersonaRequest) -> pb.DeletePersonaResponse:
        """Raises as DeletePersona says."""
        organization_id = auth.organization_id()
        persona_id = wire.to_uuid("persona_id", request.persona_id)
        async with self._db.transaction(organization_id) as tx:
            await _find(tx, organization_id, persona_id, lock=True)
            used_by = await self._used_by(tx, organization_id, persona_id)
            if used_by:
                raise FailedPrecondition(
                    "PERSONA_IN_USE",
                    f"The persona is used by {', '.join(used_by)}. Name another one there first.",
                    used_by=", ".join(used_by),
                )
            await store.delete(tx, organization_id, persona_id)
        return pb.DeletePersonaResponse()


async def _find(tx: Tx, organization_id: UUID, persona_id: UUID, *, lock: bool = False) -> Persona:
    persona = await store.find(tx, organization_id, persona_id, lock=lock)
    if persona is None:
        raise no_persona()
    return persona
