"""Guessing over HTTP: a guesser is slowed, and nobody else is kept out, neither the owner nor another network."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from prosa.identity.v1 import access_service_pb2 as pb
from prosa.identity.v1 import access_service_pb2_grpc as pb_grpc
from services.identity.access.domain import SIGN_IN_FAILURES_FREE
from services.identity.access.passwords import Passwords
from services.identity.access.sign_in import SIGN_INS_PER_NETWORK_MAX
from tests.world import ADMIN, World

TARGETS = ("identity", "gateway")
PASSWORD = "um bom segredo"
INVENTED = 300
KEYS_TRIED_MAX = 400
pytestmark = pytest.mark.case("S9")


@pytest.fixture
async def here() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of 127.0.0.0/24."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
async def elsewhere() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of another network, which loopback has as well."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.9.1", 0))) as session:
        yield session


async def owner(world: World) -> tuple[str, UUID]:
    """The e-mail of an owner who may sign in with the password, and their organization."""
    email = f"{uuid4().hex}@example.com"
    request = pb.CreateOrganizationRequest(name="Padaria", admin_email=email, admin_password=PASSWORD)
    answer = await world.as_service("cli").stub(pb_grpc.AccessServiceStub).CreateOrganization(request)
    return email, UUID(answer.organization.organization_id)


async def sign_in(world: World, client: aiohttp.ClientSession, email: str, password: str) -> tuple[int, Any, str]:
    """Status, reason and Retry-After of signing in."""
    url = f"http://127.0.0.1:{world.host.http_port}/api/v1/sessions"
    async with client.post(url, json={"email": email, "password": password}) as response:
        return response.status, (await response.json()).get("reason"), response.headers.get("Retry-After", "")


async def exchange(world: World, client: aiohttp.ClientSession, secret: str) -> tuple[int, Any]:
    """Status and reason of exchanging a key."""
    url = f"http://127.0.0.1:{world.host.http_port}/api/v1/token"
    body = {"grant_type": "client_credentials", "client_secret": secret}
    async with client.post(url, json=body) as response:
        return response.status, (await response.json()).get("reason")


async def test_wrong_passwords_of_anybody_never_keep_the_owner_out(
    world: World, here: aiohttp.ClientSession, elsewhere: aiohttp.ClientSession
) -> None:
    email, _ = await owner(world)
    # One more than are answered at once: the last comes half a second late.
    for _ in range(SIGN_IN_FAILURES_FREE + 1):
        assert (await sign_in(world, here, email, "x"))[:2] == (401, "CREDENTIALS_INVALID")
    assert (await sign_in(world, here, email, PASSWORD))[0] == 200
    assert (await sign_in(world, elsewhere, email, PASSWORD))[0] == 200
    # Who knew the password begins anew.
    (row,) = await world.rows(
        "select attempt_count from identity.sign_in_attempts where attempt_hash = sha256(%s)",
        f"{email} 127.0.0.0/24".encode(),
    )
    assert row["attempt_count"] == 0


async def test_a_flood_of_invented_addresses_shuts_sign_in_for_its_own_network_alone(
    world: World, here: aiohttp.ClientSession, elsewhere: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    (known, _), (unknown, _) = await owner(world), await owner(world)
    assert (await sign_in(world, here, known, PASSWORD))[0] == 200
    checks, crowded, checked, really = 0, asyncio.Event(), asyncio.Event(), Passwords.check

    async def check(passwords: Passwords, kept: str | None, password: str) -> bool:
        nonlocal checks
        if kept is None:
            checks += 1
            if checks == SIGN_INS_PER_NETWORK_MAX:
                crowded.set()
            await checked.wait()
            return False
        return await really(passwords, kept, password)

    monkeypatch.setattr(Passwords, "check", check)
    flood = [asyncio.create_task(sign_in(world, here, f"{uuid4().hex}@example.com", "x")) for _ in range(INVENTED)]
    answered = asyncio.as_completed(flood)
    for done in itertools.islice(answered, INVENTED - SIGN_INS_PER_NETWORK_MAX):
        assert await done == (429, "SIGN_IN_LIMITED", "1")
    # The network's places are all taken now, and stay so until they are checked.
    await crowded.wait()
    assert checks == SIGN_INS_PER_NETWORK_MAX
    assert (await sign_in(world, elsewhere, unknown, PASSWORD))[0] == 200
    assert (await sign_in(world, here, known, PASSWORD))[0] == 200
    assert (await sign_in(world, here, unknown, PASSWORD))[:2] == (429, "SIGN_IN_LIMITED")
    checked.set()
    answers = await asyncio.gather(*flood)
    assert sum(status == 401 for status, _, _ in answers) == SIGN_INS_PER_NETWORK_MAX
    assert (await sign_in(world, here, unknown, PASSWORD))[0] == 200


async def test_guessing_keys_is_bounded_by_network_and_known_keys_go_on(
    world: World, here: aiohttp.ClientSession, elsewhere: aiohttp.ClientSession
) -> None:
    _, organization_id = await owner(world)
    stub = world.as_user(organization_id, ADMIN).stub(pb_grpc.AccessServiceStub)
    key = (await stub.CreateApiKey(pb.CreateApiKeyRequest(name="n8n", scopes=["*"]))).secret
    used = {"X-Api-Key": key}
    url = f"http://127.0.0.1:{world.host.http_port}/api/v1/organization"
    async with here.get(url, headers=used) as response:
        assert response.status == 200
    for number in range(KEYS_TRIED_MAX):
        status, reason = await exchange(world, here, f"ncrm_guess_{number}")
        if status != 401:
            break
        assert reason == "API_KEY_INVALID"
    assert (status, reason) == (429, "KEY_GUESSES_LIMITED")
    async with here.get(url, headers=used) as response:
        assert response.status == 200
    assert (await exchange(world, elsewhere, key))[0] == 200
    assert (await exchange(world, elsewhere, "ncrm_guess"))[0] == 401


async def test_upkeep_forgets_attempts_once_their_window_is_over_and_known_networks_after_a_month(
    world: World, here: aiohttp.ClientSession
) -> None:
    (within, _), (over, _) = await owner(world), await owner(world)
    long_ago, lately = await owner(world), await owner(world)
    for email in (within, over):
        await sign_in(world, here, email, "x")
    for email, _ in (long_ago, lately):
        assert (await sign_in(world, here, email, PASSWORD))[0] == 200
    hashes = {email: hashlib.sha256(f"{email} 127.0.0.0/24".encode()).digest() for email, _ in (long_ago, lately)}
    hashes |= {email: hashlib.sha256(f"{email} 127.0.0.0/24".encode()).digest() for email in (within, over)}
    aged = "update identity.sign_in_attempts set window_start = window_start - %s::interval, success_time ="
    async with await world.admin() as connection:
        for email, age in ((over, "16 minutes"), (long_ago[0], "31 days"), (lately[0], "29 days")):
            await connection.execute(
                f"{aged} success_time - %s::interval where attempt_hash = %s", [age, age, hashes[email]]
            )
        await connection.execute("select identity.maintain(%s)", [datetime.now(UTC)])
    kept = await world.rows("select attempt_hash from identity.sign_in_attempts")
    assert {row["attempt_hash"] for row in kept} & set(hashes.values()) == {hashes[within], hashes[lately[0]]}
