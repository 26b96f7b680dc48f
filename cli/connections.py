"""`prosa connection`: webhook addresses of an organization and their secrets."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.calls import CALL_SECONDS, Calls, all_pages, open_calls
from cli.choosing import Kind, Org, choose
from cli.failures import RED, REFUSED, Refused, operation
from cli.home import PUBLIC_VARIABLE, on_this_machine, public_url
from cli.organizations import find_organization
from cli.output import Json, answer, number_of, print_json, print_rows
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.ingest_service_pb2 import PROVIDER_CHATWOOT, PROVIDER_EVOLUTION

app = typer.Typer(help="Connections: one webhook address each, with its secrets.", no_args_is_help=True)

CHECK_SECONDS = 30.0
SECRET_VARIABLE = "PROSA_WEBHOOK_SECRET"  # noqa: S105 the name of a variable
TOKEN_VARIABLE = "PROSA_CHATWOOT_ACCESS_TOKEN"  # noqa: S105 the name of a variable
KEY_VARIABLE = "PROSA_EVOLUTION_KEY"

Which = Annotated[
    str,
    typer.Argument(
        help="The connection's id or name.",
        metavar="CONNECTION",
        default_factory=str,
        show_default="the only one there is",
    ),
]
CONNECTION = Kind("connection", ": its id or name", "prosa connection create", "prosa connection list")


async def list_connections(calls: Calls, organization_id: str) -> list[pb.Connection]:
    """The organization's connections, newest first."""
    stub = calls.stub(ConnectionServiceStub, "ingest")
    metadata = calls.organization(organization_id)
    return await all_pages(stub.ListConnections, pb.ListConnectionsRequest(), "connections", metadata=metadata)


async def find_connection(calls: Calls, organization_id: str, wanted: str) -> pb.Connection:
    """The connection with this id or name, or the only one when nothing is wanted. Raises Refused naming them."""
    found = {item.connection_id: item for item in await list_connections(calls, organization_id)}
    return found[choose(wanted, [(item.connection_id, item.name) for item in found.values()], kind=CONNECTION)]


def connection_row(item: pb.Connection) -> dict[str, Any]:
    """A connection as it is printed; it holds no secret."""
    url = public_url()
    return {
        "connection_id": item.connection_id,
        "name": item.name,
        "account_id": item.account_id or None,
        "base_url": item.base_url or None,
        "webhook_path": item.webhook_path,
        "webhook_url": f"{url}{item.webhook_path}" if url else None,
        "secret_count": item.secret_count,
        "access_token_set": item.access_token_set,
        "unsigned_end_time": item.unsigned_end_time.ToJsonString() if item.HasField("unsigned_end_time") else None,
        "last_unsigned_time": item.last_unsigned_time.ToJsonString() if item.HasField("last_unsigned_time") else None,
    }


def _secrets(item: pb.Connection) -> str:
    if item.secret_count:
        return str(item.secret_count)
    return f"none: unsigned webhooks are accepted until {item.unsigned_end_time.ToJsonString()}"


def _token(item: pb.Connection, variable: str, *, given: bool) -> str:
    if not item.access_token_set:
        return "none"
    return f"that of {variable}" if given else "kept"


def _secret_of(variable: str) -> str:
    """A secret from the environment; raises Refused for the dots that instructions leave to be filled in."""
    value = os.environ.get(variable, "")
    if value and not value.strip(".\u2026 "):
        raise Refused(
            f"{variable} still holds the dots of the instructions. Put the value itself into it.",
            reason="PLACEHOLDER",
            exit_code=REFUSED,
        )
    return value


