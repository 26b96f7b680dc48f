"""A turn: what a contact wrote in one go. No I/O, no clock, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.conversation.settings.settings import ConversationSettings

LATE = timedelta(minutes=2)
"""What was written so long before it was known of is history, and nobody waits for an answer."""


class TurnState(StrEnum):
    """How far a turn is."""

    OPEN = "OPEN"
    GATHERED = "GATHERED"
    ANSWERED = "ANSWERED"
    DROPPED = "DROPPED"


@dataclass(slots=True)
class Turn:
    """A row of ``turns``; the fields are its columns."""

    organization_id: UUID
    turn_id: UUID
    conversation_id: UUID
    begin_time: datetime
    due_time: datetime
    state: TurnState = TurnState.OPEN
    reason: str = ""
    message_ids: list[str] = field(default_factory=list)
    """In the order in which they came to be known."""
    reply_message_id: UUID | None = None

    def gathers(self, message_id: str, now: datetime, settings: ConversationSettings) -> None:
        """One more message: quiet is waited for anew, but not for ever."""
        if message_id not in self.message_ids:
            self.message_ids.append(message_id)
        longest = self.begin_time + timedelta(seconds=settings.debounce_max_seconds)
        self.due_time = max(min(now + timedelta(seconds=settings.debounce_seconds), longest), now)

    def ends(self, state: TurnState, reason: str = "") -> None:
        """Nothing more becomes of it."""
        self.state, self.reason = state, reason
