"""`prosa api-key`: keys that programs call with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli.calls import CALL_SECONDS, all_pages, open_calls
from cli.choosing import Kind, Org, choose
from cli.failures import Refused, operation
from cli.organizations import find_organization
from cli.output import Json, answer, print_json, print_rows
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub

API_KEY = Kind("API key", ": its id or name", "prosa api-key create", "prosa api-key list")

app = typer.Typer(help="API keys of an organization.", no_args_is_help=True)


def key_row(item: access.ApiKey) -> dict[str, Any]:
    """A key as it is printed, without its secret."""
    return {
        "api_key_id": item.api_key_id,
        "name": item.name,
        "prefix": item.prefix,
        "scopes": list(item.scopes),
        "create_time": item.create_time.ToJsonString(),
        "last_use_time": item.last_use_time.ToJsonString() if item.HasField("last_use_time") else None,
        "revoke_time": item.revoke_time.ToJsonString() if item.HasField("revoke_time") else None,
    }


def choose_key(wanted: str, keys: Sequence[access.ApiKey]) -> str:
    """The id of the key with this id, or of the live one with this name: a revoked one's name may be used again."""
    if wanted.strip().lower() in {item.api_key_id for item in keys}:
        return wanted.strip().lower()
    live = [(item.api_key_id, item.name) for item in keys if not item.HasField("revoke_time")]
    revoked = [item for item in keys if item.HasField("revoke_time") and item.name.casefold() == wanted.casefold()]
    if revoked and wanted.casefold() not in {name.casefold() for _, name in live}:
        raise Refused(f"{revoked[0].name!r} is revoked already.", reason="API_KEY_REVOKED")
    return choose(wanted, live, kind=API_KEY)


@app.command("create")
@operation
async def create(
    org: Org,
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="May be repeated, such as contacts.read; * for all.")],
    as_json: Json = False,
) -> None:
    """Make a key; its secret is shown now and never again."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        made = await calls.stub(AccessServiceStub, "identity").CreateApiKey(
            access.CreateApiKeyRequest(name=name, scopes=scope),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    lines = [
        f"Created: {made.api_key.name}",
        f"  id      {made.api_key.api_key_id}",
        f"  scopes  {', '.join(made.api_key.scopes)}",
        f"  secret  {made.secret}   (shown only now)",
    ]
    answer(key_row(made.api_key) | {"secret": made.secret}, lines, as_json=as_json)


@app.command("list")
@operation
async def list_(org: Org, as_json: Json = False) -> None:
    """List the organization's keys, newest first, without their secrets."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        stub, metadata = (
            calls.stub(AccessServiceStub, "identity"),
            calls.organization(organization.organization_id),
        )
        found = await all_pages(stub.ListApiKeys, access.ListApiKeysRequest(), "api_keys", metadata=metadata)
    rows = [key_row(item) for item in found]
    if as_json:
        print_json({"api_keys": rows})
        return
    shown = [row | {"scopes": ", ".join(row["scopes"])} for row in rows]
    print_rows(shown, ["api_key_id", "name", "prefix", "scopes", "last_use_time", "revoke_time"], empty="No key yet.")


@app.command("revoke")
@operation
async def revoke(
    which: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or its name where one live key has it.")],
    org: Org,
    as_json: Json = False,
) -> None:
    """Revoke a key: within a minute no process accepts it."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        stub, metadata = calls.stub(AccessServiceStub, "identity"), calls.organization(organization.organization_id)
        keys = await all_pages(stub.ListApiKeys, access.ListApiKeysRequest(), "api_keys", metadata=metadata)
        revoked = await stub.RevokeApiKey(
            access.RevokeApiKeyRequest(api_key_id=choose_key(which, keys)),
            metadata=calls.organization(organization.organization_id),
            timeout=CALL_SECONDS,
        )
    answer(key_row(revoked), [f"Revoked: {revoked.name}"], as_json=as_json)
