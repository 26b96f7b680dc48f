"""The conversations of the demo as they arrive: a table that follows them, or plain lines without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import grpc
import grpc.aio
import structlog
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.calls import Calls
from cli.output import shown
from prosa.conversation.v1 import events_pb2 as facts
from prosa.conversation.v1.conversation_service_pb2 import HANDOFF_MODE_HUMAN
from prosa.crm.v1 import events_pb2 as crm_facts
from prosa.identity.v1 import events_pb2 as identity_facts
from prosa.ingest.v1 import webhook_event_service_pb2 as events
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub

ROW_COUNT_MAX = 14
TEXT_LENGTH_MAX = 60
WHO_LENGTH_MAX = 24
TEXT_WIDTH_MIN = 24
"""So much of the last message is always seen; the other columns go first."""
CELL_FRAME = 3
"""A column's line and its two spaces."""
FRAME_LINES = 7
"""The table's own four lines, the sums, the address, and the line on which the cursor stands."""
TEXT = "last message"
COLUMNS = ("time", "conversation", "who", TEXT, "n", "answered by", "deal")
GIVEN_UP = ("deal", "n", "answered by", "who", "time", "conversation")
"""What a narrow terminal does without, the first of these first."""
REFRESHES_PER_SECOND = 4
RECONNECT_SECONDS = 1.0
ONLY_NEW = -1

RECEIVED = facts.MessageReceived.DESCRIPTOR.full_name
SENT = facts.MessageSent.DESCRIPTOR.full_name
HANDED_OFF = facts.HandoffChanged.DESCRIPTOR.full_name
CONTACT_CREATED = identity_facts.ContactCreated.DESCRIPTOR.full_name
DEAL_CREATED = crm_facts.DealCreated.DESCRIPTOR.full_name
DEAL_MOVED = crm_facts.DealMoved.DESCRIPTOR.full_name
TYPES = (RECEIVED, SENT, HANDED_OFF, CONTACT_CREATED, DEAL_CREATED, DEAL_MOVED)

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Seen:
    """One conversation as the table shows it."""

    conversation_key: str
    name: str = ""
    message_count: int = 0
    last: str = ""
    who: str = ""
    human: bool = False
    deal_id: str = ""
    stage: str = ""
    time: datetime | None = None


@dataclass(slots=True)
class Picture:
    """All that was seen since the start."""

    conversations: dict[str, Seen] = field(default_factory=dict)
    message_count: int = 0
    contact_count: int = 0
    deal_count: int = 0

    def apply(self, event: events.FeedEvent) -> Seen | None:
        """Takes in one fact; answers the conversation that has a new message."""
        if event.type == CONTACT_CREATED:
            self.contact_count += 1
        elif event.type == DEAL_CREATED:
            self.deal_count += 1
        elif event.type == HANDED_OFF:
            changed = facts.HandoffChanged.FromString(event.payload)
            if changed.conversation_id in self.conversations:
                self.conversations[changed.conversation_id].human = changed.handoff.mode == HANDOFF_MODE_HUMAN
        elif event.type == DEAL_MOVED:
            deal = crm_facts.DealMoved.FromString(event.payload).deal
            for seen in self.conversations.values():
                if seen.deal_id == deal.deal_id:
                    seen.stage = deal.stage_label
        elif event.type == RECEIVED:
            return self._message(facts.MessageReceived.FromString(event.payload), event, customer=True)
        elif event.type == SENT:
            return self._message(facts.MessageSent.FromString(event.payload), event, customer=False)
        return None

    def newest(self) -> list[Seen]:
        """The conversations with the newest messages, newest first."""
        return list(reversed(self.conversations.values()))[:ROW_COUNT_MAX]

    def _message(
        self, fact: facts.MessageReceived | facts.MessageSent, event: events.FeedEvent, *, customer: bool
    ) -> Seen:
        # Taken out and put back: the order of the dictionary is the order of the newest messages.
        seen = self.conversations.pop(fact.conversation_id, None) or Seen(fact.conversation_key)
        self.conversations[fact.conversation_id] = seen
        self.message_count += 1
        seen.conversation_key = fact.conversation_key or seen.conversation_key
        seen.message_count += 1
        seen.last = _shortened(fact.message.text or f"({fact.message.content_type})")
        seen.who = _shortened(fact.message.author_name, WHO_LENGTH_MAX) or ("customer" if customer else "staff")
        seen.name = seen.name if not customer else fact.message.author_name or seen.name
        seen.human = fact.handoff.mode == HANDOFF_MODE_HUMAN
        seen.deal_id = fact.deal_id or seen.deal_id
        seen.time = event.event_time.ToDatetime()
        return seen


