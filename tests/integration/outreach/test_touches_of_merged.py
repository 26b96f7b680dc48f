"""Touches of a person who is known by several ids are found by any of them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.integration.identity.cast import given_organization
from tests.integration.outreach.writing import Writing
from tests.world import World

TARGETS = ("identity", "outreach")
PHONE, OTHER_PHONE = "+5511900004821", "+5511900004822"


@pytest.fixture
async def writing(world: World) -> Writing:
    """An organization that no other test knows."""
    return Writing(world, await given_organization(world))


@pytest.fixture
async def merged(writing: Writing) -> tuple[UUID, UUID, UUID]:
    """A survivor and two who were merged into it."""
    survivor, loser, sibling = uuid4(), uuid4(), uuid4()
    await writing.merged(survivor, loser, sibling)
    return survivor, loser, sibling


@pytest.mark.parametrize("writer", [0, 1, 2], ids=["survivor", "loser", "sibling"])
async def test_who_answers_by_another_id_has_answered(
    writing: Writing, merged: tuple[UUID, UUID, UUID], writer: int
) -> None:
    stranger = uuid4()
    campaign_id = await writing.campaign((merged[0], PHONE), (merged[1], OTHER_PHONE), (stranger, "+5511900000009"))
    await writing.sent(campaign_id, timedelta(hours=1))
    await writing.answered(writing.said("Quero dois!", PHONE, merged[writer]))
    assert await writing.touched(campaign_id) == {
        merged[0]: ("SENT", True, False),
        merged[1]: ("SENT", True, False),
        stranger: ("SENT", False, False),
    }


@pytest.mark.parametrize("writer", [0, 1, 2], ids=["survivor", "loser", "sibling"])
async def test_who_asks_by_another_id_to_be_left_alone_is(
    writing: Writing, merged: tuple[UUID, UUID, UUID], writer: int
) -> None:
    stranger = uuid4()
    campaign_id = await writing.campaign((merged[0], PHONE), (merged[1], OTHER_PHONE), (stranger, "+5511900000009"))
    await writing.heard(writing.said("SAIR", "+5511900004823", merged[writer]))
    assert await writing.touched(campaign_id) == {
        merged[0]: ("SUPPRESSED", False, False),
        merged[1]: ("SUPPRESSED", False, False),
        stranger: ("PLANNED", False, False),
    }


async def test_the_last_that_a_person_wrote_counts_by_whatever_id(
    writing: Writing, merged: tuple[UUID, UUID, UUID]
) -> None:
    survivor, loser, _ = merged
    campaign_id = await writing.campaign((survivor, PHONE))
    await writing.sent(campaign_id, timedelta(hours=1))
    early, late = timedelta(hours=2), timedelta(minutes=1)
    batch = [writing.said("Oi", PHONE, loser, late), writing.said("Oi", PHONE, survivor, early)]
    await writing.answered(*batch)
    assert await writing.touched(campaign_id) == {survivor: ("SENT", True, False)}
