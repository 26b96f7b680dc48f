"""Reactions: an emoji on a message. No message of its own: nothing to answer, nothing unread. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.conversation.messages.domain.message import (
    CLOCKS_APART,
    SAME_TIME_US,
    Author,
    Direction,
    MessageKey,
    MessageReport,
    ReactionReport,
)

TEXT_LENGTH_MAX = 64
"""One emoji may be put together of a dozen characters."""


@dataclass(slots=True)
class Reaction:
    """A reaction as it is kept; the fields are the table's columns, in their order."""

    organization_id: str
    channel_id: str
    provider_message_id: str
    """The provider's id of the reaction itself."""
    conversation_id: str
    target_provider_message_id: str
    """The provider's id of the message that it is on; empty where that was never heard of."""
    direction: Direction
    author: Author
    author_name: str
    text: str
    removed: bool
    create_time: datetime
    cause_id: str
    generation: int = 0
    """How many other reactions had its id at the provider before it."""
    told_time_us: int = 0
    """When the provider says it was made, as it said it, in microseconds since 1970; 0 where it did not say."""

    @property
    def key(self) -> MessageKey:
        return self.organization_id, self.channel_id, self.provider_message_id


def new_reaction(
    key: MessageKey,
    reported: MessageReport,
    report: ReactionReport,
    conversation_id: str,
    target: str,
    cause_id: str,
    generation: int = 0,
) -> Reaction:
    """A reaction heard of for the first time."""
    return Reaction(
        organization_id=key[0],
        channel_id=key[1],
        provider_message_id=key[2],
        conversation_id=conversation_id,
        target_provider_message_id=target or report.target_provider_message_id,
        direction=reported.direction,
        author=reported.author,
        author_name=reported.author_name,
        text="" if report.removed else reported.text[:TEXT_LENGTH_MAX],
        removed=report.removed,
        create_time=reported.create_time,
        cause_id=cause_id,
        generation=generation,
        told_time_us=reported.told_time_us,
    )


def is_other(kept: Reaction, reported: MessageReport, conversation_id: str) -> bool:
    """Whether what is told is another reaction than the one that has its id: its evidence contradicts it.

    As with messages, ids are given again by a provider that was put back from a backup. A reaction stays in its
    conversation, with who made it and when.
    """
    if kept.conversation_id != conversation_id:
        return True
    if Direction.UNSPECIFIED not in (reported.direction, kept.direction) and reported.direction is not kept.direction:
        return True
    if kept.told_time_us and reported.told_time_us:
        return abs(kept.told_time_us - reported.told_time_us) > SAME_TIME_US
    return reported.told_time_us > 0 and reported.create_time > kept.create_time + CLOCKS_APART


def change_reaction(kept: Reaction, reported: MessageReport, report: ReactionReport) -> bool:
    """Changes a known reaction, and answers whether that is news. What was taken back stays so, in whatever order."""
    if kept.removed:
        return False
    if report.removed:
        kept.removed, kept.text = True, ""
        return True
    text = reported.text[:TEXT_LENGTH_MAX]
    if not text or text == kept.text:
        return False
    kept.text = text
    return True
