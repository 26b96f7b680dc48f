"""Tables and SQL of conversations and messages; every function runs in the caller's transaction.

Whoever locks several conversations does so in the order of their natural key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.errors import Aborted
from chassis.paging import Page
from services.conversation.messages.domain.conversation import (
    Conversation,
    ConversationKey,
    ConversationState,
)
from services.conversation.messages.domain.message import (
    Message,
    MessageKey,
)
from services.conversation.messages.place_store import REDIRECTS
from services.conversation.messages.rollup_store import COUNT_INSERTED, failure_rows
from services.conversation.messages.rows_store import (
    CONVERSATION_COLUMNS,
    CONVERSATION_FIXED,
    CONVERSATION_NAMES,
    CONVERSATION_READ,
    CONVERSATION_TYPES,
    KEY_TYPES,
    MESSAGE_CHANGING,
    MESSAGE_COLUMNS,
    MESSAGE_NAMES,
    MESSAGE_READ,
    MESSAGE_TYPES,
    as_json,
    assignments,
    names,
    read_conversation,
    read_message,
    recordset,
)

EARLIEST_MONTH = datetime(2026, 1, 1, tzinfo=UTC)
"""Everything written before lies in one partition."""


SourceKey = tuple[str, str, str]
"""Organization, channel, network's message id: what several messages of the provider may have been told under."""
WEEK_SECONDS = 7 * 24 * 3600


@dataclass(slots=True)
class KnownMessage:
    """A message that was heard of before."""

    conversation_id: str
    message_id: str
    message: Message | None
    """None where its content was let go with its month."""
    generation: int = 0
    """How many other messages had the id before that it is known by."""
    contact_id: str | None = None
    """Of its conversation, where it was found by the network's id."""


@dataclass(slots=True)
class MessageKeyRow:
    """An id of the provider that leads to a message; the fields are the table's columns, in their order."""

    organization_id: str
    channel_id: str
    provider_message_id: str
    conversation_id: str
    message_id: str
    create_time: datetime
    """The message's own: it finds the month that it lies in."""
    generation: int
    provider_source_id: str
    """The network's id, where the message was first heard of under this id; empty for copies."""
    source_week: int


def week_of(moment: datetime) -> int:
    """The week that the network's id of a message is kept under."""
    return int(moment.timestamp()) // WEEK_SECONDS


_FIND = f"""
select {CONVERSATION_READ}
from unnest(%(organization_ids)b::text[]::uuid[], %(provider_ids)b::text[], %(connection_ids)b::text[]::uuid[])
  as wanted (organization_id, provider_conversation_id, connection_id)
join conversation.conversations using (organization_id, provider_conversation_id, connection_id)
order by conversations.organization_id, conversations.provider_conversation_id, conversations.connection_id,
  conversations.generation desc
"""
_LOCK = f"{_FIND}for update of conversations"

_INSERT_CONVERSATIONS = f"""
insert into conversation.conversations ({CONVERSATION_NAMES})
select {CONVERSATION_NAMES} from {recordset(CONVERSATION_COLUMNS, CONVERSATION_TYPES)}
on conflict on constraint conversations_provider_key do nothing
returning conversation_id::text
"""

# A row that is held is found again by its natural key: the way that was taken to lock it is fresh in memory, while the
# primary key of some old conversation would have to be fetched for this alone.
_CONVERSATION_KEY = ("organization_id", "provider_conversation_id", "connection_id", "generation")
_CONVERSATION_CHANGING = tuple(column for column in CONVERSATION_COLUMNS if column not in CONVERSATION_FIXED)
ADVANCING = (
    *("version", "update_time", "activity_time", "unread_count", "provider_update_time_us", "last_message_time"),
    *("last_message_preview", "last_message_direction", "last_provider_message_id"),
)
"""What a plain message changes of its conversation; none of it may be in an index of the table."""


