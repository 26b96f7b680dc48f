"""`prosa channel`: the inboxes behind a connection."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chassis.canonical import parse_source
from chassis.enums import enum_number, enum_text
from cli.calls import CALL_SECONDS, all_pages, open_calls
from cli.choosing import Org, match
from cli.connections import find_connection
from cli.failures import Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer, print_json, print_rows
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1 import options_pb2

app = typer.Typer(help="Channels: one inbox each, WhatsApp or Instagram.", no_args_is_help=True)


Behind = Annotated[
    str,
    typer.Option(
        "--connection",
        help="The connection's id or name.",
        default_factory=str,
        show_default="the only one there is",
    ),
]


def channel_row(item: pb.Channel) -> dict[str, Any]:
    """A channel as it is printed."""
    return {
        "channel_id": item.channel_id,
        "connection_id": item.connection_id,
        "name": item.name,
        "source": enum_text(options_pb2.Source, item.source),
        "inbox_id": item.inbox_id,
        "board_id": item.board_id or None,
        "active": item.active,
    }


def find_channel(connection: pb.Connection, wanted: str) -> pb.Channel:
    """The connection's channel with this id or name. Raises Refused naming what there is, or that two have the name."""
    found = match(wanted, [(item.channel_id, item.name) for item in connection.channels])
    if len(found) == 1:
        return next(item for item in connection.channels if item.channel_id == found[0])
    if found:
        ids = ", ".join(found)
        raise Refused(f"Several channels are named {wanted!r}; use one of the ids {ids}.", reason="CHANNEL_AMBIGUOUS")
    there_is = ", ".join(repr(item.name) for item in connection.channels[:10]) or "none"
    raise Refused(f"{connection.name} has no channel {wanted!r}. There is: {there_is}.", reason="CHANNEL_NOT_FOUND")


def _source(text: str) -> options_pb2.Source.ValueType:
    return enum_number(options_pb2.Source, parse_source(text.lower()).value)


@app.command("create")
@operation
async def create(
    org: Org,
    connection: Behind,
    name: Annotated[str, typer.Option(help="A name people know it by.")],
    source: Annotated[str, typer.Option(help="whatsapp or instagram.")],
    inbox_id: Annotated[int, typer.Option(min=1, help="Chatwoot's inbox id.")],
    board_id: Annotated[str, typer.Option(help="The board of its deals; the default board without it.")] = "",
    as_json: Json = False,
) -> None:
    """Declare an inbox of the connection."""
    medium = _source(source)
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        found = await find_connection(calls, organization.organization_id, connection)
        made = await calls.stub(ConnectionServiceStub, "ingest").CreateChannel(
            pb.CreateChannelRequest(
                connection_id=found.connection_id, name=name, source=medium, inbox_id=inbox_id, board_id=board_id
            ),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    answer(channel_row(made), [f"Created: {made.name}", f"  channel  {made.channel_id}"], as_json=as_json)


@app.command("update")
@operation
async def update(
    which: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's id or name.")],
    org: Org,
    connection: Behind,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    source: Annotated[str | None, typer.Option(help="whatsapp or instagram.")] = None,
    inbox_id: Annotated[int | None, typer.Option(min=1, help="Another inbox id of Chatwoot.")] = None,
    board_id: Annotated[
        str | None, typer.Option(help='The board of deals from now on; "" for the default board.')
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether what arrives for the inbox is ours.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a channel: what is named here; what was taken in stays as it is."""
    request = pb.UpdateChannelRequest(
        name=name,
        source=_source(source) if source is not None else None,
        inbox_id=inbox_id,
        board_id=board_id,
        active=active,
    )
    if not request.ListFields():
        raise Refused(
            "Nothing to change. Name --name, --source, --inbox-id, --board-id, --active or --inactive.",
            reason="NOTHING_TO_CHANGE",
        )
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        behind = await find_connection(calls, organization.organization_id, connection)
        found = find_channel(behind, which)
        request.connection_id, request.channel_id = found.connection_id, found.channel_id
        changed = await calls.stub(ConnectionServiceStub, "ingest").UpdateChannel(
            request, metadata=calls.organization(organization.organization_id), timeout=CALL_SECONDS
        )
    row = channel_row(changed)
    changes = "changed" if changed.etag != found.etag else "the same as before"
    lines = [
        f"{changed.name}: {changes}.",
        f"  source  {row['source']}",
        f"  inbox   {changed.inbox_id}{'' if changed.active else ' (inactive)'}",
        f"  board   {changed.board_id or 'the default board'}",
    ]
    answer(row, lines, as_json=as_json)


@app.command("list")
@operation
async def list_(
    org: Org,
    connection: Annotated[str, typer.Option(help="Only this connection's, by id or name.")] = "",
    as_json: Json = False,
) -> None:
    """List the organization's channels."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        request = pb.ListChannelsRequest()
        if connection:
            request.connection_id = (
                await find_connection(calls, organization.organization_id, connection)
            ).connection_id
        stub, metadata = (
            calls.stub(ConnectionServiceStub, "ingest"),
            calls.organization(organization.organization_id),
        )
        rows = [
            channel_row(item) for item in await all_pages(stub.ListChannels, request, "channels", metadata=metadata)
        ]
    if as_json:
        print_json({"channels": rows})
    else:
        print_rows(rows, ["channel_id", "name", "source", "inbox_id", "active"], empty="No channel yet.")