@app.command("create")
@operation
async def create(
    org: Org,
    name: Annotated[str, typer.Option(help="A name people know it by.")],
    account_id: Annotated[int, typer.Option(min=1, help="Chatwoot's account id: /app/accounts/<id>.")],
    base_url: Annotated[str, typer.Option(help="Where Chatwoot is, such as https://chat.example.com.")] = "",
    as_json: Json = False,
) -> None:
    """Make a webhook address for a Chatwoot account.

    Secrets are read from the environment, where no list of processes shows them: PROSA_WEBHOOK_SECRET (what Chatwoot
    answered when the webhook was made) and PROSA_CHATWOOT_ACCESS_TOKEN (for calls to Chatwoot).
    """
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        made = await calls.stub(ConnectionServiceStub, "ingest").CreateConnection(
            pb.CreateConnectionRequest(
                provider=PROVIDER_CHATWOOT,
                name=name,
                account_id=account_id,
                base_url=base_url,
                access_token=_secret_of(TOKEN_VARIABLE),
                webhook_secret=_secret_of(SECRET_VARIABLE),
            ),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    row = connection_row(made)
    lines = [
        f"Created: {made.name}",
        f"  connection  {made.connection_id}",
        f"  webhook     {row['webhook_url'] or row['webhook_path']}",
        f"  secrets     {_secrets(made)}",
        "Next: `prosa channel create` for each inbox, then give the webhook's address to Chatwoot.",
    ]
    if not row["webhook_url"] or on_this_machine(row["webhook_url"]):
        lines.append(
            f"A Chatwoot elsewhere does not reach that address: set {PUBLIC_VARIABLE} to where it reaches Prosa, and "
            "`prosa connection list` tells the whole of it."
        )
    answer(row, lines, as_json=as_json)


@app.command("update")
@operation
async def update(
    which: Which,
    org: Org,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    account_id: Annotated[int | None, typer.Option(min=1, help="Another account id of Chatwoot.")] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help='Where Chatwoot, or Evolution, is. Another server needs its token too; "" for none.'),
    ] = None,
    unsigned_until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Until when (UTC) unsigned webhooks are accepted without a secret."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a connection: what is named here, and its token where the environment has one.

    That is Chatwoot's access token in PROSA_CHATWOOT_ACCESS_TOKEN; for a number behind Evolution, which is asked again
    at once, Evolution's global key in PROSA_EVOLUTION_KEY.

    The webhook's address and secrets stay; `prosa connection add-secret` changes the secrets.
    """
    request = pb.UpdateConnectionRequest(name=name, account_id=account_id, base_url=base_url)
    tokens = {PROVIDER_CHATWOOT: _secret_of(TOKEN_VARIABLE), PROVIDER_EVOLUTION: _secret_of(KEY_VARIABLE)}
    if unsigned_until is not None:
        request.unsigned_end_time.FromDatetime(unsigned_until.replace(tzinfo=UTC))
    if not request.ListFields() and not any(tokens.values()):
        raise Refused(
            "Nothing to change. Name --name, --account-id, --base-url or --unsigned-until, or put another token into "
            f"{TOKEN_VARIABLE} or {KEY_VARIABLE}.",
            reason="NOTHING_TO_CHANGE",
            exit_code=REFUSED,
        )
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        found = await find_connection(calls, organization.organization_id, which)
        request.connection_id, request.access_token = found.connection_id, tokens.get(found.provider, "")
        changed = await calls.stub(ConnectionServiceStub, "ingest").UpdateConnection(
            request, metadata=calls.organization(organization.organization_id), timeout=CALL_SECONDS
        )
    changes = "changed" if changed.etag != found.etag else "the same as before"
    number = changed.provider == PROVIDER_EVOLUTION
    variable = KEY_VARIABLE if number else TOKEN_VARIABLE
    lines = [
        f"{changed.name}: {changes}.",
        *([] if number else [f"  account     {changed.account_id or 'none'}"]),
        f"  {'Evolution' if number else 'Chatwoot '}   {changed.base_url or 'not asked for anything'}",
        f"  token       {_token(changed, variable, given=bool(request.access_token))}",
        "Next: `prosa connection check`.",
    ]
    answer(connection_row(changed), lines, as_json=as_json)


@app.command("list")
@operation
async def list_(org: Org, as_json: Json = False) -> None:
    """List the organization's connections."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        rows = [connection_row(item) for item in await list_connections(calls, organization.organization_id)]
    if as_json:
        print_json({"connections": rows})
    else:
        print_rows(
            [row | {"webhook": row["webhook_url"] or row["webhook_path"]} for row in rows],
            ["connection_id", "name", "account_id", "secret_count", "unsigned_end_time", "webhook"],
            empty="No connection yet.",
        )


@app.command("check")
@operation
async def check(which: Which, org: Org, as_json: Json = False) -> None:
    """Ask whether all is as it should be: at Chatwoot address, token, inboxes and webhook, else how the number is.

    Fails when something is not.
    """
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        connection = await find_connection(calls, organization.organization_id, which)
        result = await calls.stub(ConnectionServiceStub, "ingest").CheckConnection(
            pb.CheckConnectionRequest(connection_id=connection.connection_id),
            metadata=calls.organization(organization.organization_id),
            timeout=CHECK_SECONDS,
        )
    items = [{"name": item.name, "passed": item.passed, "detail": item.detail} for item in result.items]
    lines = [f"{'PASS' if item['passed'] else 'FAIL'}  {item['name']}  {item['detail']}" for item in items]
    answer({"passed": result.passed, "items": items}, lines, as_json=as_json)
    if not result.passed:
        raise typer.Exit(RED)


@app.command("add-secret")
@operation
async def add_secret(
    which: Which,
    org: Org,
    only: Annotated[bool, typer.Option("--only", help="The older secrets stop counting at once.")] = False,
    as_json: Json = False,
) -> None:
    """Add the webhook secret of PROSA_WEBHOOK_SECRET; the one before it stays valid meanwhile."""
    secret = _secret_of(SECRET_VARIABLE)
    if not secret:
        raise Refused(
            f"{SECRET_VARIABLE} is not set. Put the new secret into it; arguments are seen by other users.",
            exit_code=REFUSED,
        )
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        connection = await find_connection(calls, organization.organization_id, which)
        changed = await calls.stub(ConnectionServiceStub, "ingest").AddWebhookSecret(
            pb.AddWebhookSecretRequest(connection_id=connection.connection_id, webhook_secret=secret, only=only),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    secrets = number_of(changed.secret_count, "live secret")
    answer(connection_row(changed), [f"{changed.name}: {secrets}."], as_json=as_json)
