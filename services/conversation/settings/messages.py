"""Conversation settings over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chassis import wire
from chassis.errors import InvalidArgument
from chassis.outbox import Fact
from prosa.conversation.v1 import events_pb2
from prosa.conversation.v1 import settings_service_pb2 as pb
from prosa.v1 import options_pb2
from services.conversation.settings.settings import ConversationSettings, ReplyMode

PLAIN_FIELDS = (
    *("automation_enabled", "debounce_seconds", "debounce_max_seconds"),
    *("model_base_url", "model_name", "model_day_token_limit"),
)
FIELDS = (*PLAIN_FIELDS, "reply_mode", "persona_id", "model_key")
_REPLY_MODES = {
    pb.REPLY_MODE_OFF: ReplyMode.OFF,
    pb.REPLY_MODE_SCRIPTED: ReplyMode.SCRIPTED,
    pb.REPLY_MODE_MODEL: ReplyMode.MODEL,
}
_NUMBERS = {mode: number for number, mode in _REPLY_MODES.items()}


def settings_message(settings: ConversationSettings) -> pb.ConversationSettings:
    """Settings as they stand."""
    return pb.ConversationSettings(
        organization_id=str(settings.organization_id),
        reply_mode=_NUMBERS[settings.reply_mode],
        persona_id=wire.text(settings.persona_id),
        model_key_set=settings.model_key_sealed is not None,
        update_time=wire.to_timestamp(settings.update_time),
        etag=str(settings.version),
        **{field: getattr(settings, field) for field in PLAIN_FIELDS},
    )


def settings_changed(settings: ConversationSettings, changed: Sequence[str], principal: str, name: str) -> Fact:
    """The fact that conversations are answered in another way now."""
    fact = events_pb2.ConversationSettingsChanged(
        organization_id=str(settings.organization_id),
        conversation_settings=settings_message(settings),
        changed_fields=changed,
        actor=options_pb2.Actor(principal=principal, name=name),
        version=settings.version,
    )
    return Fact(settings.organization_id, fact)


def changes(request: pb.UpdateConversationSettingsRequest) -> dict[str, Any]:
    """What an update names, but for its key; the address unjudged. Raises InvalidArgument NOTHING_TO_CHANGE."""
    named: dict[str, Any] = {field.name: value for field, value in request.ListFields() if field.name in FIELDS}
    if not named:
        raise InvalidArgument("NOTHING_TO_CHANGE", f"Name what is to change: {', '.join(FIELDS)}.")
    named.pop("model_key", None)
    if "reply_mode" in named:
        named["reply_mode"] = _REPLY_MODES[request.reply_mode]
    if "persona_id" in named:
        named["persona_id"] = wire.to_optional_uuid("persona_id", request.persona_id)
    return named
