"""What is decided before a body is read, and what guessing keys costs those whose key is known."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from services.ingest.connections import cache as directory
from services.ingest.connections.cache import ConnectionCache
from tests.harness import Harness, changed, sample


@pytest.mark.case("S8")
async def test_of_a_key_that_may_not_call_nothing_of_the_body_is_read(harness: Harness) -> None:
    access = harness.world.as_service("cli", harness.organization_id).stub(AccessServiceStub)
    key = await access.CreateApiKey(access_pb.CreateApiKeyRequest(name="reads", scopes=["conversations.read"]))
    url = urlsplit(harness.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(
        f"POST /api/v1/contacts:ensure HTTP/1.1\r\nHost: here\r\nX-Api-Key: {key.secret}\r\n"
        "Content-Length: 1000000\r\n\r\n{".encode()
    )
    # The rest never comes, and is not waited for.
    async with asyncio.timeout(15):
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        assert b"SCOPE_MISSING" in await reader.readuntil(b"}")
    writer.close()
    await writer.wait_closed()


@pytest.mark.case("S5")
async def test_whoever_guesses_keys_pushes_out_none_that_is_known(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "KEPT_MAX", 20)
    # Nothing is looked up anew for being old.
    monkeypatch.setattr(directory, "KEEP_SECONDS", 600.0)
    monkeypatch.setattr(directory, "UNKNOWN_KEEP_SECONDS", 600.0)
    loaded: list[Any] = []
    really = ConnectionCache._load

    async def load(self: ConnectionCache, tx: Any, organizations: Any) -> Any:
        loaded.extend(organizations)
        return await really(self, tx, organizations)

    monkeypatch.setattr(ConnectionCache, "_load", load)
    assert (await harness.post(sample("message_created.whatsapp_cloud.incoming")))[0] == 200
    receiver = harness.world.as_service("gateway").stub(IngestServiceStub)
    guessed = [pb.ConnectionKey(provider=pb.PROVIDER_CHATWOOT, key=uuid4().hex) for _ in range(50)]
    answer = await receiver.ResolveConnectionKeys(pb.ResolveConnectionKeysRequest(connection_keys=guessed))
    assert set(answer.connection_ids) == {""}
    loaded.clear()
    assert (await harness.post(changed(sample("message_created.whatsapp_cloud.incoming"), id=9_001)))[0] == 200
    assert loaded == []