def _update_conversations(columns: Sequence[str]) -> str:
    return f"""
    update conversation.conversations set {assignments(columns)}
    from {recordset((*_CONVERSATION_KEY, *columns), CONVERSATION_TYPES)}
    where {" and ".join(f"conversations.{column} = given.{column}" for column in _CONVERSATION_KEY)}
    """


_UPDATE_CONVERSATIONS = _update_conversations(_CONVERSATION_CHANGING)
_ADVANCE_CONVERSATIONS = _update_conversations(ADVANCING)

# The order of conversations lies in a table of its own, which triggers keep: what a message moves would otherwise be in
# an index of the wide row, and every message would add to every other index of it. Each state has its own order.
_LIST_BY_ACTIVITY = f"""
select {CONVERSATION_READ}
from (
  select newest.activity_time, newest.conversation_id
  from unnest(%(states)b::text[]) as wanted (state)
  cross join lateral (
    select activity_time, conversation_id from conversation.conversation_activity activity
    where activity.organization_id = %(organization_id)s and activity.state = wanted.state{{after}}
    order by activity_time desc, conversation_id desc limit %(row_limit)s
  ) newest
  order by activity_time desc, conversation_id desc limit %(row_limit)s
) listed
join conversation.conversations using (conversation_id)
where conversations.organization_id = %(organization_id)s
order by listed.activity_time desc, listed.conversation_id desc
"""

# A key outlives a message whose content was let go with its month: the row then reads null but for the key.
_KEY_COUNT = 8
_KEY_READ = """message_keys.organization_id::text, message_keys.channel_id::text,
  message_keys.conversation_id::text, message_keys.message_id::text, message_keys.generation"""
_THEIR_MESSAGE = """left join conversation.messages on messages.conversation_id = message_keys.conversation_id
  and messages.create_time = message_keys.create_time and messages.message_id = message_keys.message_id"""
# Whoever stands for the contact of a conversation: who was merged since is the same person.
_THEIR_CONTACT = REDIRECTS.survivor_of("conversations.contact_id", "conversations.organization_id")
# By both of their ids at once. What is known by the network's id says whose conversation it is in. Each of those is
# looked for by itself (`offset 0`): of a table that nobody has analyzed yet the planner cannot tell that this key finds
# less than the beginning of the primary one, and would read a channel's messages for each.
_LOAD_MESSAGES = f"""
select false, message_keys.provider_message_id, null::text, {_KEY_READ}, {MESSAGE_READ}
from unnest(%(organization_ids)b::text[]::uuid[], %(channel_ids)b::text[]::uuid[], %(provider_ids)b::text[])
  as wanted (organization_id, channel_id, provider_message_id)
join conversation.message_keys using (organization_id, channel_id, provider_message_id)
{_THEIR_MESSAGE}
union all
select true, message_keys.provider_source_id, {_THEIR_CONTACT}::text, {_KEY_READ}, {MESSAGE_READ}
from unnest(%(source_weeks)b::bigint[], %(source_organization_ids)b::text[]::uuid[],
    %(source_channel_ids)b::text[]::uuid[], %(source_ids)b::text[])
  as wanted (source_week, organization_id, channel_id, provider_source_id)
cross join lateral (
  select * from conversation.message_keys
  where message_keys.source_week = wanted.source_week and message_keys.organization_id = wanted.organization_id
    and message_keys.channel_id = wanted.channel_id and message_keys.provider_source_id = wanted.provider_source_id
    and message_keys.provider_source_id <> '' offset 0
) message_keys
{_THEIR_MESSAGE}
join conversation.conversations on conversations.conversation_id = message_keys.conversation_id
"""

_KEY_COLUMNS = tuple(field.name for field in fields(MessageKeyRow))
_INSERT_MESSAGES = f"""
with keys as (
  insert into conversation.message_keys ({names(_KEY_COLUMNS)})
  select {names(_KEY_COLUMNS)} from {recordset(_KEY_COLUMNS, KEY_TYPES, "keys")}
), inserted as (
  insert into conversation.messages ({MESSAGE_NAMES})
  select {MESSAGE_NAMES} from {recordset(MESSAGE_COLUMNS, MESSAGE_TYPES)}
  returning organization_id, create_time, channel_id, direction, state
)
{COUNT_INSERTED}
"""

