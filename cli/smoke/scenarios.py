"""The first four scenarios: WhatsApp, a first Instagram message, the same again, and both side by side."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.enums import enum_text
from cli.readings import IDENTITIES, LINKS
from cli.smoke.bodies import Writer, flat_conversation, flat_message, nested_conversation
from cli.smoke.target import Failed, Target
from prosa.v1.options_pb2 import SOURCE_INSTAGRAM, SOURCE_WHATSAPP, Source

CONVERSATION_IDS_FROM = 900_000_000
CONVERSATION_IDS_PER_RUN = 20
RUNS_APART = 4_500_000
"""Conversation ids have nine digits, which the legacy views show, and are far above those of a real Chatwoot."""
MESSAGE_IDS_PER_CONVERSATION = 1_000
CLOCKS_APART = timedelta(seconds=2)
"""How far the clock here and that of the installation may differ."""

Row = dict[str, Any]


@dataclass(slots=True)
class Run:
    """One run of the smoke: ids that no other run uses."""

    target: Target
    begun: datetime
    conversation_count: int = 0

    @classmethod
    def begin(cls, target: Target) -> Run:
        """A run that begins now."""
        return cls(target, datetime.now(UTC))

    def new_conversation_id(self) -> int:
        """A conversation id of this run."""
        self.conversation_count += 1
        run = int(self.begun.timestamp() * 2) % RUNS_APART
        return CONVERSATION_IDS_FROM + run * CONVERSATION_IDS_PER_RUN + self.conversation_count

    def message_id(self, conversation_id: int, number: int) -> int:
        """The id of a conversation's n-th message."""
        return conversation_id * MESSAGE_IDS_PER_CONVERSATION + number

    def whatsapp(self) -> Writer:
        """The person of SMOKE_WHATSAPP_PHONE."""
        settings = self.target.settings
        return Writer(
            SOURCE_WHATSAPP, self.target.phone, "Smoke WhatsApp", settings.account_id, settings.whatsapp_inbox_id
        )

    def instagram(self) -> Writer:
        """The person of SMOKE_INSTAGRAM_IGSID."""
        settings = self.target.settings
        return Writer(
            SOURCE_INSTAGRAM, settings.igsid, "Smoke Instagram", settings.account_id, settings.instagram_inbox_id
        )

    async def link(self, conversation_id: int) -> Row:
        """The link row of a conversation, once it is there and names its contact. Raises Failed when there are two."""

        async def look() -> Row | None:
            rows = await self.links(conversation_id)
            return rows[0] if rows and rows[0]["contact_id"] is not None else None

        return await self.target.until(look, f"the link row of conversation {conversation_id}")

    async def links(self, conversation_id: int) -> list[Row]:
        """All link rows of a conversation."""
        return await self.target.rows(LINKS, chatwoot_conversation_id=conversation_id)

    async def identity(self, writer: Writer) -> Row:
        """The identity of a person, as the API tells it and the table holds it."""
        source = enum_text(Source, writer.source)
        found = await self.target.get("/api/v1/identities", source=source, external_id=writer.external_id)
        if len(found["identities"]) != 1:
            raise Failed(f"{len(found['identities'])} identities {source} {writer.external_id}, one is right")
        row: Row = found["identities"][0]
        rows = await self.target.rows(IDENTITIES, source=source, external_id=writer.external_id)
        if len(rows) != 1 or str(rows[0]["contact_id"]) != row["contact_id"]:
            raise Failed(f"the table of identities disagrees with the API about {source} {writer.external_id}")
        return row


async def whatsapp(run: Run) -> str:
    """conversation_created on Channel::Whatsapp, legacy and real shape: 200, link row, contact resolved."""
    writer, legacy, real = run.whatsapp(), run.new_conversation_id(), run.new_conversation_id()
    await run.target.accept(nested_conversation(writer, legacy, datetime.now(UTC)))
    await run.target.accept(flat_conversation(writer, real, datetime.now(UTC)))
    links = [await run.link(conversation_id) for conversation_id in (legacy, real)]
    identity = await run.identity(writer)
    _same_contact(identity, *links)
    _deal(links[1])
    return f"200, links of {legacy} and {real}, contact {identity['contact_id']}, deal {links[1]['deal_id']}"


