"""The organization's own numbers, as conversation tells of them: who writes from one is no customer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chassis import wire
from chassis.db import Tx
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1.events_pb2 import InstanceChanged
from services.ingest.instances import store


class OwnNumbers:
    """Follows which numbers are connected; one that is closed stays the organization's own."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` is called after the commit of another number than was known."""
        self._changed = changed

    async def handle(self, tx: Tx, events: Sequence[ConsumedEvent[InstanceChanged]]) -> None:
        """Keeps the newest phone of each."""
        newest = {
            (event.organization_id, event.message.instance.instance_id): event.message
            for event in events
            if event.message.instance.phone
        }
        told = [
            (
                *(organization_id, wire.to_uuid("instance_id", instance_id)),
                *(changed.instance.phone, changed.version),
            )
            for (organization_id, instance_id), changed in sorted(newest.items())
        ]
        if told and await store.keep_numbers(tx, told):
            tx.after_commit(self._changed)
