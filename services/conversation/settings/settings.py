"""What an organization has chosen about how its conversations are answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound


class ReplyMode(StrEnum):
    """Who answers customers by itself."""

    OFF = "OFF"
    SCRIPTED = "SCRIPTED"
    MODEL = "MODEL"


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """How an organization's conversations are answered; as it is here while nothing was chosen."""

    organization_id: UUID
    automation_enabled: bool = True
    reply_mode: ReplyMode = ReplyMode.OFF
    persona_id: UUID | None = None
    debounce_seconds: int = 5
    debounce_max_seconds: int = 30
    model_base_url: str = "https://api.openai.com/v1"
    model_name: str = "gpt-4o-mini"
    model_key_sealed: bytes | None = None
    model_day_token_limit: int = 200_000
    update_time: datetime | None = None
    """None while it is what everybody begins with."""
    version: int = 0
    rollout_version: int = 0
    """Of the newest going live or back that switched automation."""


def fitting(before: ConversationSettings, after: ConversationSettings, *, key_given: bool) -> None:
    """Raises where what is wanted cannot be: InvalidArgument DEBOUNCE_INVALID, NotFound PERSONA_NOT_FOUND,
    FailedPrecondition MODEL_KEY_NEEDED.
    """
    if after.debounce_max_seconds < after.debounce_seconds:
        raise InvalidArgument(
            "DEBOUNCE_INVALID",
            f"debounce_max_seconds is {after.debounce_max_seconds}, and debounce_seconds {after.debounce_seconds}: the "
            "longest wait cannot be the shorter one.",
        )
    if after.reply_mode is not ReplyMode.OFF and after.persona_id is None:
        raise NotFound("PERSONA_NOT_FOUND", "Name in persona_id who replies, or set reply_mode OFF.")
    # Whoever may change the address could else have the key sent to themselves, and read what nobody can.
    moved = _server(before.model_base_url) != _server(after.model_base_url)
    if moved and before.model_key_sealed is not None and not key_given:
        raise FailedPrecondition(
            "MODEL_KEY_NEEDED",
            "The model key that is kept was given for another server than model_base_url now names. Send model_key in "
            "the same request.",
        )
    if after.reply_mode is ReplyMode.MODEL and after.model_key_sealed is None:
        raise FailedPrecondition("MODEL_KEY_NEEDED", "A model answers only with a key of its server. Send model_key.")


def not_overtaken(before: ConversationSettings, rollout_version: int) -> None:
    """Raises Aborted ETAG_STALE where a later going live or back has switched automation; 0 is a change of its own."""
    if rollout_version and rollout_version < before.rollout_version:
        raise Aborted("ETAG_STALE", "The organization was taken live or back meanwhile. Look how it is, then decide.")


def _server(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port
