"""Reactions whose id of the provider was another's: at the same moment, and kept by the release before."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1.events_pb2 import MessageReactionChanged
from tests.integration.conversation.messages.reports import Reported, batch, written
from tests.world import World

TARGETS = ("conversation",)
REACTION = "9007"
HOUR = 3600


def on(target: str, emoji: str, *, second: int = 0) -> pb.MessageReport:
    """An emoji on a message, under the one id."""
    report = written(REACTION, emoji, second=second)
    report.reaction.target_provider_message_id = target
    return report


async def reactions(world: World, organization_id: UUID) -> list[dict[str, Any]]:
    """All that is kept under the id, the first that had it first."""
    return await world.rows(
        "select conversation_id::text, text, generation, told_time_us from conversation.message_reactions"
        " where organization_id = %s and provider_message_id = %s order by generation",
        organization_id,
        REACTION,
    )


@pytest.mark.case("F19")
async def test_two_conversations_that_get_one_reaction_id_at_the_same_moment_have_one_each(
    world: World, organization_id: UUID
) -> None:
    first = Reported(organization_id)
    second = Reported(organization_id, "392", first.connection_id, first.channel_id, contact_id=first.contact_id)
    places = [
        result.item.conversation_id for result in await batch(world, *(one.item(written("1")) for one in (first,)))
    ]
    [told] = await batch(world, second.item(written("2")))
    places.append(told.item.conversation_id)
    async with await world.admin() as other:
        # The other process is between its insertion and its commit.
        await other.execute("begin")
        await other.execute(
            "insert into conversation.message_reactions (organization_id, channel_id, provider_message_id,"
            " conversation_id, target_provider_message_id, direction, author, author_name, text, removed, create_time,"
            " cause_id) values (%s, %s, %s, %s, '1', 'INBOUND', 'CONTACT', '', '👍', false, now(), '')",
            [organization_id, first.channel_id, REACTION, places[0]],
        )
        recording = asyncio.create_task(batch(world, second.item(on("2", "😡"))))
        try:
            await world.until_waiting_on_locks(1)
            assert not recording.done()
        finally:
            await other.execute("commit")
        [result] = await recording
    assert not result.HasField("error"), result
    kept = await reactions(world, organization_id)
    assert [(row["conversation_id"], row["text"], row["generation"]) for row in kept] == [
        (places[0], "👍", 0),
        (places[1], "😡", 1),
    ]
    [change] = await world.announced(MessageReactionChanged, organization_id)
    assert change.message_id == told.item.message_id


@pytest.mark.case("F19")
@pytest.mark.parametrize(("second", "same"), [(0, True), (HOUR, False)])
async def test_a_reaction_that_the_release_before_kept_is_known_by_its_time(
    world: World, organization_id: UUID, second: int, same: bool
) -> None:
    reported = Reported(organization_id)
    await batch(world, reported.item(written("1")), reported.item(on("1", "👍")))
    # It did not know when the provider said that it was made.
    async with await world.admin() as admin:
        await admin.execute(
            "update conversation.message_reactions set told_time_us = 0 where organization_id = %s", [organization_id]
        )
    await batch(world, reported.item(on("1", "😡", second=second)))
    kept = [(row["text"], row["generation"]) for row in await reactions(world, organization_id)]
    assert kept == ([("😡", 0)] if same else [("👍", 0), ("😡", 1)])
