"""The order of conversations lies apart from them, so that a message leaves a conversation's indexes alone."""

from __future__ import annotations

from uuid import UUID

from prosa.conversation.v1 import conversation_service_pb2 as pb
from services.conversation.messages.store import ADVANCING
from tests.integration.conversation.messages.reports import Reported, batch, told, written
from tests.world import World

TARGETS = ("conversation",)


async def order(world: World, organization_id: UUID, table: str) -> list[tuple[object, ...]]:
    """What a table says of the order, by conversation."""
    found = await world.rows(
        f"select conversation_id, state, activity_time from conversation.{table} where organization_id = %s order by 1",
        organization_id,
    )
    return [tuple(row.values()) for row in found]


async def test_the_order_follows_whoever_writes_conversations(world: World, organization_id: UUID) -> None:
    reported = [Reported(organization_id, str(number)) for number in range(1, 4)]
    await batch(world, *(one.item(written("1", second=number), told(1)) for number, one in enumerate(reported)))
    first = await order(world, organization_id, "conversation_activity")
    assert len(first) == len(reported)
    assert first == await order(world, organization_id, "conversations")
    await batch(
        world,
        reported[0].item(written("2", second=5), told(2)),
        reported[1].item(report=told(2, state=pb.CONVERSATION_STATE_RESOLVED)),
        reported[2].item(report=told(2, labels=["vip"])),
    )
    second = await order(world, organization_id, "conversation_activity")
    assert len(set(first) & set(second)) == 1
    assert second == await order(world, organization_id, "conversations")
    await world.rows(
        "update conversation.conversations set activity_time = activity_time - interval '1 day', state = 'SNOOZED'"
        " where organization_id = %s returning 1",
        organization_id,
    )
    third = await order(world, organization_id, "conversation_activity")
    assert set(second) & set(third) == set()
    assert third == await order(world, organization_id, "conversations")
    await world.rows("delete from conversation.conversations where organization_id = %s returning 1", organization_id)
    assert await order(world, organization_id, "conversation_activity") == []


async def test_nothing_that_a_message_moves_is_in_an_index_of_the_conversation(world: World) -> None:
    """One index on one of them would cost every message an entry in each."""
    found = await world.rows(
        "select distinct attname from pg_index join pg_attribute on attrelid = indrelid and attnum = any (indkey)"
        " where indrelid = 'conversation.conversations'::regclass"
    )
    indexed = {row["attname"] for row in found}
    assert "contact_id" in indexed
    assert indexed & {*ADVANCING, "state"} == set()
