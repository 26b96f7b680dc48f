"""What identity writes down of what other services say was done: whoever asks who did something asks in one place."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import json_format

from chassis import wire
from chassis.db import Tx
from chassis.ids import Ids
from chassis.subscriptions import ConsumedEvent
from prosa.ingest.v1 import rollout_service_pb2 as rollout_pb
from prosa.ingest.v1.events_pb2 import RolloutChanged
from prosa.outreach.v1.events_pb2 import KillSwitchChanged
from services.identity.audit import store
from services.identity.audit.store import Entry

KILL_SWITCH = "prosa.outreach.v1.SendService."
ROLLOUT = "prosa.ingest.v1.RolloutService."


class AuditConsumer:
    """Makes audit entries of facts."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    async def on_kill_switch_changed(self, tx: Tx, events: Sequence[ConsumedEvent[KillSwitchChanged]]) -> None:
        """Who stopped all sending or let it go on, and why; seldom enough to be written one by one."""
        for event in events:
            switch = event.message.kill_switch
            entry = Entry(
                event.organization_id,
                self._ids.new(),
                wire.from_timestamp(switch.change_time),
                switch.actor.principal,
                switch.actor.name,
                KILL_SWITCH + ("EngageKillSwitch" if switch.engaged else "LiftKillSwitch"),
                "kill_switch",
                str(event.organization_id),
                # Where from is known where it was asked, and not told with it.
                "",
                event.correlation_id,
                "",
                json_format.MessageToJson(switch, preserving_proto_field_name=True, indent=None),
                switch.reason,
            )
            await store.insert_entry(tx, entry)

    async def on_rollout_changed(self, tx: Tx, events: Sequence[ConsumedEvent[RolloutChanged]]) -> None:
        """Who took an organization live or back, and why; seldomer still."""
        for event in events:
            rollout, before = event.message.rollout, event.message.previous_rollout
            entry = Entry(
                event.organization_id,
                self._ids.new(),
                wire.from_timestamp(rollout.update_time),
                rollout.actor.principal,
                rollout.actor.name,
                ROLLOUT + ("Activate" if rollout.state == rollout_pb.ROLLOUT_STATE_LIVE else "RollBack"),
                "rollout",
                str(event.organization_id),
                "",
                event.correlation_id,
                json_format.MessageToJson(before, preserving_proto_field_name=True, indent=None),
                json_format.MessageToJson(rollout, preserving_proto_field_name=True, indent=None),
                rollout.reason,
            )
            await store.insert_entry(tx, entry)
