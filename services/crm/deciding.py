"""Decides reconciliation tasks: identity does it, for it owns the contacts; the task follows what identity answered.

Whatever comes between, the task becomes what identity has: the next try is answered alike, and the consumer of
identity's fact marks the task also where nobody tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid5

import grpc.aio

from chassis import rpc, wire
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from chassis.idempotency import IdempotencyStore
from chassis.outbox import Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from prosa.identity.v1.events_pb2 import IdentityConflictDecided
from prosa.v1 import options_pb2
from services.crm import messages, task_store
from services.crm.domain import ReconciliationTask, TaskState

if TYPE_CHECKING:
    from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceAsyncStub

Deciding = pb.AcceptReconciliationTaskRequest | pb.RejectReconciliationTaskRequest
_STATES = {
    identity_pb.CONFLICT_DECISION_LINK: TaskState.ACCEPTED,
    identity_pb.CONFLICT_DECISION_MERGE: TaskState.ACCEPTED,
    identity_pb.CONFLICT_DECISION_REJECT: TaskState.REJECTED,
}


class Wish(NamedTuple):
    """How somebody wants a task decided."""

    organization_id: UUID
    task_id: UUID
    etag: str
    decision: identity_pb.ConflictDecision.ValueType
    surviving_contact_id: UUID | None
    principal: str
    name: str


class Decisions:
    """Has identity decide, and keeps with the task what came of it."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        contacts: ContactServiceAsyncStub,
    ) -> None:
        self._db, self._outbox, self._idempotency, self._clock = db, outbox, idempotency, clock
        self._contacts = contacts

    async def decide(self, request: Deciding, wish: Wish) -> pb.ReconciliationTask:
        """Does what the task asks for. Raises as AcceptReconciliationTask says."""
        organization_id = wish.organization_id
        async with self._db.transaction(organization_id) as tx:
            answer = await self._idempotency.recall(
                tx, organization_id, _method(request), request, pb.ReconciliationTask
            )
            task = await _find(tx, organization_id, wish.task_id)
            parties = await task_store.parties(tx, task)
        if answer is not None:
            return answer
        if wish.etag and wish.etag != str(task.version):
            raise Aborted("ETAG_STALE", "The task was changed since it was looked at. Look again.")
        if task.state is TaskState.OPEN:
            if wish.surviving_contact_id is not None and wish.surviving_contact_id not in parties:
                raise InvalidArgument("SURVIVOR_INVALID", "The survivor must be one of the task's contacts.")
            conflict = await self._ask(task, wish)
            decided = _decided(task, conflict)
        elif _wished(task, wish):
            decided = task
        else:
            raise _decided_otherwise(task.state, task.decider_name)

        async def keep(tx: Tx) -> pb.ReconciliationTask:
            await self._mark(tx, decided)
            return messages.task_message(await _find(tx, organization_id, wish.task_id))

        now = self._clock.now()
        return await self._idempotency.once(self._db, organization_id, request, pb.ReconciliationTask, now, keep)

    async def on_identity_conflict_decided(
        self, tx: Tx, events: Sequence[ConsumedEvent[IdentityConflictDecided]]
    ) -> None:
        """Marks the tasks of conflicts that were decided, where nobody has yet."""
        for event in events:
            conflict_id = wire.to_uuid("identity_conflict_id", event.message.identity_conflict_id)
            task = await task_store.find_by_conflict(tx, event.organization_id, conflict_id)
            if task is not None:
                await self._mark(tx, _decided(task, event.message), event.correlation_id)

    async def _ask(self, task: ReconciliationTask, wish: Wish) -> identity_pb.IdentityConflict:
        name = f"{wish.decision}/{wish.surviving_contact_id}/{wish.principal}/{wish.name}"
        asked = identity_pb.DecideIdentityConflictRequest(
            identity_conflict_id=str(task.identity_conflict_id),
            decision=wish.decision,
            surviving_contact_id=wire.text(wish.surviving_contact_id),
            decided_by=options_pb2.Actor(principal=wish.principal, name=wish.name),
            request_id=str(uuid5(task.id, name)),
        )
        try:
            return await self._contacts.DecideIdentityConflict(
                asked, metadata=rpc.for_organization(wish.organization_id)
            )
        except grpc.aio.AioRpcError as error:
            refused = rpc.error_of(error)
            if refused.reason == "IDENTITY_CONFLICT_DECIDED":
                state = TaskState.REJECTED if refused.metadata.get("decision") == "REJECT" else TaskState.ACCEPTED
                raise _decided_otherwise(state, refused.metadata.get("decided_by", "")) from error
            raise refused from error

    async def _mark(self, tx: Tx, decided: ReconciliationTask, correlation_id: str = "") -> None:
        if await task_store.decide(tx, decided):
            kept = replace(decided, version=decided.version + 1)
            await self._outbox.add(tx, [messages.task_decided(kept, correlation_id)], self._clock.now())


def _method(request: Deciding) -> str:
    return request.DESCRIPTOR.name.removesuffix("Request")


async def _find(tx: Tx, organization_id: UUID, task_id: UUID) -> ReconciliationTask:
    task = await task_store.find_task(tx, organization_id, task_id)
    if task is None:
        raise NotFound("TASK_NOT_FOUND", "The organization has no such task.")
    return task


def _decided(
    task: ReconciliationTask, conflict: identity_pb.IdentityConflict | IdentityConflictDecided
) -> ReconciliationTask:
    """The task as it is after what identity has."""
    return replace(
        task,
        state=_STATES[conflict.decision],
        surviving_contact_id=wire.to_optional_uuid("surviving_contact_id", conflict.surviving_contact_id),
        merged=conflict.decision == identity_pb.CONFLICT_DECISION_MERGE,
        # The last lies on top: it is the first to be undone.
        contact_merge_ids=tuple(UUID(merge_id) for merge_id in reversed(conflict.contact_merge_ids)),
        decide_time=wire.from_timestamp(conflict.decide_time),
        decider_principal=conflict.decided_by.principal,
        decider_name=conflict.decided_by.name,
    )


def _wished(task: ReconciliationTask, wish: Wish) -> bool:
    """Whether a task that was decided is as somebody wants it."""
    return (
        task.state is _STATES[wish.decision]
        and task.merged == (wish.decision == identity_pb.CONFLICT_DECISION_MERGE)
        and task.surviving_contact_id == wish.surviving_contact_id
    )


def _decided_otherwise(state: TaskState, by: str) -> FailedPrecondition:
    return FailedPrecondition(
        "TASK_DECIDED",
        f"{by or 'Somebody'} has {state.value.lower()} this already.",
        state=state.value,
        decided_by=by,
    )