async def show(calls: Calls, organization_id: str, console: Console, url: str = "") -> None:
    """Shows what arrives until it is cancelled."""
    picture = Picture()
    if not console.is_terminal:
        async for event in follow(calls, organization_id, TYPES):
            if (seen := picture.apply(event)) is not None:
                console.print(line(seen), markup=False, highlight=False, soft_wrap=True)
        return
    # The table reads the picture whenever it is drawn.
    with Live(LiveTable(picture, url), console=console, refresh_per_second=REFRESHES_PER_SECOND):
        async for event in follow(calls, organization_id, TYPES):
            picture.apply(event)


async def follow(
    calls: Calls, organization_id: str, types: tuple[str, ...] = (), after_position: int = ONLY_NEW
) -> AsyncIterator[events.FeedEvent]:
    """The organization's facts from a position on, for ever: a stream that breaks is taken up where it broke."""
    stub = calls.stub(EventServiceStub, "ingest")
    position = after_position
    while True:
        try:
            request = events.SubscribeRequest(after_position=position, types=types)
            async for event in stub.Subscribe(request, metadata=calls.organization(organization_id)):
                position = event.position
                if not event.heartbeat:
                    yield event
        except grpc.aio.AioRpcError as error:
            if error.code() not in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.CANCELLED,
                grpc.StatusCode.UNAUTHENTICATED,
            ):
                raise
            logger.info("feed_away", code=error.code().name)
        await asyncio.sleep(RECONNECT_SECONDS)


def line(seen: Seen) -> str:
    """One new message as one line."""
    time = seen.time.strftime("%H:%M:%S") if seen.time else ""
    return f"{time}  {seen.conversation_key}  {seen.who}: {seen.last}"


@dataclass(frozen=True, slots=True)
class LiveTable:
    """The newest conversations, the sums and the address, as much of them as the terminal has space for."""

    picture: Picture
    url: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Made anew for each size: a window may be drawn smaller while it is looked at."""
        lines = options.height or console.height
        yield from _rows(self.picture, options.max_width, max(1, min(ROW_COUNT_MAX, lines - FRAME_LINES)))
        picture = self.picture
        sums = (
            f"{len(picture.conversations)} conversations, {picture.message_count} messages, "
            f"{picture.contact_count} new contacts, {picture.deal_count} new deals since the start"
        )
        yield Text(sums, style="bold", no_wrap=True, overflow="ellipsis")
        if self.url:
            yield Text(f"{self.url}   Ctrl-C stops everything.", no_wrap=True, overflow="ellipsis")


def _rows(picture: Picture, width: int, count: int) -> RenderResult:
    cells = [_cells(seen) for seen in picture.newest()[:count]]
    columns = list(COLUMNS)
    while TEXT in columns and len(columns) > 1:
        taken = sum(_column_width(name, cells) + CELL_FRAME for name in columns if name != TEXT) + 1
        if width - taken - CELL_FRAME >= TEXT_WIDTH_MIN:
            break
        gone = next((name for name in GIVEN_UP if name in columns), None)
        if gone is None:
            break
        columns.remove(gone)
    rows = Table(expand=True, pad_edge=False)
    for name in columns:
        rows.add_column(name, no_wrap=True, ratio=1 if name == TEXT else None, overflow="ellipsis")
    for row in cells:
        rows.add_row(*(row[name] for name in columns))
    yield rows


def _column_width(name: str, cells: Sequence[Mapping[str, Text]]) -> int:
    return max([len(name), *(row[name].cell_len for row in cells)])


def _cells(seen: Seen) -> dict[str, Text]:
    style = "green" if seen.conversation_key.startswith("whatsapp") else "magenta"
    return {
        "time": Text(seen.time.strftime("%H:%M:%S") if seen.time else ""),
        "conversation": Text(seen.conversation_key, style=style),
        "who": Text(seen.who),
        TEXT: Text(seen.last),
        "n": Text(str(seen.message_count)),
        "answered by": Text("person" if seen.human else "automation"),
        "deal": Text(seen.stage or (f"…{seen.deal_id[-6:]}" if seen.deal_id else "")),
    }


def _shortened(text: str, length: int = TEXT_LENGTH_MAX) -> str:
    flat = " ".join(shown(text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
