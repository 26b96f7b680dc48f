"""Tell once more of every channel: streams keep facts for days, and whoever follows channels from now on needs all."""

from __future__ import annotations

from uuid import UUID, uuid5

from alembic import op
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.enums import enum_number
from chassis.migrations import all_rows
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1.events_pb2 import ChannelUpdated
from prosa.v1 import options_pb2

revision = "ingest_0019"
down_revision = "ingest_0018"
branch_labels = None
depends_on = None

SERVICE = "ingest"
KNOWN = """
select organization_id::text, id::text, connection_id::text, name, source, coalesce(inbox_id, 0),
  coalesce(board_id::text, ''), active, evolution_instance, create_time, version
from ingest.channels order by id
"""
TELL = """
with told as (
  insert into ingest.outbox (event_id, organization_id, type, payload, event_time, correlation_id, trace_parent)
  values (%s, %s, 'prosa.ingest.v1.ChannelUpdated', %s, now(), '', '') returning position, organization_id, event_time
)
insert into ingest.outbox_queue (position, organization_id, event_time)
select position, organization_id, event_time from told
"""


def upgrade() -> None:
    """Leaves one fact of each, of no changed field.

    Also of whom the outbox has facts still: it keeps them for longer than the stream, and who is told twice of one
    version is told once.
    """
    run = op.get_bind().exec_driver_sql
    with all_rows(run, SERVICE, "channels", "outbox", "outbox_queue"):
        known = run(KNOWN).all()
        if known:
            run("select ingest.make_partitions(now(), 'outbox')")
        for row in known:
            (
                organization_id,
                channel_id,
                connection_id,
                name,
                source,
                inbox_id,
                board_id,
                active,
                shown,
                made,
                version,
            ) = row
            create_time = Timestamp()
            create_time.FromDatetime(made)
            channel = pb.Channel(
                channel_id=channel_id,
                organization_id=organization_id,
                connection_id=connection_id,
                name=name,
                source=enum_number(options_pb2.Source, source),
                inbox_id=inbox_id,
                board_id=board_id,
                active=active,
                evolution_instance=shown,
                create_time=create_time,
                etag=str(version),
            )
            fact = ChannelUpdated(organization_id=organization_id, channel=channel, version=version)
            run(TELL, (str(uuid5(UUID(channel_id), revision)), organization_id, fact.SerializeToString()))


def downgrade() -> None:
    """Leaves what was told."""
