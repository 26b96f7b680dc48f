"""Reports and items for tests of the rules, told briefly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.conversation.messages.domain.conversation import (
    Conversation,
    ConversationReport,
    ConversationState,
    Source,
)
from services.conversation.messages.domain.message import (
    Author,
    Direction,
    Message,
    MessageReport,
    MessageState,
)
from services.conversation.messages.domain.record import Change, Item, new_conversation, new_message, record

NOON = datetime(2026, 7, 20, 12, 0, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000
NOW = NOON + timedelta(hours=1)
CONTACT, OTHER_CONTACT = str(UUID(int=1)), str(UUID(int=2))
DEAL, OTHER_DEAL = str(UUID(int=11)), str(UUID(int=12))
PLACE: dict[str, Any] = {name: str(uuid4()) for name in ("organization_id", "connection_id", "channel_id")}


def report(minute: int | None, *labels: str, **changes: Any) -> ConversationReport:
    """A report of an open conversation, some minutes after noon; without a time for None."""
    update_time_us = 0 if minute is None else NOON_US + minute * 60_000_000
    plain = ConversationReport(
        state=ConversationState.OPEN,
        labels=sorted(labels),
        unread_count=0,
        assignee_name="",
        update_time_us=update_time_us,
    )
    return replace(plain, **changes)


def message(number: str, text: str = "Oi", *, minute: int = 0, **changes: Any) -> MessageReport:
    """A message of the contact, written some minutes after noon."""
    plain = MessageReport(
        provider_message_id=number,
        provider_source_id="",
        direction=Direction.INBOUND,
        author=Author.CONTACT,
        text=text,
        content_type="text",
        attachments=[],
        state=MessageState.UNSPECIFIED,
        error_message="",
        deleted=False,
        in_reply_to="",
        author_name="",
        create_time=NOON + timedelta(minutes=minute),
    )
    return replace(plain, **changes)


def echo(number: str, *, minute: int = 0, **changes: Any) -> MessageReport:
    """A message that the staff wrote on the phone."""
    values = {"direction": Direction.OUTBOUND, "author": Author.NATIVE_APP}
    return message(number, "Já te respondo", minute=minute, **(values | changes))


def item(told: MessageReport | None = None, said: ConversationReport | None = None, **changes: Any) -> Item:
    """What one event said."""
    plain = Item(
        **PLACE,
        source=Source.WHATSAPP,
        provider_conversation_id="391",
        account_id=7,
        inbox_id=21,
        provider_contact_id="118",
        contact_id=CONTACT,
        deal_id=DEAL,
        conversation_key="whatsapp:+5511900004821",
        contact_name="Marina Prado",
        contact_phone="",
        provider_url="",
        inbox_name="",
        report=said,
        message=told,
        cause_id="cause",
        receive_time=NOW,
    )
    return replace(plain, **changes)


class Thread:
    """One conversation and its messages, as items are folded into them."""

    def __init__(self) -> None:
        self.conversation: Conversation | None = None
        self.messages: dict[str, Message] = {}

    def record(self, given: Item) -> Change:
        """Folds an item in, as the recorder does."""
        created = self.conversation is None
        if self.conversation is None:
            self.conversation = new_conversation(given, str(uuid4()), NOW)
        kept = fresh = None
        if given.message is not None:
            kept = self.messages.get(given.message.provider_message_id)
            if kept is None:
                fresh = new_message(given, given.message, self.conversation.conversation_id, str(uuid4()), NOW)
                self.messages[given.message.provider_message_id] = fresh
        return record(self.conversation, given, kept, fresh, created=created, now=NOW)

    @property
    def now(self) -> Conversation:
        """The conversation; heard of at least once."""
        assert self.conversation is not None
        return self.conversation


def thread(*items: Item) -> Thread:
    """A conversation of which these items were heard."""
    told = Thread()
    for given in items:
        told.record(given)
    return told
