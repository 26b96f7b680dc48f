"""What CRM does about other services' facts. The chassis stores each event's id in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis import wire
from chassis.clock import Clock
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.identity.v1.events_pb2 import IdentityConflictDetected
from prosa.v1 import options_pb2
from services.crm import messages, task_store
from services.crm.domain import ReconciliationTask, TaskState


class ConflictConsumer:
    """Makes every identity conflict a task for people, once."""

    def __init__(self, outbox: Outbox, clock: Clock, ids: Ids) -> None:
        self._outbox, self._clock, self._ids = outbox, clock, ids

    async def on_identity_conflict_detected(
        self, tx: Tx, events: Sequence[ConsumedEvent[IdentityConflictDetected]]
    ) -> None:
        """Opens one task per conflict; one that is known under another event id changes nothing."""
        now = self._clock.now()
        facts = []
        for event in events:
            task = _open_task(self._ids.new(), event.organization_id, event.message, now)
            if await task_store.insert_task(tx, task):
                facts.append(messages.task_opened(task, event.correlation_id))
        await self._outbox.add(tx, facts, now)


def _open_task(
    task_id: UUID, organization_id: UUID, conflict: IdentityConflictDetected, now: datetime
) -> ReconciliationTask:
    return ReconciliationTask(
        organization_id=organization_id,
        id=task_id,
        identity_conflict_id=wire.to_uuid("identity_conflict_id", conflict.identity_conflict_id),
        source=enum_text(options_pb2.Source, conflict.source),
        external_id=conflict.external_id,
        contact_id=wire.to_optional_uuid("contact_id", conflict.contact_id),
        candidate_contact_ids=tuple(
            wire.to_uuid("candidate_contact_ids", contact_id) for contact_id in conflict.candidate_contact_ids
        ),
        state=TaskState.OPEN,
        create_time=now,
    )
