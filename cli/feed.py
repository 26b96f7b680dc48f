"""`prosa feed`: the facts of an organization as they are announced."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from chassis.system import SERVICES
from cli.calls import Calls, open_calls
from cli.choosing import Org
from cli.demo.live import ONLY_NEW, follow
from cli.failures import REFUSED, Refused, operation
from cli.organizations import find_organization
from cli.output import Json, local_time, print_json, print_line
from cli.streams import reader_gone
from prosa.ingest.v1 import webhook_event_service_pb2 as pb

app = typer.Typer(help="The event feed.", no_args_is_help=True)

KEY = "conversation_key"
MAIN = (KEY, "contact_id", "deal_id", "conversation_id", "message_id")
"""What people look for in a fact; where it has none of these, all of its ids are shown."""
EVERYWHERE = "organization_id"
NAME_WIDTH = 24


@app.callback()
def feed() -> None:
    """The event feed: every fact of an organization, once, by position."""


@app.command("tail")
@operation
async def tail(
    org: Org,
    after: Annotated[int, typer.Option(help="Begin after this position; 0 is the oldest kept, -1 only what comes.")] = (
        ONLY_NEW
    ),
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only these facts, such as MessageReceived; may be repeated."),
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many; 0 goes on until Ctrl-C.")] = 0,
    as_json: Json = False,
) -> None:
    """Print the facts as they come, one a line."""
    types = full_types(kind or ())
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        shown = asyncio.create_task(_print_facts(calls, organization.organization_id, types, after, count, as_json))
        gone = asyncio.create_task(reader_gone())
        try:
            # `head` is gone long before the next fact may come, and the shell waits for this command.
            await asyncio.wait({shown, gone}, return_when=asyncio.FIRST_COMPLETED)
            if shown.done():
                shown.result()
        finally:
            for task in (shown, gone):
                task.cancel()
            await asyncio.gather(shown, gone, return_exceptions=True)


async def _print_facts(
    calls: Calls, organization_id: str, types: tuple[str, ...], after: int, count: int, as_json: bool
) -> None:
    seen = 0
    async for event in follow(calls, organization_id, types, after):
        if as_json:
            print_json(event_content(event))
        else:
            print_line(line(event))
        seen += 1
        if count and seen >= count:
            return


def known_types() -> dict[str, str]:
    """The full names of all facts of this version, by their short ones."""
    found = {}
    for service in SERVICES:
        for message in _events_module(f"prosa.{service}.v1").DESCRIPTOR.message_types_by_name.values():
            found[message.name] = message.full_name
    return found


def full_types(kinds: Sequence[str]) -> tuple[str, ...]:
    """The full names of facts that may be named shortly. Raises Refused naming those there are."""
    known = known_types()
    for kind in kinds:
        if kind not in known and kind not in known.values():
            raise Refused(f"There is no fact {kind!r}; there are: {', '.join(sorted(known))}.", exit_code=REFUSED)
    return tuple(known.get(kind, kind) for kind in kinds)


def line(event: pb.FeedEvent) -> str:
    """A fact as people read it: position, time, what happened, and the ids to look further with."""
    name, payload = event.type.rpartition(".")[2], _payload(event) or {}
    ids = dict(_ids(payload))
    shown = [key for key in MAIN if key in ids] or list(ids)
    told = [ids[key] if key == KEY else f"{key.removesuffix('_id')}={ids[key]}" for key in shown]
    if reason := payload.get("reason"):
        told.append(f"reason={reason}")
    time = local_time(event.event_time.ToDatetime(UTC))
    return f"{event.position:>8}  {time}  {name:<{NAME_WIDTH}}  {'  '.join(told)}".rstrip()


def event_content(event: pb.FeedEvent) -> dict[str, Any]:
    """A fact as it is printed for programs; one that this version does not know stays without its content."""
    return {
        "position": event.position,
        "event_id": event.event_id,
        "type": event.type,
        "organization_id": event.organization_id,
        "event_time": event.event_time.ToJsonString(),
        "payload": _payload(event),
    }


def _ids(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Ids of the fact and of what it is about, which lies one level deeper."""
    for key, value in payload.items():
        if isinstance(value, dict):
            yield from ((name, inner) for name, inner in _ids(value) if name not in payload)
        elif isinstance(value, str) and key != EVERYWHERE and (key == KEY or key.endswith("_id")):
            yield key, value


def _payload(event: pb.FeedEvent) -> dict[str, Any] | None:
    package, _, name = event.type.rpartition(".")
    try:
        fact = getattr(_events_module(package), name)
    except (ImportError, AttributeError):
        return None
    found: dict[str, Any] = MessageToDict(fact.FromString(event.payload), preserving_proto_field_name=True)
    return found


def _events_module(package: str) -> Any:
    return importlib.import_module(f"{package}.events_pb2")
