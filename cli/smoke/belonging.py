"""Whose smoke it is: its variables are those of one organization, and those of another one are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.calls import PAGE_COUNT_MAX, PAGE_SIZE, open_calls
from cli.connections import list_connections
from cli.failures import REFUSED, Refused
from cli.home import read_bootstrap, reader_database_url
from cli.organizations import find_organization
from cli.readings import organization_id_of
from cli.smoke import settings as smoke_settings
from cli.smoke.target import Target
from prosa.ingest.v1.ingest_service_pb2 import PROVIDER_CHATWOOT
from prosa.v1.options_pb2 import Source

SOURCES = {"whatsapp": Source.SOURCE_WHATSAPP, "instagram": Source.SOURCE_INSTAGRAM}


async def variables_of(wanted: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The SMOKE_* variables of the organization that is meant; what nothing tells stays empty.

    Raises Refused where nothing runs, there is no such organization, or there are several and none is named.
    """
    bootstrap = read_bootstrap(environment)
    async with open_calls(environment) as calls:
        organization_id = (await find_organization(calls, wanted)).organization_id
        if organization_id == bootstrap.get("organization_id"):
            chatwoot = bootstrap.get("chatwoot") or {}
        else:
            chatwoot = _chatwoot(await list_connections(calls, organization_id))
    found = smoke_settings.example({**bootstrap, "chatwoot": chatwoot})
    return {**found, smoke_settings.ORGANIZATION: organization_id}


def _chatwoot(connections: list[Any]) -> dict[str, Any]:
    """The oldest connection to Chatwoot as the bootstrap has it, without the secret, which no connection tells."""
    ours = [item for item in connections if item.provider == PROVIDER_CHATWOOT]
    if not ours:
        return {}
    chosen = min(ours, key=lambda item: item.connection_id)
    inboxes = {
        name: next((item.inbox_id for item in chosen.channels if item.source == source and item.active), None)
        for name, source in SOURCES.items()
    }
    return {"account_id": chosen.account_id, "inboxes": inboxes}


def choose_organization(values: Mapping[str, str], wanted: str) -> dict[str, str]:
    """The variables with the organization that is meant: `wanted`, else theirs, else the only one of this machine.

    Raises Refused where the variables are those of another one.
    """
    named, has_key = values.get(smoke_settings.ORGANIZATION, ""), bool(values.get(smoke_settings.API_KEY))
    base_url = values.get("SMOKE_BASE_URL", "").rstrip("/")
    here = bool(base_url) and read_bootstrap(values).get("url") == base_url
    if not wanted and (named or has_key or not here):
        return dict(values)
    chosen = organization_id_of(reader_database_url(values), wanted)
    if named and named != chosen:
        raise Refused(
            f"{smoke_settings.ORGANIZATION} is {named}, but --org is {chosen}. Write the variables of that one: "
            f"`prosa smoke variables --org {wanted!r}`.",
            reason="ORGANIZATION_MISMATCH",
            exit_code=REFUSED,
        )
    return {**values, smoke_settings.ORGANIZATION: chosen}


async def require_connection(target: Target) -> None:
    """Raises Refused unless a connection of the target's organization has the account and both inboxes."""
    settings = target.settings
    inboxes = await _inboxes_of_account(target)
    for name, number in (
        ("SMOKE_CHATWOOT_ACCOUNT_ID", settings.account_id if inboxes is None else None),
        ("SMOKE_CHATWOOT_INBOX_WHATSAPP_ID", settings.whatsapp_inbox_id),
        ("SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID", settings.instagram_inbox_id),
    ):
        if number is not None and number not in (inboxes or ()):
            raise Refused(
                f"{name} is {number}, which organization {target.organization_id} has not. `prosa smoke variables "
                f"--org {target.organization_id}` prints its own; what it has not yet, `prosa connection create` and "
                "`prosa channel create` make.",
                reason="ORGANIZATION_MISMATCH",
                exit_code=REFUSED,
            )


async def _inboxes_of_account(target: Target) -> set[int] | None:
    """The inboxes behind the organization's connections to the account; None where no connection has it."""
    found: set[int] | None = None
    token = ""
    for _ in range(PAGE_COUNT_MAX):
        page = await target.get("/api/v1/connections", page_size=PAGE_SIZE, page_token=token)
        for connection in page.get("connections", []):
            if int(connection.get("account_id") or 0) == target.settings.account_id:
                found = (found or set()) | {int(item["inbox_id"]) for item in connection.get("channels", [])}
        token = page.get("next_page_token") or ""
        if not token:
            break
    return found
