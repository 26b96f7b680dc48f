"""Table and SQL of deliveries; every function runs in the caller's transaction, which holds their conversation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from chassis.db import Tx
from chassis.paging import Page
from services.conversation.messages.domain.delivery import Delivery, SendClass, Sent
from services.conversation.messages.domain.message import AWAITING_ECHO, Message, MessageState
from services.conversation.messages.rows_store import MESSAGE_READ, read_message
from services.conversation.messages.store import week_of

_COLUMNS = tuple(field.name for field in fields(Delivery))
_UUIDS = frozenset(
    {
        *("organization_id", "delivery_id", "conversation_id", "connection_id", "channel_id", "contact_id"),
        *("reservation_id", "suppression_id", "answers_message_id"),
    }
)
_CHANGING = (
    *("state", "reason", "explanation", "retry_time", "attempt_count", "look_count", "reservation_id", "network_id"),
    *("send_time", "settle_time", "version"),
)
_READ = ", ".join(f"deliveries.{column}{'::text' if column in _UUIDS else ''}" for column in _COLUMNS)
_MESSAGE = """join conversation.messages on messages.conversation_id = deliveries.conversation_id
  and messages.create_time = deliveries.message_time and messages.message_id = deliveries.delivery_id"""

_INSERT = f"""
insert into conversation.deliveries ({", ".join(_COLUMNS)})
select {", ".join(_COLUMNS)} from json_populate_recordset(null::conversation.deliveries, %(rows)s::json)
"""
_UPDATE = f"""
update conversation.deliveries set {", ".join(f"{column} = given.{column}" for column in _CHANGING)}
from json_populate_recordset(null::conversation.deliveries, %(rows)s::json) given
where deliveries.organization_id = given.organization_id and deliveries.delivery_id = given.delivery_id
"""
# Those in flight of some conversations, and those that are named. The states stand in the text, as in the index.
_IN_FLIGHT = ", ".join(f"'{state}'" for state in sorted(AWAITING_ECHO))
_LOAD = f"""
select {_READ}, {MESSAGE_READ}
from conversation.deliveries {_MESSAGE}
where deliveries.organization_id = any (%(organization_ids)b::text[]::uuid[])
  and deliveries.conversation_id = any (%(conversation_ids)b::text[]::uuid[])
  and deliveries.state in ({_IN_FLIGHT}) and deliveries.send_time > %(since)s and messages.provider_message_id = ''
union all
select {_READ}, {MESSAGE_READ}
from conversation.deliveries {_MESSAGE}
where deliveries.organization_id = any (%(organization_ids)b::text[]::uuid[])
  and deliveries.delivery_id = any (%(delivery_ids)b::text[]::uuid[])
"""


class LastInbound(NamedTuple):
    """The newest message of a contact."""

    message_id: str
    create_time: datetime
    answered: bool
    """Whether somebody of the staff has written since, at the provider or on the phone."""


async def insert(tx: Tx, deliveries: Sequence[Delivery]) -> None:
    """Adds deliveries."""
    if deliveries:
        await tx.execute(_INSERT, {"rows": orjson.dumps(deliveries).decode()})


async def update(tx: Tx, deliveries: Sequence[Delivery]) -> None:
    """Writes what may change of deliveries."""
    if deliveries:
        await tx.execute(_UPDATE, {"rows": orjson.dumps(deliveries).decode()})


async def load(
    tx: Tx,
    organization_ids: Collection[str],
    conversation_ids: Collection[str],
    delivery_ids: Collection[str],
    since: datetime,
) -> list[Sent]:
    """What may have left of some conversations since a time without its id being known, and those that are named."""
    found = await tx.execute(
        _LOAD,
        {
            "organization_ids": list(organization_ids),
            "conversation_ids": list(conversation_ids),
            "delivery_ids": list(delivery_ids),
            "since": since,
        },
    )
    return list({sent.delivery.delivery_id: sent for sent in map(_sent, found)}.values())


async def find(tx: Tx, organization_id: UUID, delivery_id: UUID) -> Sent | None:
    """One of the organization's deliveries with its message."""
    found = await tx.execute(
        f"select {_READ}, {MESSAGE_READ} from conversation.deliveries {_MESSAGE}"
        " where deliveries.organization_id = %(organization_id)s and deliveries.delivery_id = %(delivery_id)s",
        {"organization_id": organization_id, "delivery_id": delivery_id},
    )
    row = found.first()
    return None if row is None else _sent(row)


