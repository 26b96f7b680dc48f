"""Scripts and rounds over the wire."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis import canonical, wire
from chassis.enums import enum_number, enum_text
from chassis.errors import FieldViolation
from chassis.outbox import Fact
from prosa.conversation.v1 import events_pb2
from prosa.conversation.v1 import script_service_pb2 as pb
from services.conversation.scripts.round import Round
from services.conversation.scripts.script import CatchUp, Participant, Script, ScriptState, invalid
from services.conversation.scripts.week import Window

NUMBERS = (
    *("exchanges_min", "exchanges_max", "delay_min_seconds", "delay_max_seconds", "round_gap_seconds", "grace_seconds"),
)
_PLAIN = ("name", "time_zone", *NUMBERS)
NAMES = (*_PLAIN, "state", "participants", "topics", "calendar", "catch_up")


def script_message(script: Script, next_round_time: datetime | None) -> pb.Script:
    """A script as it stands, and when its next round is due."""
    return pb.Script(
        script_id=str(script.script_id),
        organization_id=str(script.organization_id),
        state=enum_number(pb.ScriptState, script.state),
        participants=[
            pb.Participant(channel_id=str(one.channel_id), persona_id=str(one.persona_id), phone=one.phone)
            for one in script.participants
        ],
        topics=script.topics,
        windows=[
            pb.CalendarWindow(
                weekday=window.weekday,
                daypart=pb.Daypart.ValueType(window.daypart),
                start_minute=window.start_minute,
                end_minute=window.end_minute,
                round_count=window.round_count,
            )
            for window in script.windows
        ],
        catch_up=enum_number(pb.CatchUp, script.catch_up),
        create_time=wire.to_timestamp(script.create_time),
        etag=str(script.version),
        next_round_time=wire.to_timestamp(next_round_time),
        **{field: getattr(script, field) for field in _PLAIN},
    )


def script_changed(script: Script, message: pb.Script) -> Fact:
    """The fact that a script was made or changed."""
    fact = events_pb2.ScriptChanged(organization_id=str(script.organization_id), script=message, version=script.version)
    return Fact(script.organization_id, fact)


def named(request: pb.CreateScriptRequest | pb.UpdateScriptRequest, region: str) -> dict[str, Any]:
    """What a request says of a script, by the script's fields. Raises InvalidArgument SCRIPT_INVALID."""
    values: dict[str, Any] = {field.name: value for field, value in request.ListFields() if field.name in _PLAIN}
    if request.state:
        values["state"] = ScriptState(enum_text(pb.ScriptState, request.state))
    if request.catch_up:
        values["catch_up"] = CatchUp(enum_text(pb.CatchUp, request.catch_up))
    if request.participants:
        values["participants"] = _participants(request.participants, region)
    if request.topics:
        values["topics"] = tuple(request.topics)
    if request.HasField("calendar"):
        values["windows"] = tuple(
            Window(window.weekday, window.start_minute, window.end_minute, window.round_count, window.daypart)
            for window in request.calendar.windows
        )
    return values


def round_message(of: Round) -> pb.Round:
    """A round as it stands, with the messages that were read with it."""
    return pb.Round(
        round_id=str(of.round_id),
        organization_id=str(of.organization_id),
        script_id=str(of.script_id),
        state=enum_number(pb.RoundState, of.state),
        reason=of.reason,
        topic=of.topic,
        due_time=wire.to_timestamp(of.due_time),
        start_time=wire.to_timestamp(of.start_time),
        end_time=wire.to_timestamp(of.end_time),
        exchange_count=of.exchange_count,
        sent_count=of.sent_count,
        conversation_id=wire.text(of.conversation_id),
        messages=[
            pb.RoundMessage(
                position=message.position,
                channel_id=str(message.channel_id),
                text=message.text,
                due_time=wire.to_timestamp(message.due_time),
                message_id=str(message.message_id),
            )
            for message in of.messages
        ],
    )


def round_changed(of: Round) -> Fact:
    """The fact that a round was planned, began, said something, or ended."""
    fact = events_pb2.RoundChanged(organization_id=str(of.organization_id), round=round_message(of), version=of.version)
    return Fact(of.organization_id, fact)


def _participants(given: Iterable[pb.Participant], region: str) -> tuple[Participant, ...]:
    read, violations = [], []
    for place, one in enumerate(given):
        phone = canonical.try_normalize_phone(one.phone, region)
        if phone is None:
            violations.append(FieldViolation(f"participants[{place}].phone", "must be a phone number"))
            continue
        read.append(Participant(UUID(one.channel_id), UUID(one.persona_id), phone))
    if violations:
        raise invalid(violations)
    return tuple(read)
