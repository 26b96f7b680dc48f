"""`bootstrap.json`: where a running `prosa up` is and how to get in, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.calls import CALL_SECONDS, Calls, all_pages
from cli.demo.state import DemoState
from embedded.ports import write_private
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connections
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.ingest_service_pb2 import PROVIDER_CHATWOOT
from prosa.v1.options_pb2 import SOURCE_INSTAGRAM, SOURCE_WHATSAPP


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What is known before anything runs."""

    url: str
    metrics_url: str
    grpc_address: str
    database_url: str
    public_url: str = ""
    """Where others reach it; empty where nobody named it."""
    evolution_url: str = ""
    """Where the demo's Evolution is; empty without a demo."""


async def describe(endpoints: Endpoints, calls: Calls, state: DemoState) -> dict[str, Any]:
    """The content of the file. It speaks of the demo's organization, else of the oldest; null is what nobody knows."""
    organization_id = state.organization_id or await _oldest_organization(calls)
    ours = bool(organization_id) and organization_id == state.organization_id
    return {
        "url": endpoints.url,
        **({"public_url": endpoints.public_url} if endpoints.public_url else {}),
        "metrics_url": endpoints.metrics_url,
        "grpc_address": endpoints.grpc_address,
        "database_url": endpoints.database_url,
        "organization_id": organization_id or None,
        "admin": {"email": state.admin_email, "password": state.admin_password} if ours else None,
        "api_key": state.api_key or None if ours else None,
        "chatwoot": await _chatwoot(endpoints, calls, organization_id, state) if organization_id else None,
        "evolution": (
            {"base_url": endpoints.evolution_url, "access_token": state.evolution_key}
            if ours and endpoints.evolution_url
            else None
        ),
    }


def complete(content: Mapping[str, Any]) -> bool:
    """Says whether an organization with an inbox of each channel is in it; until then it may still change."""
    return content["chatwoot"] is not None and None not in content["chatwoot"]["inboxes"].values()


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Replaces the file in one rename; its owner alone can read it."""
    write_private(file, content)


async def _oldest_organization(calls: Calls) -> str:
    stub = calls.stub(AccessServiceStub, "identity")
    found = await all_pages(stub.ListOrganizations, access.ListOrganizationsRequest(), "organizations")
    # The ids are UUIDv7: the least is the oldest.
    return min((item.organization_id for item in found), default="")


async def _chatwoot(
    endpoints: Endpoints, calls: Calls, organization_id: str, state: DemoState
) -> dict[str, Any] | None:
    stub = calls.stub(ConnectionServiceStub, "ingest")
    metadata = calls.organization(organization_id)
    found = await all_pages(
        stub.ListConnections, connections.ListConnectionsRequest(), "connections", metadata=metadata
    )
    chatwoot = [item for item in found if item.provider == PROVIDER_CHATWOOT]
    if not chatwoot:
        return None
    chosen = next((item for item in chatwoot if item.connection_id == state.connection_id), None)
    connection = chosen or min(chatwoot, key=lambda item: item.connection_id)
    answer = await stub.ListChannels(
        connections.ListChannelsRequest(connection_id=connection.connection_id, page_size=250),
        metadata=metadata,
        timeout=CALL_SECONDS,
    )
    inboxes: dict[int, int] = {}
    for channel in sorted(answer.channels, key=lambda item: str(item.channel_id)):
        inboxes.setdefault(channel.source, channel.inbox_id)
    return {
        "account_id": connection.account_id or None,
        "webhook_url": (endpoints.public_url or endpoints.url) + connection.webhook_path,
        "webhook_secret": state.webhook_secret if chosen is not None else None,
        "inboxes": {"whatsapp": inboxes.get(SOURCE_WHATSAPP), "instagram": inboxes.get(SOURCE_INSTAGRAM)},
    }
