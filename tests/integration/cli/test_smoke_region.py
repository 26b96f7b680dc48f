"""The smoke reads a phone without its country as the organization's people dial it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.harness import INSTAGRAM_INBOX, SECRET, WHATSAPP_INBOX, Harness, open_harness
from tests.integration.cli.operator import Operator
from tests.world import World, reader_url


@pytest_asyncio.fixture(loop_scope="session")
async def mexican(world: World) -> AsyncIterator[Harness]:
    """An organization in Mexico."""
    async with aiohttp.ClientSession() as session:
        yield await open_harness(world, session, region="MX")


def variables(harness: Harness, phone: str) -> dict[str, str]:
    """What the smoke needs to know."""
    return {
        "SMOKE_BASE_URL": harness.url,
        "SMOKE_CHATWOOT_ACCOUNT_ID": str(harness.account_id),
        "SMOKE_CHATWOOT_INBOX_WHATSAPP_ID": str(WHATSAPP_INBOX),
        "SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID": str(INSTAGRAM_INBOX),
        "SMOKE_INSTAGRAM_IGSID": "7733100045600121",
        "SMOKE_WHATSAPP_PHONE": phone,
        "SMOKE_CHATWOOT_WEBHOOK_SECRET": SECRET,
        "SMOKE_API_KEY": harness.api_key,
        "PROSA_READER_DATABASE_URL": reader_url(harness.world.database_url),
    }


async def test_a_phone_without_its_country_is_of_the_organizations_region(operator: Operator, mexican: Harness) -> None:
    said = await operator.prosa("smoke", "--only", "whatsapp", "--json", **variables(mexican, "81 8345 6789"))
    assert (said.code, said.document["passed"]) == (0, True), said
    _, listed = await mexican.get("/api/v1/identities")
    assert [each["conversation_key"] for each in listed["identities"]] == ["whatsapp:+528183456789"]


async def test_what_is_no_phone_in_the_region_is_named(operator: Operator, mexican: Harness) -> None:
    said = await operator.prosa("smoke", "--only", "whatsapp", **variables(mexican, "81 8345"))
    assert said.code == 2
    assert "SMOKE_WHATSAPP_PHONE" in said.err
