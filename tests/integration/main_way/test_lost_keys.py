"""A webhook whose secret cannot be opened any more: nobody says that its signature is wrong."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import orjson
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

import services.ingest.module
from chassis import auth, crypto
from chassis.keys import KeysLost, sealed_key_ids
from chassis.process import Host
from chassis.system import SEALING
from embedded.servers import EmbeddedServers
from sandbox.chatwoot.signing import signed_request
from tests.conftest import ALL_TARGETS
from tests.harness import SECRET, Harness, open_harness, sample
from tests.unit.cli.running import prosa
from tests.world import World, settings_for, start_world

pytestmark = pytest.mark.case("S6")

SAMPLE = "message_created.whatsapp_cloud.incoming"


@pytest_asyncio.fixture(loop_scope="session")
async def harness(servers: EmbeddedServers, database_url: str, tmp_path: Path) -> AsyncIterator[Harness]:
    """An organization in an installation with keys of its own."""
    await forget_fingerprints(database_url)
    auth.create_key_files(tmp_path)
    crypto.create_key_file(tmp_path)
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, tmp_path)
    world = await start_world(settings, database_url, ALL_TARGETS)
    try:
        async with aiohttp.ClientSession() as session:
            yield await open_harness(world, session)
    finally:
        await world.close()
        await world.host.stop()


async def restarted(harness: Harness) -> World:
    """The same installation in a new process."""
    return await start_world(harness.world.settings, harness.world.database_url, ALL_TARGETS)


def at(harness: Harness, world: World) -> Harness:
    """The same organization, where the new process listens."""
    return Harness(
        world, harness.organization_id, harness.connection, harness.api_key, harness.session, harness.account_id
    )


async def ready(world: World) -> tuple[int, str]:
    """What the gateway's /readyz answers."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{world.host.http_port}/readyz") as answer,
    ):
        return answer.status, await answer.text()


async def test_a_genuine_webhook_that_cannot_be_checked_is_answered_503_and_readyz_says_why(harness: Harness) -> None:
    assert (await harness.post(sample(SAMPLE)))[0] == 200
    keys = harness.world.settings.keys_dir
    kept = (keys / crypto.KEY_FILE).read_bytes()
    (keys / crypto.KEY_FILE).unlink()
    crypto.create_key_file(keys)
    # As if nobody had ever noted the keys: a process that knows of them does not even start, see below.
    await forget_fingerprints(harness.world.database_url)
    world = await restarted(harness)
    try:
        now = at(harness, world)
        before = await now.count("ingest.webhook_events")
        status, answer = await now.post(sample(SAMPLE))
        assert (status, answer["reason"]) == (503, "SECRET_UNREADABLE"), answer
        # Nor is it let in as unsigned because no secret could be read, and the legacy path says the same.
        status, _ = await now.post(sample(SAMPLE), secret=None)
        assert status == 503
        async with now.session.post(f"{now.url}/api/chatwoot/webhook", data=b"{}") as plain:
            assert plain.status == 401
        assert await legacy(now) == 503
        assert await now.count("ingest.webhook_events") == before
        # One connection's secret is no trouble of the process: others' webhooks must not be turned away for it.
        assert (await ready(world))[0] == 200
        status, answer = await now.send(f"/api/v1/connections/{now.connection.connection_id}:check", {})
        assert (status, answer["reason"]) == (503, "SECRET_UNREADABLE"), answer
    finally:
        await world.close()
        await world.host.stop()
    (keys / crypto.KEY_FILE).write_bytes(kept)
    await forget_fingerprints(harness.world.database_url)
    world = await restarted(harness)
    try:
        assert (await at(harness, world).post(sample(SAMPLE)))[0] == 200
        assert (await ready(world))[0] == 200
    finally:
        await world.close()
        await world.host.stop()


async def forget_fingerprints(database_url: str) -> None:
    """The installation has worked with no key yet."""
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        for service in sorted(SEALING):
            await admin.execute(f"delete from {service}.key_fingerprints".encode())


async def test_a_process_with_another_key_file_does_not_start(harness: Harness) -> None:
    keys = harness.world.settings.keys_dir
    kept = orjson.loads((keys / crypto.KEY_FILE).read_bytes())
    await forget_fingerprints(harness.world.database_url)
    world = await restarted(harness)
    await world.host.stop()
    other = {key_id: base64.b64encode(bytes(32)).decode() for key_id in kept["keys"]}
    for content in ({**kept, "keys": other}, {"current": "k2", "keys": {"k2": next(iter(other.values()))}}):
        (keys / crypto.KEY_FILE).write_bytes(orjson.dumps(content))
        with pytest.raises(KeysLost) as refused:
            await start_ingest(harness)
        assert kept["current"] in str(refused.value)
        assert "Put the file back from a backup" in str(refused.value)
    # One more key, and the old one still there: that is how keys are changed.
    grown = {"current": "k2", "keys": {**kept["keys"], "k2": next(iter(other.values()))}}
    (keys / crypto.KEY_FILE).write_bytes(orjson.dumps(grown))
    await start_ingest(harness)
    rows = await harness.world.rows("select distinct key_id from ingest.key_fingerprints order by 1")
    assert [row["key_id"] for row in rows] == sorted(grown["keys"])
    (keys / crypto.KEY_FILE).write_bytes(orjson.dumps(kept))
    with pytest.raises(KeysLost):
        await start_ingest(harness)


async def start_ingest(harness: Harness) -> None:
    """A process of ingest alone, started and stopped. Raises what starting it raises."""
    host = Host(harness.world.settings, clock=harness.world.clock)
    try:
        await host.start({"ingest": services.ingest.module.start})
    finally:
        await host.stop()


async def legacy(harness: Harness) -> int:
    """The status of one genuine webhook to the address that all organizations share."""
    raw = harness.encoded(sample(SAMPLE))
    headers = signed_request(raw, SECRET, str(uuid4()), int(harness.world.clock.now().timestamp()))
    async with harness.session.post(f"{harness.url}/api/chatwoot/webhook", data=raw, headers=headers) as response:
        return response.status


async def test_the_database_says_which_keys_it_needs(harness: Harness) -> None:
    url, keys_dir = harness.world.database_url, harness.world.settings.keys_dir
    assert crypto.read_key_ids(keys_dir) < sealed_key_ids(url)
    async with await harness.world.admin() as admin:
        # What the test before sealed with keys of its own.
        for statement in (
            "delete from ingest.connection_secrets where organization_id <> %s",
            "update ingest.connections set access_token_sealed = null where organization_id <> %s",
            "update identity.api_keys set sealed_secret = null where organization_id <> %s",
        ):
            await admin.execute(statement.encode(), [harness.organization_id])
    assert crypto.read_key_ids(keys_dir) == sealed_key_ids(url)
    create = ("keys", "create", "--directory", str(keys_dir), "--json")
    kept = (keys_dir / crypto.KEY_FILE).read_bytes()
    (keys_dir / crypto.KEY_FILE).unlink()
    refused = prosa(*create, environment={"PROSA_DATABASE_URL": url})
    assert refused.exit_code != 0
    assert "KEYS_LOST" in refused.stdout
    assert not (keys_dir / crypto.KEY_FILE).exists()
    (keys_dir / crypto.KEY_FILE).write_bytes(kept)
    again = prosa(*create, environment={"PROSA_DATABASE_URL": url})
    assert again.exit_code == 0, again.stdout
    assert (keys_dir / crypto.KEY_FILE).read_bytes() == kept
