"""`prosa feed`: the facts of an organization as they are announced."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from cli.calls import open_calls
from cli.demo.live import ONLY_NEW, follow
from cli.failures import operation
from cli.organizations import Org, find_organization
from cli.output import Json, print_json, print_line
from prosa.ingest.v1 import webhook_event_service_pb2 as pb

app = typer.Typer(help="The event feed.", no_args_is_help=True)


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
    kind: Annotated[list[str] | None, typer.Option("--type", help="Only these facts; may be repeated.")] = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many; 0 goes on until Ctrl-C.")] = 0,
    as_json: Json = False,
) -> None:
    """Print the facts as they come, one a line."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        seen = 0
        async for event in follow(calls, organization.organization_id, tuple(kind or ()), after):
            content = event_content(event)
            if as_json:
                print_json(content)
            else:
                print_line(
                    f"{content['position']:>8}  {content['event_time']}  {content['type']}  {content['payload']}"
                )
            seen += 1
            if count and seen >= count:
                return


def event_content(event: pb.FeedEvent) -> dict[str, Any]:
    """A fact as it is printed; one that this version does not know stays without its content."""
    return {
        "position": event.position,
        "event_id": event.event_id,
        "type": event.type,
        "organization_id": event.organization_id,
        "event_time": event.event_time.ToJsonString(),
        "payload": _payload(event),
    }


def _payload(event: pb.FeedEvent) -> dict[str, Any] | None:
    package, _, name = event.type.rpartition(".")
    try:
        fact = getattr(importlib.import_module(f"{package}.events_pb2"), name)
    except (ImportError, AttributeError):
        return None
    found: dict[str, Any] = MessageToDict(fact.FromString(event.payload), preserving_proto_field_name=True)
    return found
