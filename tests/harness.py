"""An organization that is set up and at work: its connection, channels and board, and a Chatwoot that writes to it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import orjson

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1 import options_pb2
from sandbox.chatwoot.signing import signed_request
from tests.world import World

SAMPLES = Path(__file__).parent / "fixtures" / "chatwoot"
SAMPLE_ACCOUNT_ID = 7
_account_ids = itertools.count(1000)
WHATSAPP_INBOX, INSTAGRAM_INBOX, EVOLUTION_INBOX, PAGE_INBOX = 21, 22, 24, 23
SECRET = "whsec-of-the-tests-0123456789"


def sample(name: str) -> dict[str, Any]:
    """One of the recorded bodies, by its file's name without the ending."""
    loaded: dict[str, Any] = orjson.loads((SAMPLES / f"{name}.json").read_bytes())
    return loaded


def changed(body: Mapping[str, Any], **paths: Any) -> dict[str, Any]:
    """A copy with values replaced; ``conversation__id=3`` reaches below."""
    copied = copy.deepcopy(dict(body))
    for path, value in paths.items():
        *parents, last = path.split("__")
        target = copied
        for parent in parents:
            target = target[parent]
        target[last] = value
    return copied


@dataclass(frozen=True)
class Harness:
    """One organization's side of the tests."""

    world: World
    organization_id: UUID
    connection: connection_pb.Connection
    api_key: str
    session: aiohttp.ClientSession
    account_id: int

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.world.host.http_port}"

    @property
    def legacy_url(self) -> str:
        """The address that all organizations share."""
        return self.url + "/api/chatwoot/webhook"

    @property
    def webhook_url(self) -> str:
        """The connection's own address."""
        return self.url + self.connection.webhook_path

    def encoded(self, body: Mapping[str, Any]) -> bytes:
        """The body as this organization's account would send it."""
        return orjson.dumps(_of_account(body, self.account_id))

    async def post(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        delivery_id: str | None = None,
        secret: str | None = SECRET,
        traceparent: str = "",
        legacy: bool = False,
        organization: str = "",
    ) -> tuple[int, dict[str, Any]]:
        """Sends one webhook, signed as Chatwoot signs; answers status and JSON."""
        raw = body if isinstance(body, bytes) else self.encoded(body)
        now = int(self.world.clock.now().timestamp())
        headers = signed_request(raw, secret, delivery_id or str(uuid4()), now)
        if traceparent:
            headers["traceparent"] = traceparent
        if organization:
            headers["X-Organization-Id"] = organization
        url = self.legacy_url if legacy else self.webhook_url
        async with self.session.post(url, data=raw, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def deliver(self, body: Mapping[str, Any] | bytes, **options: Any) -> dict[str, Any]:
        """Sends one webhook and waits until it is done; answers its row."""
        status, answer = await self.post(body, **options)
        assert status == 200, answer
        return await self.done(answer["webhook_event_id"])

    async def done(self, webhook_event_id: str) -> dict[str, Any]:
        """Waits until an event is done; answers its row."""
        rows = await self.world.until(
            "select * from ingest.webhook_events where id = %s and state <> 'PENDING'", webhook_event_id
        )
        return rows[0]

    async def get(self, path: str, **query: str) -> tuple[int, dict[str, Any]]:
        """Reads from the REST interface with the API key."""
        headers = {"X-Api-Key": self.api_key}
        async with self.session.get(self.url + path, params=query, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def send(self, path: str, body: Mapping[str, Any], method: str = "POST") -> tuple[int, dict[str, Any]]:
        """Writes through the REST interface with the API key."""
        headers = {"X-Api-Key": self.api_key}
        async with self.session.request(method, self.url + path, json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def count(self, table: str) -> int:
        """How many rows of a table are this organization's."""
        rows = await self.world.rows(
            f"select count(*) as found from {table} where organization_id = %s", self.organization_id
        )
        return int(rows[0]["found"])


async def open_harness(
    world: World,
    session: aiohttp.ClientSession,
    *,
    account_id: int | None = None,
    secret: str = SECRET,
    region: str = "",
    inboxes: Collection[int] = (WHATSAPP_INBOX, INSTAGRAM_INBOX, PAGE_INBOX, EVOLUTION_INBOX),
    **fields: Any,
) -> Harness:
    """Creates an organization with a connection to an account of its own, four channels and an API key."""
    account_id = account_id or next(_account_ids)
    access = world.as_service("cli").stub(AccessServiceStub)
    created = await access.CreateOrganization(
        access_pb.CreateOrganizationRequest(
            name=f"Organization {uuid4()}", admin_email=f"{uuid4().hex}@example.com", region=region
        )
    )
    organization_id = UUID(created.organization.organization_id)
    acting = world.as_service("cli", organization_id)
    key = await acting.stub(AccessServiceStub).CreateApiKey(access_pb.CreateApiKeyRequest(name="tests", scopes=["*"]))
    connections = acting.stub(ConnectionServiceStub)
    connection = await connections.CreateConnection(
        connection_pb.CreateConnectionRequest(name="Chatwoot", account_id=account_id, webhook_secret=secret, **fields)
    )
    for inbox_id, source in (
        (WHATSAPP_INBOX, options_pb2.SOURCE_WHATSAPP),
        (INSTAGRAM_INBOX, options_pb2.SOURCE_INSTAGRAM),
        (PAGE_INBOX, options_pb2.SOURCE_INSTAGRAM),
        (EVOLUTION_INBOX, options_pb2.SOURCE_WHATSAPP),
    ):
        if inbox_id not in inboxes:
            continue
        await connections.CreateChannel(
            connection_pb.CreateChannelRequest(
                connection_id=connection.connection_id,
                name=f"inbox {inbox_id}",
                source=source,
                inbox_id=inbox_id,
                evolution_instance="comercial" if inbox_id == EVOLUTION_INBOX else "",
            )
        )
    return Harness(world, organization_id, connection, key.secret, session, account_id)


def _of_account(value: Any, account_id: int) -> Any:
    """The recorded body as the organization's own account would have sent it."""
    if isinstance(value, Mapping):
        return {
            key: account_id
            if key == "account_id" and child == SAMPLE_ACCOUNT_ID
            else {**child, "id": account_id}
            if key == "account" and isinstance(child, Mapping) and child.get("id") == SAMPLE_ACCOUNT_ID
            else _of_account(child, account_id)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [_of_account(child, account_id) for child in value]
    return value
