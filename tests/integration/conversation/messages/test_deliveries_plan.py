"""What waits and what may have left of a conversation is found without all that was ever sent in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest
import pytest_asyncio

from chassis.db import Result, Tx
from services.conversation.messages import delivery_store, store
from services.conversation.messages.domain.delivery import ECHO_LOOKED_FOR
from services.conversation.messages.domain.message import Author, Direction, Message, MessageState
from tests.world import World

TARGETS = ("conversation",)
PAST = 6_000
BLOCKS_MAX = 30
"""A look into each index, and the few rows that it finds; all that was sent takes hundreds."""
FILL = """
insert into conversation.deliveries (organization_id, delivery_id, conversation_id, connection_id, channel_id,
  message_time, send_class, cause, actor_principal, actor_name, state, create_time, send_time, end_time)
select %s, gen_random_uuid(), %s, gen_random_uuid(), gen_random_uuid(), moment, 'MARKETING', 'touch', 'service', '',
  state, moment, moment, moment + interval '1 day'
from (
  select %s - number * interval '1 hour' as moment,
    (array['FAILED', 'SENT', 'READ', 'CANCELLED'])[1 + number %% 4] as state
  from generate_series(1, %s) as number
) as sent
"""


class Explaining:
    """Runs statements as they come, and keeps how many blocks each took and the indexes that it went by."""

    def __init__(self, tx: Tx) -> None:
        self._tx, self.blocks, self.indexes = tx, 0, set[str]()

    async def execute(self, statement: str, parameters: Mapping[str, Any]) -> Result:
        """As of a transaction."""
        explained = await self._tx.execute(f"explain (analyze, buffers, format json) {statement}", parameters)
        found = explained.scalar_one()
        plan = (orjson.loads(found) if isinstance(found, str | bytes) else found)[0]["Plan"]
        self.blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self._walk(plan)
        return await self._tx.execute(statement, parameters)

    def _walk(self, node: Mapping[str, Any]) -> None:
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
        for below in node.get("Plans", ()):
            self._walk(below)


@pytest_asyncio.fixture(loop_scope="session")
async def conversation_id(world: World, organization_id: UUID) -> AsyncIterator[UUID]:
    """A conversation in which a message was sent each hour for months."""
    conversation_id = uuid4()
    async with await world.admin() as admin:
        await admin.execute(FILL.encode(), [organization_id, conversation_id, world.clock.now(), PAST])
        await admin.execute("analyze conversation.deliveries")
        try:
            yield conversation_id
        finally:
            await admin.execute("delete from conversation.deliveries where organization_id = %s", [organization_id])


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_an_echo_and_a_new_message_cost_no_more_however_much_was_sent(
    world: World, organization_id: UUID, conversation_id: UUID, mode: str
) -> None:
    async with world.database("conversation").transaction(organization_id) as tx:
        await tx.execute("select set_config('plan_cache_mode', %(mode)s, true)", {"mode": mode})
        echo, new = Explaining(tx), Explaining(tx)
        since = world.clock.now() - ECHO_LOOKED_FOR
        await delivery_store.load(
            cast("Tx", echo), {str(organization_id)}, {str(conversation_id)}, {str(uuid4())}, since
        )
        assert not await delivery_store.count_queued(cast("Tx", new), {str(organization_id)}, {str(conversation_id)})
    assert "deliveries_in_flight" in echo.indexes
    assert "deliveries_queued" in new.indexes
    assert echo.blocks <= BLOCKS_MAX
    assert new.blocks <= BLOCKS_MAX


async def test_of_what_may_have_left_only_the_last_day_is_looked_at_and_of_the_rest_what_is_named(
    world: World, organization_id: UUID, conversation_id: UUID
) -> None:
    failed = await world.rows(
        "select delivery_id::text, conversation_id, channel_id, create_time, send_time from conversation.deliveries"
        " where organization_id = %s and state = 'FAILED' order by send_time desc",
        organization_id,
    )
    recent, old = failed[0], failed[-1]
    messages = [
        Message(
            message_id=row["delivery_id"],
            organization_id=str(organization_id),
            conversation_id=str(conversation_id),
            channel_id=str(row["channel_id"]),
            provider_message_id="",
            create_time=row["create_time"],
            record_time=row["create_time"],
            cause_id="",
            direction=Direction.OUTBOUND,
            author=Author.AGENT,
            state=MessageState.FAILED,
            text="Oi",
            sent_here=True,
        )
        for row in (recent, old)
    ]
    for message in messages:
        async with world.database("conversation").transaction() as tx:
            await store.ensure_message_month(tx, message.create_time)
    async with world.database("conversation").transaction(organization_id) as tx:
        await store.insert_messages(tx, messages, [])
    since = world.clock.now() - ECHO_LOOKED_FOR
    assert recent["send_time"] > since > old["send_time"] + timedelta(days=100)
    async with world.database("conversation").transaction(organization_id) as tx:

        async def loaded(*named: str) -> set[str]:
            found = await delivery_store.load(tx, {str(organization_id)}, {str(conversation_id)}, named, since)
            assert len({sent.delivery.delivery_id for sent in found}) == len(found)
            return {sent.delivery.delivery_id for sent in found}

        assert await loaded() == {recent["delivery_id"]}
        assert await loaded(old["delivery_id"], recent["delivery_id"]) == {recent["delivery_id"], old["delivery_id"]}