_MESSAGE_PLACE = ("conversation_id", "create_time", "message_id", "organization_id")
_UPDATE_MESSAGES = f"""
update conversation.messages set {assignments(MESSAGE_CHANGING)}
from {recordset((*_MESSAGE_PLACE, *MESSAGE_CHANGING), MESSAGE_TYPES)}
where {" and ".join(f"messages.{column} = given.{column}" for column in _MESSAGE_PLACE)}
"""


# Another conversation's message is counted up too, under no lock but the row's own.
_COUNT_COPIES = """
update conversation.messages set copy_count = messages.copy_count + given.copies
from json_to_recordset(%(rows)s::json) as given (
  conversation_id uuid, create_time timestamptz, message_id uuid, copies int)
where messages.conversation_id = given.conversation_id and messages.create_time = given.create_time
  and messages.message_id = given.message_id
"""


async def lock_conversations(tx: Tx, keys: Collection[ConversationKey]) -> dict[ConversationKey, list[Conversation]]:
    """Those of the conversations that exist, the last that had each key first, their rows held until commit."""
    found: dict[ConversationKey, list[Conversation]] = {}
    for conversation in await _of_keys(tx, _LOCK, keys):
        found.setdefault(conversation.key, []).append(conversation)
    return found


async def find_conversations(tx: Tx, keys: Collection[ConversationKey]) -> list[Conversation]:
    """Those of the conversations that exist, held by nobody."""
    return await _of_keys(tx, _FIND, keys)


async def _of_keys(tx: Tx, query: str, keys: Collection[ConversationKey]) -> list[Conversation]:
    if not keys:
        return []
    organization_ids, provider_ids, connection_ids = zip(*keys, strict=True)
    rows = await tx.execute(
        query,
        {
            "organization_ids": list(organization_ids),
            "provider_ids": list(provider_ids),
            "connection_ids": list(connection_ids),
        },
    )
    return [read_conversation(row) for row in rows]


async def insert_conversations(tx: Tx, conversations: Sequence[Conversation]) -> None:
    """Adds conversations. Raises Aborted CONVERSATION_RACED where somebody else has added one meanwhile.

    It waits for whoever is about to, so that a second try finds what the first one missed.
    """
    if not conversations:
        return
    if len(await insert_missing_conversations(tx, conversations)) < len(conversations):
        raise Aborted("CONVERSATION_RACED", "Somebody else heard of the conversation at the same moment. Try again.")


async def insert_missing_conversations(tx: Tx, conversations: Sequence[Conversation]) -> set[str]:
    """Adds those of the conversations whose key nobody has, waiting for whoever is about to; answers their ids."""
    ordered = sorted(conversations, key=lambda conversation: conversation.key)
    inserted = await tx.execute(_INSERT_CONVERSATIONS, {"rows": as_json(ordered)})
    return {conversation_id for (conversation_id,) in inserted}


async def update_conversations(tx: Tx, conversations: Sequence[Conversation]) -> None:
    """Writes what may change of conversations that are held."""
    if conversations:
        await tx.execute(_UPDATE_CONVERSATIONS, {"rows": as_json(conversations)})


async def advance_conversations(tx: Tx, conversations: Sequence[Conversation]) -> None:
    """Writes what a plain message changes of conversations that are held: a third of the columns, a third of the time.

    The rest of each must be as it was loaded.
    """
    if conversations:
        rows = [{column: getattr(row, column) for column in (*_CONVERSATION_KEY, *ADVANCING)} for row in conversations]
        await tx.execute(_ADVANCE_CONVERSATIONS, {"rows": as_json(rows)})