async def find_all(tx: Tx, ids: Collection[tuple[UUID, UUID]]) -> list[Sent]:
    """Those of these organizations and ids, with their messages."""
    if not ids:
        return []
    organization_ids, delivery_ids = zip(*set(ids), strict=True)
    found = await tx.execute(
        f"select {_READ}, {MESSAGE_READ}"
        " from unnest(%(organization_ids)b::uuid[], %(delivery_ids)b::uuid[]) as wanted (organization_id, delivery_id)"
        " join conversation.deliveries using (organization_id, delivery_id)"
        f" {_MESSAGE} order by deliveries.delivery_id",
        {"organization_ids": list(organization_ids), "delivery_ids": list(delivery_ids)},
    )
    return [_sent(row) for row in found]


async def find_queued(tx: Tx, organization_id: UUID, wanted: Mapping[str, object]) -> list[Sent]:
    """What still waits of those whose columns have the wanted values, in the order in which it was put."""
    conditions = " and ".join(f"deliveries.{column} = %({column})s" for column in wanted)
    found = await tx.execute(
        f"select {_READ}, {MESSAGE_READ} from conversation.deliveries {_MESSAGE}"
        f" where deliveries.organization_id = %(organization_id)s and deliveries.state = 'QUEUED' and {conditions}"
        " order by deliveries.conversation_id, deliveries.delivery_id",
        {**wanted, "organization_id": organization_id},
    )
    return [_sent(row) for row in found]


async def conversations_of_queued(tx: Tx, organization_id: UUID, wanted: Mapping[str, object]) -> list[UUID]:
    """The conversations of what still waits of those whose columns have the wanted values."""
    conditions = " and ".join(f"{column} = %({column})s" for column in wanted)
    found = await tx.execute(
        "select distinct conversation_id from conversation.deliveries where organization_id = %(organization_id)s"
        f" and state = 'QUEUED' and {conditions} order by conversation_id",
        {**wanted, "organization_id": organization_id},
    )
    return [row[0] for row in found]


async def ids_of_queued(
    tx: Tx, organization_id: UUID, send_classes: Collection[SendClass], row_limit: int
) -> list[UUID]:
    """What still waits of the classes, the oldest first."""
    found = await tx.execute(
        "select delivery_id from conversation.deliveries where organization_id = %(organization_id)s"
        " and state = 'QUEUED' and send_class = any (%(send_classes)b::text[]) order by delivery_id"
        " limit %(row_limit)s",
        {"organization_id": organization_id, "send_classes": sorted(send_classes), "row_limit": row_limit},
    )
    return [row[0] for row in found]


async def count_queued_of(tx: Tx, organization_id: UUID, send_classes: Collection[SendClass]) -> int:
    """How much still waits of the classes."""
    found = await tx.execute(
        "select count(*) from conversation.deliveries where organization_id = %(organization_id)s"
        " and state = 'QUEUED' and send_class = any (%(send_classes)b::text[])",
        {"organization_id": organization_id, "send_classes": sorted(send_classes)},
    )
    return int(found.scalar_one())


async def of_messages(tx: Tx, organization_id: UUID, delivery_ids: Collection[str]) -> dict[str, Delivery]:
    """The deliveries of messages, by their ids."""
    if not delivery_ids:
        return {}
    found = await tx.execute(
        f"select {_READ} from conversation.deliveries where organization_id = %(organization_id)s"
        " and delivery_id = any (%(delivery_ids)b::text[]::uuid[])",
        {"organization_id": organization_id, "delivery_ids": list(delivery_ids)},
    )
    return {delivery.delivery_id: delivery for delivery in map(_delivery, found)}


