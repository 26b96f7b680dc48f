"""The captured payloads of Evolution, ways to change them, and the connection they came through."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from chassis.canonical import Source
from services.ingest.normal_form import ChannelInfo, ConnectionContext, NormalEvent, ParsedEvent
from services.ingest.providers.evolution.parse import parse

FIXTURES = Path(__file__).parents[4] / "services/ingest/providers/evolution/fixtures"
CHANNEL = ChannelInfo("channel-evolution", Source.WHATSAPP, board_id="board-1")
CONTEXT = ConnectionContext(
    "connection-1", {"clinica-sorriso-vivo": CHANNEL}, own_numbers=frozenset({"+5511960007009"})
)
TEXT, IMAGE, SENT = "webhook.messages_upsert.text", "webhook.messages_upsert.image", "webhook.send_message"
READ, OPEN, QR = "webhook.messages_update.read", "webhook.connection_update.open", "webhook.qrcode_updated"
REFUSED = "webhook.connection_update.refused_qr_limit"


@cache
def _load(name: str) -> Any:
    return orjson.loads((FIXTURES / f"{name}.json").read_bytes())


def sample(name: str, /, **changes: Any) -> dict[str, Any]:
    """A fresh copy of a payload. A change names its place with double underscores; ``...`` takes a field out."""
    payload: dict[str, Any] = copy.deepcopy(_load(name))
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = payload
        for parent in parents:
            target = target[parent]
        if value is ...:
            target.pop(last)
        else:
            target[last] = value
    return payload


def read(payload: Any, context: ConnectionContext = CONTEXT) -> ParsedEvent:
    return parse(orjson.dumps(payload), context)


def read_sample(name: str, /, **changes: Any) -> ParsedEvent:
    return read(sample(name, **changes))


def event_of(name: str, /, **changes: Any) -> NormalEvent:
    """The normal event of a payload that must be one of ours."""
    parsed = read_sample(name, **changes)
    assert isinstance(parsed, NormalEvent), parsed
    return parsed
