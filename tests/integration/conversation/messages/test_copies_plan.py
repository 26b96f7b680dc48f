"""A message is looked for by the network's id under its whole key, or each would cost as much as its channel has."""

from __future__ import annotations

import itertools
import re
from uuid import UUID, uuid4

from services.conversation.messages import store
from tests.world import World

TARGETS = ("conversation",)
KEYS = 5_000
FILL = """
insert into conversation.message_keys (organization_id, channel_id, provider_message_id, conversation_id, message_id,
  create_time, provider_source_id, source_week)
select %s, %s, number::text, gen_random_uuid(), gen_random_uuid(), now(), 'wamid.' || number, 2900 + number %% 4
from generate_series(1, %s) as number
"""


async def test_the_networks_id_is_found_by_its_whole_key(world: World, organization_id: UUID) -> None:
    """As the plan has it that is made once, whatever is asked for."""
    numbers = itertools.count(1)
    query = re.sub(r"%\(\w+\)b", lambda _: f"${next(numbers)}", store._LOAD_MESSAGES)
    channel_id = uuid4()
    async with await world.admin() as admin:
        await admin.execute(FILL.encode(), [organization_id, channel_id, KEYS])
        await admin.execute("analyze conversation.message_keys")
        try:
            found = await admin.execute(f"explain (generic_plan) {query}".encode())
            lines = [row["QUERY PLAN"].strip() for row in await found.fetchall()]
        finally:
            await admin.execute("delete from conversation.message_keys where channel_id = %s", [channel_id])
    scans = [place for place, line in enumerate(lines) if "message_keys_by_source" in line]
    assert len(scans) == 1, lines
    condition = lines[scans[0] + 1]
    assert condition.startswith("Index Cond:")
    for column in ("source_week", "organization_id", "channel_id", "provider_source_id"):
        assert f"({column} = " in condition