async def list_deliveries(
    tx: Tx, organization_id: UUID, wanted: Mapping[str, object], before: tuple[datetime, UUID] | None, page: Page
) -> list[Delivery]:
    """One more than a page of the organization's deliveries whose columns have the wanted values, newest first."""
    conditions = "".join(f" and {column} = %({column})s" for column in wanted)
    found = await tx.execute(
        f"select {_READ} from conversation.deliveries where organization_id = %(organization_id)s{conditions}"
        f" {'' if before is None else 'and (create_time, delivery_id) < (%(before_time)s, %(before_id)s)'}"
        " order by create_time desc, delivery_id desc limit %(row_limit)s",
        {
            **wanted,
            "organization_id": organization_id,
            "row_limit": page.size + 1,
            **({} if before is None else {"before_time": before[0], "before_id": before[1]}),
        },
    )
    return [_delivery(row) for row in found]


async def count_queued(tx: Tx, organization_ids: Collection[str], conversation_ids: Collection[str]) -> dict[str, int]:
    """How many messages of conversations wait to be sent; those of which none does are left out."""
    found = await tx.execute(
        "select conversation_id::text, count(*) from conversation.deliveries"
        " where organization_id = any (%(organization_ids)b::text[]::uuid[])"
        " and conversation_id = any (%(conversation_ids)b::text[]::uuid[]) and state = 'QUEUED'"
        " group by conversation_id",
        {"organization_ids": list(organization_ids), "conversation_ids": list(conversation_ids)},
    )
    return {row[0]: int(row[1]) for row in found}


async def find_message(tx: Tx, organization_id: UUID, conversation_id: UUID, message_id: UUID) -> Message | None:
    """One of a conversation's messages."""
    found = await tx.execute(
        f"select {MESSAGE_READ} from conversation.messages where conversation_id = %(conversation_id)s"
        " and organization_id = %(organization_id)s and message_id = %(message_id)s",
        {"conversation_id": conversation_id, "organization_id": organization_id, "message_id": message_id},
    )
    row = found.first()
    return None if row is None else read_message(row)


async def last_inbound(tx: Tx, organization_id: UUID, conversation_id: UUID) -> LastInbound | None:
    """The newest message of the contact."""
    found = await tx.execute(
        """
        select message_id::text, create_time, exists (
          select from conversation.messages since
          where since.conversation_id = messages.conversation_id and since.organization_id = messages.organization_id
            and since.create_time > messages.create_time and since.author in ('AGENT', 'NATIVE_APP'))
        from conversation.messages
        where conversation_id = %(conversation_id)s and organization_id = %(organization_id)s
          and direction = 'INBOUND'
        order by create_time desc, message_id desc limit 1
        """,
        {"conversation_id": conversation_id, "organization_id": organization_id},
    )
    row = found.first()
    return None if row is None else LastInbound(*row)


async def name_sent(tx: Tx, message: Message, network_id: str, now: datetime) -> None:
    """Lets the provider's ids lead to a message that was sent; of other messages that had its id, it is the next."""
    await tx.execute(
        """
        insert into conversation.message_keys (organization_id, channel_id, provider_message_id, conversation_id,
          message_id, create_time, provider_source_id, source_week, generation)
        select %(organization_id)s::uuid, %(channel_id)s::uuid, %(provider_message_id)s, %(conversation_id)s::uuid,
          %(message_id)s::uuid, %(create_time)s, %(network_id)s, %(week)s, coalesce(max(kept.generation) + 1, 0)
        from conversation.message_keys kept
        where kept.organization_id = %(organization_id)s::uuid and kept.channel_id = %(channel_id)s::uuid
          and kept.provider_message_id = %(provider_message_id)s
        """,
        {
            "organization_id": message.organization_id,
            "channel_id": message.channel_id,
            "provider_message_id": message.provider_message_id,
            "conversation_id": message.conversation_id,
            "message_id": message.message_id,
            "create_time": message.create_time,
            "network_id": network_id,
            "week": week_of(now) if network_id else 0,
        },
    )


def _sent(row: Any) -> Sent:
    return Sent(message=read_message(row[len(_COLUMNS) :]), delivery=_delivery(row[: len(_COLUMNS)]))


def _delivery(row: Sequence[Any]) -> Delivery:
    delivery = Delivery(*row)
    delivery.send_class = SendClass(delivery.send_class)
    delivery.state = MessageState(delivery.state)
    return delivery
