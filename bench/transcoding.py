"""P16: what transcoding a 20-field message costs, against a mapping written by hand and against protobuf's json_format.

The mapping by hand converts times by the same functions as the plan, so that only the mapping itself is compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from bench.figures import Figure, at_most
from chassis.transcoding.fields import read_timestamp, write_timestamp
from chassis.transcoding.plans import Plans
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.v1 import options_pb2

TURNS = 8
CALLS = 250
GOAL_OUT, GOAL_IN = 1.5, 2.0

SOURCES = {number: name.removeprefix("SOURCE_") for name, number in options_pb2.Source.items()}
STATES = {number: name.removeprefix("CONVERSATION_STATE_") for name, number in pb.ConversationState.items()}
MODES = {number: name.removeprefix("HANDOFF_MODE_") for name, number in pb.HandoffMode.items()}
DIRECTIONS = {number: name.removeprefix("MESSAGE_DIRECTION_") for name, number in pb.MessageDirection.items()}
SOURCE_NUMBERS = {name: number for number, name in SOURCES.items()}
STATE_NUMBERS = {name: number for number, name in STATES.items()}
MODE_NUMBERS = {name: number for number, name in MODES.items()}
DIRECTION_NUMBERS = {name: number for number, name in DIRECTIONS.items()}


def conversation() -> pb.Conversation:
    """A conversation with all of its fields set."""
    moment = Timestamp(seconds=1_795_348_800, nanos=123_456_000)
    ids: dict[str, Any] = {
        name: f"0198c0de-7a11-7cc3-98c4-dc0c0c0739{index:02d}"
        for index, name in enumerate(
            ("conversation_id", "organization_id", "connection_id", "channel_id", "contact_id", "deal_id")
        )
    }
    return pb.Conversation(
        **ids,
        internal=True,
        source=options_pb2.SOURCE_WHATSAPP,
        provider_conversation_id="4211",
        conversation_key="whatsapp:+5511900004821",
        state=pb.CONVERSATION_STATE_OPEN,
        handoff=pb.Handoff(mode=pb.HANDOFF_MODE_AI, source="webhook", time=moment, reason="label"),
        unread_count=3,
        labels=["vip", "retorno"],
        assignee_name="Bruna",
        last_message_time=moment,
        last_message_preview="Oi, ainda tem horário amanhã?",
        last_message_direction=pb.MESSAGE_DIRECTION_INBOUND,
        contact_name="Ana",
        create_time=moment,
        update_time=moment,
    )


def optional_moment(item: Any, name: str) -> datetime | None:
    """Answers a time of the message, or None where it is not set."""
    return write_timestamp(getattr(item, name)) if item.HasField(name) else None


def by_hand_out(item: pb.Conversation) -> bytes:
    """What a person would write for this one message."""
    return orjson.dumps(
        {
            "conversation_id": item.conversation_id,
            "organization_id": item.organization_id,
            "connection_id": item.connection_id,
            "channel_id": item.channel_id,
            "source": SOURCES[item.source],
            "provider_conversation_id": item.provider_conversation_id,
            "contact_id": item.contact_id,
            "deal_id": item.deal_id,
            "conversation_key": item.conversation_key,
            "state": STATES[item.state],
            "handoff": {
                "mode": MODES[item.handoff.mode],
                "source": item.handoff.source,
                "time": optional_moment(item.handoff, "time"),
                "reason": item.handoff.reason,
            }
            if item.HasField("handoff")
            else None,
            "unread_count": item.unread_count,
            "labels": list(item.labels),
            "assignee_name": item.assignee_name,
            "last_message_time": write_timestamp(item.last_message_time)
            if item.HasField("last_message_time")
            else None,
            "last_message_preview": item.last_message_preview,
            "last_message_direction": DIRECTIONS[item.last_message_direction],
            "contact_name": item.contact_name,
            "create_time": optional_moment(item, "create_time"),
            "update_time": optional_moment(item, "update_time"),
        },
        option=orjson.OPT_UTC_Z,
    )


def by_hand_in(raw: bytes) -> pb.Conversation:
    """What a person would write to read this one message back, checking nothing."""
    data: dict[str, Any] = orjson.loads(raw)
    handoff = data.get("handoff") or {}
    return pb.Conversation(
        conversation_id=data.get("conversation_id", ""),
        organization_id=data.get("organization_id", ""),
        connection_id=data.get("connection_id", ""),
        channel_id=data.get("channel_id", ""),
        source=SOURCE_NUMBERS[data.get("source", "UNSPECIFIED")],
        provider_conversation_id=data.get("provider_conversation_id", ""),
        contact_id=data.get("contact_id", ""),
        deal_id=data.get("deal_id", ""),
        conversation_key=data.get("conversation_key", ""),
        state=STATE_NUMBERS[data.get("state", "UNSPECIFIED")],
        handoff=pb.Handoff(
            mode=MODE_NUMBERS[handoff.get("mode", "UNSPECIFIED")],
            source=handoff.get("source", ""),
            time=read_timestamp(handoff["time"]) if handoff.get("time") else None,
            reason=handoff.get("reason", ""),
        ),
        unread_count=data.get("unread_count", 0),
        labels=data.get("labels", []),
        assignee_name=data.get("assignee_name", ""),
        last_message_time=read_timestamp(data["last_message_time"]) if data.get("last_message_time") else None,
        last_message_preview=data.get("last_message_preview", ""),
        last_message_direction=DIRECTION_NUMBERS[data.get("last_message_direction", "UNSPECIFIED")],
        contact_name=data.get("contact_name", ""),
        create_time=read_timestamp(data["create_time"]) if data.get("create_time") else None,
        update_time=read_timestamp(data["update_time"]) if data.get("update_time") else None,
    )


def times(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Answers microseconds of processor time per call; short turns are taken, so that noise meets all ways alike."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, way in ways.items():
                started = time.process_time()
                for _ in range(CALLS):
                    way()
                found[name].append((time.process_time() - started) / CALLS * 1e6)
        for name in ways:
            figures[name].append(statistics.median(found[name]))
    return figures


def measure(runs: int) -> list[Figure]:
    """Both directions by compiled plan against by hand, and json_format for comparison."""
    item = conversation()
    plan = Plans().of(item.DESCRIPTOR)
    raw = plan.to_json(item)
    theirs = json_format.MessageToJson(item, preserving_proto_field_name=True)
    assert plan.decode(orjson.loads(raw)) == by_hand_in(raw) == item
    assert orjson.loads(by_hand_out(item)) == orjson.loads(raw)
    found = times(
        {
            "out, by hand": lambda: by_hand_out(item),
            "out, plan": lambda: plan.to_json(item),
            "out, json_format": lambda: json_format.MessageToJson(item, preserving_proto_field_name=True),
            "in, by hand": lambda: by_hand_in(raw),
            "in, plan": lambda: plan.decode(orjson.loads(raw)),
            "in, json_format": lambda: json_format.Parse(theirs, pb.Conversation()),
        },
        runs,
    )
    figures = []
    for direction, goal in (("out", GOAL_OUT), ("in", GOAL_IN)):
        limit = found[f"{direction}, by hand"]
        for way, bounds in (("plan", [at_most(goal)]), ("json_format", [])):
            name = f"d transcoding {direction}, 20 fields, {way}; limit is by hand (P16)"
            figures.append(Figure(name, "us", found[f"{direction}, {way}"], limit, bounds))
    return figures
