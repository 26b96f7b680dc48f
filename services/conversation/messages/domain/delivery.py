"""Deliveries: how one message is sent, and what may become of it. No I/O, no clock, no protobuf."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.conversation.messages.domain.message import AWAITING_ECHO, Message, MessageReport, MessageState

SILENT_REASON = "PROVIDER_SILENT"
"""Nobody knows whether it left."""
ECHO_WINDOW = timedelta(minutes=10)
"""How long after it was sent a message without any id is known by its text alone."""
ECHO_LOOKED_FOR = timedelta(hours=25)
"""How long after something was last sent in a conversation an echo is looked for at all."""
WORD_JOINER = "\u2060"
"""Put between letters that a provider would read as a template; its readers see nothing of it."""


class SendClass(StrEnum):
    """Why it is sent, which decides what binds it."""

    PERSON = "PERSON"
    REPLY = "REPLY"
    SCHEDULED = "SCHEDULED"
    MARKETING = "MARKETING"
    CONFIRMATION = "CONFIRMATION"


@dataclass(slots=True)
class Delivery:
    """A row of ``deliveries``; the fields are its columns, in their order. Ids are texts."""

    organization_id: str
    delivery_id: str
    conversation_id: str
    connection_id: str
    channel_id: str
    contact_id: str | None
    message_time: datetime
    send_class: SendClass
    cause: str
    actor_principal: str
    actor_name: str
    state: MessageState
    create_time: datetime
    end_time: datetime
    reason: str = ""
    explanation: str = ""
    retry_time: datetime | None = None
    attempt_count: int = 0
    look_count: int = 0
    reservation_id: str | None = None
    suppression_id: str | None = None
    internal: bool = False
    answers_message_id: str | None = None
    network_id: str = ""
    send_time: datetime | None = None
    settle_time: datetime | None = None
    version: int = 1

    def waits(self, reason: str, explanation: str, retry_time: datetime | None) -> None:
        """It is tried again, nothing having left."""
        self.state, self.reason, self.explanation, self.retry_time = (
            MessageState.QUEUED,
            reason,
            explanation,
            retry_time,
        )

    def settle(self, state: MessageState, now: datetime, reason: str = "", explanation: str = "") -> None:
        """It is in another state than being waited for."""
        self.state, self.reason, self.explanation, self.retry_time = state, reason, explanation, None
        if state is not MessageState.UNCERTAIN and self.settle_time is None:
            self.settle_time = now


@dataclass(slots=True)
class Sent:
    """A message that Prosa sends, with its delivery."""

    message: Message
    delivery: Delivery


def plain(text: str) -> str:
    """A text as it was typed, whatever was put into it on its way to the provider."""
    return text.replace(WORD_JOINER, "")


def echoed(awaiting: Iterable[Sent], reported: MessageReport) -> Sent | None:
    """Which of those in flight a message that nobody knows is the echo of; None where it is none's.

    By the mark that we sent along, else by the network's id, else by the same text within ten minutes: the oldest.
    """
    candidates = sorted(
        (sent for sent in awaiting if sent.delivery.state in AWAITING_ECHO), key=lambda sent: sent.delivery.create_time
    )
    if reported.delivery_id:
        return next((sent for sent in candidates if sent.delivery.delivery_id == reported.delivery_id), None)
    network_ids = {reported.network_message_id, reported.provider_source_id} - {""}
    for sent in candidates:
        if sent.delivery.network_id in network_ids:
            return sent
    for sent in candidates:
        begun = sent.delivery.send_time
        if sent.delivery.state is MessageState.FAILED and sent.delivery.reason != SILENT_REASON:
            # The provider refused it: what looks like it is another message of the same words.
            continue
        if begun is None or sent.delivery.network_id or not begun <= reported.create_time + ECHO_WINDOW:
            continue
        if reported.create_time <= begun + ECHO_WINDOW and _same(sent.message.text, reported.text):
            return sent
    return None


def _same(typed: str, told: str) -> bool:
    return " ".join(plain(typed).split()) == " ".join(plain(told).split())
