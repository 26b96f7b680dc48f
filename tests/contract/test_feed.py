"""The feed as a flow without contracts reads it: by asking, in JSON."""

from __future__ import annotations

import aiohttp

from tests.harness import open_harness, sample
from tests.world import World


async def test_the_feed_shows_facts_as_json_by_their_short_names_and_refuses_a_negative_page(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        harness = await open_harness(world, session)
        await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
        await world.until(
            "select 1 from ingest.feed where organization_id = %s and type = %s",
            harness.organization_id,
            "prosa.conversation.v1.MessageReceived",
        )
        status, feed = await harness.get("/api/v1/feed", types="MessageReceived", page_size="5")
        assert status == 200
        [event] = feed["events"]
        assert event["type"] == "prosa.conversation.v1.MessageReceived"
        assert event["data"]["organization_id"] == str(harness.organization_id)
        assert event["data"]["deal_id"]
        assert event["data"]["message"]["text"]
        # It leads past what was of other types too.
        assert feed["next_position"] >= event["position"]

        status, refused = await harness.get("/api/v1/feed", page_size="-1")
        assert (status, refused["reason"]) == (400, "PAGE_SIZE_INVALID")

        status, refused = await harness.get("/api/v1/webhook-events", reason="a\x00b")
        assert (status, refused["reason"]) == (400, "TEXT_UNSTORABLE")


async def test_a_long_id_sent_as_a_number_is_refused_with_how_to_write_it(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        harness = await open_harness(world, session)
        status, refused = await harness.send(
            "/api/v1/contacts:ensure", {"source": "INSTAGRAM", "external_id": 17841400000000000}
        )
        assert (status, refused["reason"]) == (400, "FIELD_INVALID")
        assert refused["detail"] == 'external_id must be a text in quotes, such as "17841400000000000"; got a number.'
