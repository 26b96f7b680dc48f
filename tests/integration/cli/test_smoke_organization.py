"""The smoke is of one organization, and says so where its variables are another one's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.harness import INSTAGRAM_INBOX, WHATSAPP_INBOX, Harness, open_harness
from tests.integration.cli.operator import Operator
from tests.integration.cli.test_smoke_region import variables
from tests.world import World

PHONE = "+5511900004821"


@pytest_asyncio.fixture(loop_scope="session")
async def harnesses(world: World) -> AsyncIterator[tuple[Harness, Harness]]:
    """Two organizations of one installation."""
    async with aiohttp.ClientSession() as session:
        yield await open_harness(world, session), await open_harness(world, session)


@pytest.mark.parametrize("first", [True, False])
async def test_variables_are_of_the_organization_that_is_named(
    operator: Operator, harnesses: tuple[Harness, Harness], *, first: bool
) -> None:
    for harness in harnesses:
        named = ("--org", str(harness.organization_id))
        words = (*named, "variables") if first else ("variables", *named)
        said = await operator.prosa("smoke", *words, "--json")
        assert said.code == 0, said
        assert said.document["SMOKE_ORGANIZATION_ID"] == str(harness.organization_id)
        assert said.document["SMOKE_CHATWOOT_ACCOUNT_ID"] == str(harness.account_id)
        assert said.document["SMOKE_CHATWOOT_INBOX_WHATSAPP_ID"] == str(WHATSAPP_INBOX)
        assert said.document["SMOKE_CHATWOOT_INBOX_INSTAGRAM_ID"] == str(INSTAGRAM_INBOX)


async def test_what_nothing_tells_is_named(operator: Operator, harnesses: tuple[Harness, Harness]) -> None:
    said = await operator.prosa("smoke", "variables", "--org", str(harnesses[0].organization_id))
    assert "SMOKE_CHATWOOT_WEBHOOK_SECRET=\n" in said.out
    assert "To be filled in" in said.err
    assert "SMOKE_CHATWOOT_WEBHOOK_SECRET" in said.err


async def test_variables_without_an_organization_ask_for_one(
    operator: Operator, harnesses: tuple[Harness, Harness]
) -> None:
    said = await operator.prosa("smoke", "variables")
    assert (said.code, said.out) == (2, "")
    assert "--org" in said.err


async def test_the_account_of_another_organization_is_refused(
    operator: Operator, harnesses: tuple[Harness, Harness]
) -> None:
    ours, theirs = harnesses
    mixed = {**variables(theirs, PHONE), "SMOKE_API_KEY": ours.api_key}
    said = await operator.prosa("smoke", "--only", "whatsapp", **mixed)
    assert (said.code, said.out) == (2, "")
    assert f"SMOKE_CHATWOOT_ACCOUNT_ID is {theirs.account_id}" in said.err


async def test_an_organization_beside_the_variables_own_is_refused(
    operator: Operator, harnesses: tuple[Harness, Harness]
) -> None:
    ours, theirs = harnesses
    named = {**variables(theirs, PHONE), "SMOKE_ORGANIZATION_ID": str(theirs.organization_id)}
    said = await operator.prosa("smoke", "--org", str(ours.organization_id), "--only", "whatsapp", **named)
    assert (said.code, said.out) == (2, "")
    assert str(theirs.organization_id) in said.err
    assert str(ours.organization_id) in said.err
