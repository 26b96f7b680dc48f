"""What is decided before a body is read, and what guessing keys costs those whose key is known."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from chassis.db import Database
from chassis.process import Process
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from services.ingest.connections.cache import ConnectionCache
from tests.harness import Harness


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


class Counted:
    """A database that counts how often it is asked."""

    def __init__(self, db: Database) -> None:
        self._db, self.asked = db, 0

    def transaction(self, *organization_ids: UUID) -> Any:
        self.asked += 1
        return self._db.transaction(*organization_ids)


@pytest.mark.case("S5")
async def test_whoever_guesses_keys_pushes_out_none_that_is_known(harness: Harness) -> None:
    process = Process(harness.world.host, "ingest")
    db, own = Counted(process.database()), harness.connection.connection_key
    cache = ConnectionCache(cast("Database", db), process.vault(), process.nats, kept_max=20, monotonic=lambda: 0.0)
    known = await cache.by_keys([own])
    assert known[own] is not None
    guessed = [uuid4().hex for _ in range(50)]
    assert await cache.by_keys(guessed) == dict.fromkeys(guessed)
    assert db.asked == 2
    assert await cache.by_keys([own]) == known
    assert db.asked == 2
    # Of what nobody has, no more than that is kept.
    await cache.by_keys(guessed)
    assert db.asked == 3
