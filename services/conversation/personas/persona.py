"""A persona: a way to speak."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.errors import Aborted, NotFound

LANGUAGE = "pt-BR"
TEMPERATURE = 0.7
TEXT_LENGTH_MAX = 600


@dataclass(frozen=True, slots=True)
class ReplyTemplate:
    """What is said to one intent."""

    intent: str
    phrases: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Persona:
    """How one speaks: greetings by the hour, a style for models, texts for when no model answers."""

    organization_id: UUID
    persona_id: UUID
    name: str
    create_time: datetime
    morning_greeting: str = ""
    afternoon_greeting: str = ""
    evening_greeting: str = ""
    style: str = ""
    language: str = LANGUAGE
    temperature: float = TEMPERATURE
    text_length_max: int = TEXT_LENGTH_MAX
    fallback_texts: tuple[str, ...] = ()
    reply_templates: tuple[ReplyTemplate, ...] = ()
    version: int = 1


def etag_fresh(version: int, etag: str) -> None:
    """Raises Aborted ETAG_STALE where the etag is another version's; an empty one means any."""
    if etag and etag != str(version):
        raise Aborted("ETAG_STALE", "It was changed since you read it. Read it again, then decide.")


def no_persona() -> NotFound:
    """The refusal of a persona that is not the organization's."""
    return NotFound("PERSONA_NOT_FOUND", "The organization has no such persona.")
