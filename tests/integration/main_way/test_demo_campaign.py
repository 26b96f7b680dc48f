"""The campaign that the demo runs by itself, from an import to an opt-out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from cli.calls import Calls
from cli.demo.campaigning import NAME, OPTS_OUT, Campaigner
from prosa.outreach.v1 import campaign_service_pb2 as pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from tests.integration.main_way.answering import Shop, shop_of
from tests.world import World


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def test_it_runs_once_and_ends_with_one_confirmation(shop: Shop) -> None:
    harness = shop.harness
    calls = Calls(shop.world.host.signer("cli"), {}, shop.world.host.grpc_address)
    campaigner = Campaigner(calls, str(harness.organization_id), harness.url, harness.api_key, shop.chatwoot_url)
    await campaigner.keep_on()
    await shop.world.until(
        "select 1 from conversation.deliveries where organization_id = %s and send_class = 'CONFIRMATION'"
        " and state = 'DELIVERED'",
        harness.organization_id,
    )
    await campaigner.keep_on()
    campaigns = calls.stub(CampaignServiceStub, "outreach")
    metadata = calls.organization(str(harness.organization_id))
    (shown,) = (await campaigns.ListCampaigns(pb.ListCampaignsRequest(), metadata=metadata)).campaigns
    assert (shown.name, shown.counts.planned_count, shown.counts.opted_out_count) == (NAME, 2, 1)
    heard = [
        conversation for conversation in shop.chatwoot.conversations.values() if conversation.contact.name == OPTS_OUT
    ]
    assert len(heard) == 1
    await calls.close()