async def load_messages(
    tx: Tx, keys: Collection[MessageKey], source_keys: Collection[SourceKey], now: datetime
) -> tuple[dict[MessageKey, list[KnownMessage]], dict[SourceKey, list[KnownMessage]]]:
    """Of the messages that are known, whose they are, and what is kept of them; no lock but the conversation's.

    By the provider's ids, the last that had each first; and by the network's ids, as heard of lately.
    """
    if not keys and not source_keys:
        return {}, {}
    weeks = week_of(now), week_of(now) - 1
    rows: Iterable[Sequence[Any]] = await tx.execute(
        _LOAD_MESSAGES,
        {
            "organization_ids": [key[0] for key in keys],
            "channel_ids": [key[1] for key in keys],
            "provider_ids": [key[2] for key in keys],
            "source_weeks": [week for week in weeks for _ in source_keys],
            "source_organization_ids": [key[0] for key in source_keys] * len(weeks),
            "source_channel_ids": [key[1] for key in source_keys] * len(weeks),
            "source_ids": [key[2] for key in source_keys] * len(weeks),
        },
    )
    by_key: dict[MessageKey, list[KnownMessage]] = {}
    by_source: dict[SourceKey, list[KnownMessage]] = {}
    # Two rows of one message are one object: what changes it is seen by either.
    messages: dict[str, Message] = {}
    for row in rows:
        columns = row[_KEY_COUNT:]
        is_source, named, contact_id, organization_id, channel_id, conversation_id, message_id, generation = row[
            :_KEY_COUNT
        ]
        message = None
        if columns[0] is not None:
            message = messages.get(message_id)
            if message is None:
                message = messages[message_id] = read_message(columns)
        known = KnownMessage(conversation_id, message_id, message, generation, contact_id)
        (by_source if is_source else by_key).setdefault((organization_id, channel_id, named), []).append(known)
    for found in by_key.values():
        found.sort(key=lambda known: -known.generation)
    return by_key, by_source


async def insert_messages(
    tx: Tx, messages: Sequence[Message], keys: Sequence[MessageKeyRow], failures: Sequence[tuple[Message, int]] = ()
) -> None:
    """Adds messages, and ids of the provider that lead to messages, and counts them.

    ``failures`` are messages that became failed ones (1) or ceased to be (-1). The last to write of a transaction: all
    that record in a number's quarter of an hour wait for each other from here on.
    """
    if messages or keys or failures:
        changes = as_json(failure_rows(failures))
        await tx.execute(_INSERT_MESSAGES, {"rows": as_json(messages), "keys": as_json(keys), "failures": changes})


async def count_copies(tx: Tx, copies: Sequence[tuple[Message, int]]) -> None:
    """Notes how many times more messages were told."""
    if copies:
        rows = [
            {
                "conversation_id": message.conversation_id,
                "create_time": message.create_time,
                "message_id": message.message_id,
                "copies": count,
            }
            for message, count in sorted(copies, key=lambda copied: copied[0].message_id)
        ]
        await tx.execute(_COUNT_COPIES, {"rows": as_json(rows)})


async def update_messages(tx: Tx, messages: Sequence[Message]) -> None:
    """Writes what may change of messages."""
    if messages:
        await tx.execute(_UPDATE_MESSAGES, {"rows": as_json(messages)})


async def ensure_message_month(tx: Tx, moment: datetime) -> None:
    """Makes sure that messages of the moment's month have their partition."""
    await tx.execute("select conversation.ensure_message_month(%(moment)s)", {"moment": moment})


async def find_conversation(
    tx: Tx, organization_id: UUID, conversation_id: UUID, *, lock: bool = False
) -> Conversation | None:
    """One of the organization's conversations; with ``lock`` its row is held until commit."""
    rows = await tx.execute(
        f"select {CONVERSATION_READ} from conversation.conversations where conversation_id = %(conversation_id)s"
        f" and organization_id = %(organization_id)s {'for update' if lock else ''}",
        {"conversation_id": conversation_id, "organization_id": organization_id},
    )
    row = rows.one_or_none()
    return None if row is None else read_conversation(row)


