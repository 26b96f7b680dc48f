"""Facts awaiting publication, written in the transaction that made them true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from google.protobuf.message import Message

from chassis import context
from chassis.db import Effect, Tx
from chassis.ids import Ids

SUBJECT_PREFIX = "prosa.events"


class Fact(NamedTuple):
    """One thing a service announces: a protobuf message of its ``events.proto`` and whose it is."""

    organization_id: UUID
    message: Message
    correlation_id: str = ""
    """Overrides the correlation id of the context, where a batch carries several."""


class Outbox:
    """Adds facts to one schema's outbox; ``wake`` tells its relay of every commit that did."""

    def __init__(self, schema: str, ids: Ids, wake: Effect) -> None:
        self.schema = schema
        self._ids = ids
        self._wake = wake
        self._insert = f"""
            with added as (
              insert into {schema}.outbox
                (event_id, organization_id, type, payload, event_time, correlation_id, trace_parent)
              select event_id, organization_id, type, payload, %(event_time)s, correlation_id, %(trace_parent)s
              from unnest(%(event_ids)b::uuid[], %(organization_ids)b::uuid[], %(types)b::text[], %(payloads)b::bytea[],
                          %(correlation_ids)b::text[])
                with ordinality as fact (event_id, organization_id, type, payload, correlation_id, place)
              order by place
              returning position, organization_id, event_time
            )
            insert into {schema}.outbox_queue (position, organization_id, event_time)
            select position, organization_id, event_time from added
            """

    async def add(self, tx: Tx, facts: Sequence[Fact], now: datetime) -> None:
        """Adds facts in their order; they are published after the commit, each at least once, in that order."""
        if not facts:
            return
        correlation = context.correlation_id.get()
        await tx.execute(
            self._insert,
            {
                "event_ids": [self._ids.new() for _ in facts],
                "organization_ids": [fact.organization_id for fact in facts],
                "types": [fact.message.DESCRIPTOR.full_name for fact in facts],
                "payloads": [fact.message.SerializeToString() for fact in facts],
                "correlation_ids": [fact.correlation_id or correlation for fact in facts],
                "event_time": now,
                "trace_parent": context.trace_parent.get(),
            },
        )
        tx.after_commit(self._wake)


def stream_name(service: str) -> str:
    """The JetStream stream that holds a service's facts."""
    return f"PROSA_{service.upper()}"


def subject(type_name: str) -> str:
    """The subject of a fact: ``prosa.events.conversation.v1.MessageReceived``."""
    return f"{SUBJECT_PREFIX}.{type_name.removeprefix('prosa.')}"


def wake_subject(service: str) -> str:
    """Where a commit tells the service's relay that something waits: best effort, the poll is the truth."""
    return f"prosa.wake.outbox.{service}"


def arrival_subject(service: str) -> str:
    """Where the relay tells readers that the service's stream has grown: best effort too."""
    return f"prosa.wake.stream.{service}"
