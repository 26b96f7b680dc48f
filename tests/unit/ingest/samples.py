"""The captured payloads of Chatwoot, ways to change them, and the connection they came through."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from chassis.canonical import Source
from services.ingest.normal_form import ChannelInfo, ConnectionContext, NormalEvent, ParsedEvent
from services.ingest.providers.chatwoot.parse import parse

FIXTURES = Path(__file__).parents[3] / "services/ingest/providers/chatwoot/fixtures"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))

WHATSAPP = ChannelInfo("channel-whatsapp", Source.WHATSAPP, board_id="board-1")
INSTAGRAM = ChannelInfo("channel-instagram", Source.INSTAGRAM, board_id="board-1")
INSTAGRAM_PAGE = ChannelInfo("channel-instagram-page", Source.INSTAGRAM, board_id="board-2")
EVOLUTION = ChannelInfo("channel-evolution", Source.WHATSAPP, board_id="board-1", evolution_inbox=True)
CONTEXT = ConnectionContext(
    connection_id="connection-1",
    channels={"21": WHATSAPP, "22": INSTAGRAM, "23": INSTAGRAM_PAGE, "24": EVOLUTION},
    account_id="7",
)

INCOMING = "message_created.whatsapp_cloud.incoming"
OUTGOING = "message_created.whatsapp_cloud.outgoing_agent"
ECHO = "message_created.whatsapp_cloud.native_app_echo"
DELIVERED = "message_updated.whatsapp_cloud.delivered"
EVOLUTION_INCOMING = "message_created.api_evolution.incoming"
EVOLUTION_ECHO = "message_created.api_evolution.outgoing_echo"
INSTAGRAM_IMAGE = "message_created.instagram_login.incoming_image"
CONVERSATION = "conversation_created.whatsapp_cloud"
PAGE_CONVERSATION = "conversation_created.instagram_facebook_page"
CONTACT = "contact_created.whatsapp_cloud"
CONTACT_UPDATED = "contact_updated.name_and_email_changed"


@cache
def _load(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_bytes())


def sample(name: str, /, **changes: Any) -> dict[str, Any]:
    """A fresh copy of a payload. A change names its place with double underscores: conversation__meta__sender__id=3."""
    payload: dict[str, Any] = copy.deepcopy(_load(name))
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = payload
        for parent in parents:
            target = target[parent]
        target[last] = value
    return payload


def body(payload: Any) -> bytes:
    return orjson.dumps(payload)


def read(payload: Any, context: ConnectionContext = CONTEXT) -> ParsedEvent:
    return parse(body(payload), context)


def read_sample(name: str, /, **changes: Any) -> ParsedEvent:
    return read(sample(name, **changes))


def event_of(name: str, /, **changes: Any) -> NormalEvent:
    """The normal event of a payload that must be one of ours."""
    parsed = read_sample(name, **changes)
    assert isinstance(parsed, NormalEvent), parsed
    return parsed