_SEVERAL = {
    "contact_id": "contact_id = any (%(contact_id)b::uuid[])",
    "own_keys": "conversation_key = any (%(own_keys)b::text[])",
}
"""How filters read of which several values will do."""


async def list_conversations(
    tx: Tx, organization_id: UUID, wanted: Mapping[str, object], page: Page
) -> list[Conversation]:
    """One more than a page of the organization's conversations whose columns have the wanted values, newest first.

    Of ``contact_id`` all that are one person are wanted, of ``own_keys`` all conversation keys.
    """
    parameters: dict[str, object] = {**wanted, "organization_id": organization_id, "row_limit": page.size + 1}
    after = ""
    if page.after is not None:
        after = " and (activity_time, conversation_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)"
        parameters |= {"after_time": page.after[0], "after_id": page.after[1]}
    if wanted.keys() <= {"state"}:
        parameters["states"] = [str(state) for state in wanted.values()] or list(ConversationState)
        query = _LIST_BY_ACTIVITY.format(after=after)
    else:
        # Whatever else is asked for has an index of its own and few conversations.
        conditions = " and ".join(
            _SEVERAL.get(column, f"{column} = %({column})s") for column in ("organization_id", *wanted)
        )
        query = (
            f"select {CONVERSATION_READ} from conversation.conversations where {conditions}{after}"
            " order by activity_time desc, conversation_id desc limit %(row_limit)s"
        )
    return [read_conversation(row) for row in await tx.execute(query, parameters)]


async def list_messages(tx: Tx, organization_id: UUID, conversation_id: UUID, page: Page) -> list[Message]:
    """One more than a page of a conversation's messages, newest first."""
    parameters: dict[str, object] = {
        "organization_id": organization_id,
        "conversation_id": conversation_id,
        "row_limit": page.size + 1,
    }
    after = ""
    if page.after is not None:
        # The time stands alone as well, so that months that lie after it are not looked into.
        after = (
            " and create_time <= %(after_time)s::timestamptz"
            " and (create_time, message_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)"
        )
        parameters |= {"after_time": page.after[0], "after_id": page.after[1]}
    rows = await tx.execute(
        f"select {MESSAGE_READ} from conversation.messages"
        f" where conversation_id = %(conversation_id)s and organization_id = %(organization_id)s{after}"
        " order by create_time desc, message_id desc limit %(row_limit)s",
        parameters,
    )
    return [read_message(row) for row in rows]


async def lock_conversations_by_key(tx: Tx, keys: Collection[tuple[str, str]]) -> list[Conversation]:
    """The conversations that carry one of the conversation keys, each in its organization, held until commit."""
    return await _find_by(tx, "conversation_key", "text", keys, lock=True)


async def find_conversations_by_key(tx: Tx, keys: Collection[tuple[str, str]]) -> list[Conversation]:
    """The same, held by nobody."""
    return await _find_by(tx, "conversation_key", "text", keys, lock=False)


async def lock_conversations_by_id(tx: Tx, ids: Collection[tuple[str, str]]) -> list[Conversation]:
    """The conversations of these ids, each in its organization, held until commit."""
    return await _find_by(tx, "conversation_id", "uuid", ids, lock=True)


async def _find_by(
    tx: Tx, column: str, kind: str, wanted: Collection[tuple[str, str]], *, lock: bool
) -> list[Conversation]:
    distinct = set(wanted)
    if not distinct:
        return []
    organization_ids, values = zip(*distinct, strict=True)
    rows = await tx.execute(
        f"""
        select {CONVERSATION_READ}
        from unnest(%(organization_ids)b::text[]::uuid[], %(values)b::text[]::{kind}[])
          as wanted (organization_id, {column})
        join conversation.conversations using (organization_id, {column})
        order by conversations.organization_id, conversations.provider_conversation_id, conversations.connection_id,
          conversations.generation desc
        {"for update of conversations" if lock else ""}
        """,
        {"organization_ids": list(organization_ids), "values": list(values)},
    )
    return [read_conversation(row) for row in rows]
