"""Personas over the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from chassis import wire
from chassis.errors import InvalidArgument
from prosa.conversation.v1 import script_service_pb2 as pb
from services.conversation.personas.persona import Persona, ReplyTemplate

FIELDS = (
    *("name", "morning_greeting", "afternoon_greeting", "evening_greeting"),
    *("style", "language", "temperature", "text_length_max"),
)


def persona_message(persona: Persona) -> pb.Persona:
    """A persona as it stands."""
    return pb.Persona(
        persona_id=str(persona.persona_id),
        organization_id=str(persona.organization_id),
        fallback_texts=persona.fallback_texts,
        reply_templates=[
            pb.ReplyTemplate(intent=template.intent, phrases=template.phrases, texts=template.texts)
            for template in persona.reply_templates
        ],
        create_time=wire.to_timestamp(persona.create_time),
        etag=str(persona.version),
        **{field: getattr(persona, field) for field in FIELDS},
    )


def named(request: pb.CreatePersonaRequest | pb.UpdatePersonaRequest) -> dict[str, Any]:
    """What a request says of a persona, by the persona's fields."""
    values: dict[str, Any] = {field.name: value for field, value in request.ListFields() if field.name in FIELDS}
    if request.fallback_texts:
        values["fallback_texts"] = tuple(request.fallback_texts)
    if request.reply_templates:
        values["reply_templates"] = _templates(request.reply_templates)
    return values


def changes(request: pb.UpdatePersonaRequest) -> dict[str, Any]:
    """What an update names. Raises InvalidArgument NOTHING_TO_CHANGE."""
    values = named(request)
    if not values:
        raise InvalidArgument(
            "NOTHING_TO_CHANGE", f"Name what is to change: {', '.join(FIELDS)}, fallback_texts, reply_templates."
        )
    return values


def after(key: tuple[str, ...] | None) -> tuple[str, UUID] | None:
    """Where a page by name begins. Raises ValueError where the key is none."""
    return None if key is None else (key[0], UUID(key[1]))


def _templates(templates: Iterable[pb.ReplyTemplate]) -> tuple[ReplyTemplate, ...]:
    return tuple(
        ReplyTemplate(template.intent, tuple(template.phrases), tuple(template.texts)) for template in templates
    )
