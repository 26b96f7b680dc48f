"""Makes, answers and changes scripts."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.enums import wanted_text
from chassis.errors import FieldViolation, InvalidArgument, NotFound, ResourceExhausted
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import read_page, token_invalid
from chassis.profiles import Profiles
from prosa.conversation.v1 import script_service_pb2 as pb
from services.conversation.limits import SCRIPTS_MAX
from services.conversation.personas import store as persona_store
from services.conversation.personas.messages import after as after_name
from services.conversation.personas.persona import etag_fresh, no_persona
from services.conversation.scripts import messages, round_store, store
from services.conversation.scripts.between import both_behind_evolution, instances_of, key_with
from services.conversation.scripts.planning import Planner
from services.conversation.scripts.script import Script, ScriptState, fitting, invalid, no_script

_NEVER_CONNECTED = "is not known yet: connect the channel's number with a phone first"


class Scripts:
    """The scripts of organizations; each call is for the caller's own."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        profiles: Profiles,
        planner: Planner,
    ) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids, self._profiles, self._planner = clock, ids, profiles, planner

    async def create(self, request: pb.CreateScriptRequest) -> pb.Script:
        """Raises as CreateScript says."""
        organization_id, now = auth.organization_id(), self._clock.now()
        profile = await self._profiles.of(organization_id)
        values = {"windows": (), "time_zone": profile.time_zone} | messages.named(request, profile.region)
        script = Script(organization_id, self._ids.new(), create_time=now, **values)
        fitting(script)

        async def create(tx: Tx) -> pb.Script:
            if await store.count(tx, organization_id) >= SCRIPTS_MAX:
                raise ResourceExhausted("SCRIPTS_TOO_MANY", f"An organization has {SCRIPTS_MAX} scripts at most.")
            await _check(tx, script)
            await store.insert(tx, script)
            return await self._changed(tx, script)

        return await self._idempotency.once(self._db, organization_id, request, pb.Script, now, create)

    async def get(self, request: pb.GetScriptRequest) -> pb.Script:
        """Raises as GetScript says."""
        organization_id = auth.organization_id()
        script_id = wire.to_uuid("script_id", request.script_id)
        async with self._db.transaction(organization_id) as tx:
            script = await store.find(tx, organization_id, script_id)
            if script is None:
                raise no_script()
            return await _message(tx, script)

    async def list_by_name(self, request: pb.ListScriptsRequest) -> pb.ListScriptsResponse:
        """A page by name."""
        organization_id, page = auth.organization_id(), read_page(request, 2)
        try:
            after = after_name(page.after)
        except ValueError:
            raise token_invalid() from None
        state = wanted_text(pb.ScriptState, request.state)
        async with self._db.transaction(organization_id) as tx:
            found = await store.list_by_name(tx, organization_id, state, after, page.size + 1)
            due = await store.next_round_times(tx, organization_id)
        shown, token = page.cut(found, lambda script: (script.name, script.script_id))
        return pb.ListScriptsResponse(
            scripts=[messages.script_message(script, due.get(script.script_id)) for script in shown],
            next_page_token=token,
        )

    async def update(self, request: pb.UpdateScriptRequest) -> pb.Script:
        """Raises as UpdateScript says."""
        organization_id, now = auth.organization_id(), self._clock.now()
        script_id = wire.to_uuid("script_id", request.script_id)
        profile = await self._profiles.of(organization_id)
        changes = messages.named(request, profile.region)
        if not changes:
            raise InvalidArgument("NOTHING_TO_CHANGE", f"Name what is to change: {', '.join(messages.NAMES)}.")
        if not changes.get("time_zone", "-"):
            changes["time_zone"] = profile.time_zone

        async def update(tx: Tx) -> pb.Script:
            before = await store.find(tx, organization_id, script_id, lock=True)
            if before is None:
                raise no_script()
            etag_fresh(before.version, request.etag)
            after = replace(before, **changes)
            if after == before:
                return await _message(tx, before)
            fitting(after)
            begins = after.state is ScriptState.ACTIVE and before.state is not ScriptState.ACTIVE
            # A number that was paired with another phone meanwhile keeps nobody from pausing, or from another name.
            if begins or after.participants != before.participants:
                await _check(tx, after)
            after = replace(after, version=before.version + 1)
            await store.update(tx, after)
            return await self._changed(tx, after)

        return await self._idempotency.once(self._db, organization_id, request, pb.Script, now, update)

    async def _changed(self, tx: Tx, script: Script) -> pb.Script:
        now = self._clock.now()
        await self._planner.plan_anew(tx, script, now)
        answer = await _message(tx, script)
        await self._outbox.add(tx, [messages.script_changed(script, answer)], now)
        return answer


async def _message(tx: Tx, script: Script) -> pb.Script:
    due = await store.next_round_times(tx, script.organization_id)
    return messages.script_message(script, due.get(script.script_id))


async def _check(tx: Tx, script: Script) -> None:
    """Raises NotFound PERSONA_NOT_FOUND, CHANNEL_NOT_FOUND, InvalidArgument SCRIPT_INVALID."""
    organization_id = script.organization_id
    persona_ids = {participant.persona_id for participant in script.participants}
    if await persona_store.hold(tx, organization_id, sorted(persona_ids)) != persona_ids:
        raise no_persona()
    known = await instances_of(tx, organization_id, script.participants)
    violations: list[FieldViolation] = []
    for place, (speaker, other) in enumerate(zip(script.participants, reversed(script.participants), strict=True)):
        persona = await persona_store.find(tx, organization_id, speaker.persona_id)
        if persona is not None and not persona.fallback_texts:
            field = f"participants[{place}].persona_id"
            violations.append(FieldViolation(field, "must be a persona that has fallback_texts"))
        number = known.get(speaker.channel_id)
        if number is not None and number.phone != speaker.phone:
            told = f"must be {number.phone}, the channel's number" if number.phone else _NEVER_CONNECTED
            violations.append(FieldViolation(f"participants[{place}].phone", told))
        if both_behind_evolution(known, speaker, other):
            continue
        key = key_with(other)
        if await round_store.conversation_between(tx, organization_id, speaker.channel_id, key) is not None:
            continue
        if number is None and not await round_store.channel_known(tx, organization_id, speaker.channel_id):
            raise _no_channel(speaker.channel_id)
        field = f"participants[{place}].channel_id"
        violations.append(
            FieldViolation(field, f"must have a conversation with {other.phone}: write from one to the other once")
        )
    if violations:
        raise invalid(violations)


def _no_channel(channel_id: UUID) -> NotFound:
    return NotFound("CHANNEL_NOT_FOUND", f"Nothing was ever said on a channel {channel_id} of the organization.")