async def instagram_first(run: Run) -> str:
    """A first conversation on Channel::Instagram, its id in either place: 200, contact resolved or created, link."""
    writer, legacy, real = run.instagram(), run.new_conversation_id(), run.new_conversation_id()
    before = await run.target.get("/api/v1/identities", source="INSTAGRAM", external_id=writer.external_id)
    # The real shape has the id in contact_inbox.source_id only, the legacy one in identifier only.
    await run.target.accept(flat_conversation(writer, real, datetime.now(UTC)))
    await run.target.accept(nested_conversation(writer, legacy, datetime.now(UTC)))
    links = [await run.link(conversation_id) for conversation_id in (real, legacy)]
    identity = await run.identity(writer)
    _same_contact(identity, *links)
    _deal(links[0])
    how = "known" if before["identities"] else "created"
    return (
        f"200, {identity['conversation_key']}, contact {identity['contact_id']} ({how}), links of {real} and {legacy}"
    )


async def instagram_again(run: Run) -> str:
    """The same conversation again, under the same and under another delivery id: one row, nothing else moves."""
    writer, conversation_id = run.instagram(), run.new_conversation_id()
    created = flat_conversation(writer, conversation_id, datetime.now(UTC), unread_count=1)
    delivery_id = f"smoke-{secrets.token_hex(12)}"
    await run.target.accept(created, delivery_id=delivery_id)
    text = flat_message(
        writer, conversation_id, run.message_id(conversation_id, 1), "Oi!", datetime.now(UTC), unread_count=2
    )
    await run.target.accept(text)
    before = await _link_with_messages(run, conversation_id)
    await run.target.accept(created, delivery_id=delivery_id)
    await run.target.accept(created)
    await run.target.accept(text)
    await settled(run)
    after = await run.links(conversation_id)
    if len(after) != 1:
        raise Failed(f"{len(after)} link rows of conversation {conversation_id}, one is right")
    for column in ("contact_id", "deal_id", "unread_count", "ai_enabled", "status"):
        if after[0][column] != before[column]:
            raise Failed(f"{column} was {before[column]} and became {after[0][column]}")
    messages = await run.target.get(f"/api/v1/conversations/{after[0]['id']}/messages")
    if len(messages["messages"]) != 1:
        raise Failed(f"{len(messages['messages'])} messages, one is right")
    return f"1 row after 3 repetitions, unread {before['unread_count']}, handoff and contact unchanged"


async def isolation(run: Run) -> str:
    """Both channels at the same time: each routed by its inbox, two keys, two identities."""
    writers = [run.whatsapp(), run.instagram()]
    ids = [run.new_conversation_id() for _ in writers]
    now = datetime.now(UTC)
    await asyncio.gather(
        *(run.target.accept(flat_conversation(writer, ids[place], now)) for place, writer in enumerate(writers))
    )
    links = [await run.link(conversation_id) for conversation_id in ids]
    identities = [await run.identity(writer) for writer in writers]
    for writer, link, identity in zip(writers, links, identities, strict=True):
        _same_contact(identity, link)
        if link["chatwoot_inbox_id"] != writer.inbox_id:
            raise Failed(f"the link of inbox {writer.inbox_id} is kept under inbox {link['chatwoot_inbox_id']}")
    keys = {identity["conversation_key"] for identity in identities}
    rows = {identity["contact_identity_id"] for identity in identities}
    if len(keys) != len(writers) or len(rows) != len(writers):
        raise Failed(f"the keys {sorted(keys)} are not two")
    for writer, other in zip(writers, reversed(writers), strict=True):
        source = enum_text(Source, other.source)
        mixed = await run.target.get("/api/v1/identities", source=source, external_id=writer.external_id)
        if any(item["external_id"] == writer.external_id for item in mixed["identities"]):
            raise Failed(f"{writer.external_id} is an identity of {source} too")
    return f"2 keys, 2 identities: {', '.join(sorted(keys))}"


async def settled(run: Run) -> None:
    """Waits until nothing that has arrived by now waits to be processed; on a busy system there is always more."""
    begin, end = run.begun - CLOCKS_APART, datetime.now(UTC) + CLOCKS_APART

    async def look() -> bool | None:
        waiting = await run.target.get(
            "/api/v1/webhook-events",
            state="PENDING",
            start_time=begin.isoformat(),
            end_time=end.isoformat(),
            page_size=1,
        )
        return None if waiting["webhook_events"] else True

    await run.target.until(look, "the end of processing")


async def _link_with_messages(run: Run, conversation_id: int) -> Row:
    await run.link(conversation_id)
    await settled(run)
    return (await run.links(conversation_id))[0]


def _same_contact(identity: Row, *links: Row) -> None:
    for link in links:
        if str(link["contact_id"]) != identity["contact_id"]:
            raise Failed(
                f"conversation {link['chatwoot_conversation_id']} is linked to contact {link['contact_id']}, "
                f"the identity to {identity['contact_id']}"
            )


def _deal(link: Row) -> None:
    if link["deal_id"] is None:
        raise Failed(f"conversation {link['chatwoot_conversation_id']} has no deal")


Scenario = Callable[[Run], Awaitable[str]]
