"""An installation of before tells of all its channels once, for whoever follows them from now on."""

from __future__ import annotations

import asyncio

from chassis import migrate
from prosa.ingest.v1.events_pb2 import ChannelUpdated
from prosa.v1 import options_pb2
from tests.isolation.catalogue import connect, rows
from tests.isolation.parties import Filled
from tests.migration.conftest import NewDatabase
from tests.migration.test_migrations import down_to

CHANNELS = "select *, coalesce(inbox_id, 0) as inbox from ingest.channels order by id"
TOLD = """
select outbox.* from ingest.outbox join ingest.outbox_queue using (position, organization_id)
where type = 'prosa.ingest.v1.ChannelUpdated' order by position
"""


async def test_every_channel_of_before_is_told_of_once_as_it_is(new_database: NewDatabase, filled: Filled) -> None:
    url = await new_database(filled.name)
    await asyncio.to_thread(down_to, url, "ingest", "ingest_0018")
    with connect(url) as admin:
        # The outbox keeps its own for longer than the stream: what lies there was told, and may be forgotten already.
        admin.execute("delete from ingest.outbox_queue")
    for _ in range(2):
        await asyncio.to_thread(migrate.migrate_up, url)
    with connect(url) as admin:
        channels, told = rows(admin, CHANNELS), rows(admin, TOLD)
    assert len(channels) > 1
    facts = [ChannelUpdated.FromString(bytes(row["payload"])) for row in told]
    assert [row["organization_id"] for row in told] == [channel["organization_id"] for channel in channels]
    assert [
        (
            *(fact.channel.channel_id, fact.channel.connection_id, fact.channel.name, fact.channel.inbox_id),
            *(options_pb2.Source.Name(fact.channel.source), fact.channel.evolution_instance, fact.version),
        )
        for fact in facts
    ] == [
        (
            *(str(channel["id"]), str(channel["connection_id"]), channel["name"], channel["inbox"]),
            *(f"SOURCE_{channel['source']}", channel["evolution_instance"], channel["version"]),
        )
        for channel in channels
    ]
