"""A start while NATS is away: the public port opens, webhooks are stored, and facts follow once it is there."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from embedded.servers import EmbeddedServers
from embedded.suite import answers_ready
from tests.conftest import ALL_TARGETS, clear_streams
from tests.harness import open_harness, sample
from tests.world import PATIENCE_SECONDS, settings_for, start_world


@pytest.mark.case("O6")
async def test_webhooks_are_stored_before_nats_is_there_and_facts_follow(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    await clear_streams(servers.nats_url)
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    await servers.nats.stop(graceful=False)
    try:
        world = await start_world(settings, database_url, ALL_TARGETS)
    except BaseException:
        await servers.nats.start()
        raise
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
            try:
                url = f"http://127.0.0.1:{world.host.http_port}"
                async with session.get(f"{url}/healthz") as alive:
                    assert alive.status == 200
                async with session.get(f"{url}/readyz") as ready:
                    seen = (await ready.json())["dependencies"]
                    assert ready.status == 503
                missing = {name for name, state in seen.items() if state != "ok"}
                assert missing == {"nats"}
                assert "NATS does not answer" in seen["nats"]
                # What `prosa up` waits for: the process has started, whatever it does without.
                assert await answers_ready(world.host.metrics_port)
                harness = await open_harness(world, session)
                # Processed too, for the way from the queue to the message needs PostgreSQL alone.
                event = await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
                assert event["state"] == "PROCESSED"
            finally:
                await servers.nats.start()
            # What subscribed and waited before the first connection works after it: the fact reaches the feed.
            await world.until(
                "select 1 from ingest.feed where organization_id = %s and type like '%%.MessageReceived'",
                harness.organization_id,
                seconds=30,
            )
            async with session.get(f"{url}/readyz") as ready:
                assert ready.status == 200, await ready.text()
    finally:
        await world.close()
        await world.host.stop()
