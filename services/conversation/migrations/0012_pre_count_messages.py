"""Count the messages that were there before figures were kept, month by month.

A month's figures are replaced by what stands in ``messages``, so this may run again: after an interruption, and after
a release that keeps no figures has recorded something.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0012"
down_revision = "conversation_0011"
branch_labels = None
depends_on = None

SERVICE = "conversation"
TABLES = ("messages", "message_rollups")

PARTITIONS = """
select coalesce(substring(pg_get_expr(relpartbound, oid) from $$FROM \\('([^']+)'\\)$$), '-infinity') as start_time,
  coalesce(substring(pg_get_expr(relpartbound, oid) from $$TO \\('([^']+)'\\)$$), 'infinity') as end_time
from pg_class where oid in (
  select inhrelid from pg_inherits where inhparent = 'conversation.messages'::regclass)
order by 1
"""

# Whoever records waits for its month: figures are kept in the statement that inserts, so that with the lock every
# message is either there with its figure, or neither is. Both locks in the order in which that statement takes them.
COUNT = """
begin;
lock table conversation.messages in access share mode;
lock table conversation.message_rollups in share row exclusive mode;
delete from conversation.message_rollups where quarter >= '{start_time}' and quarter < '{end_time}';
insert into conversation.message_rollups (organization_id, quarter, channel_id, direction, count, failed_count)
select organization_id, date_bin('15 minutes', create_time, timestamptz '2000-01-01T00:00:00Z'), channel_id, direction,
  count(*), count(*) filter (where state = 'FAILED')
from conversation.messages
where create_time >= '{start_time}' and create_time < '{end_time}' and direction <> 'UNSPECIFIED'
group by 1, 2, 3, 4;
commit;
"""


def upgrade() -> None:
    """Counts every month in a transaction of its own."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        with migrations.all_rows(run, SERVICE, *TABLES):
            for start_time, end_time in run(PARTITIONS).all():
                run(COUNT.format(start_time=start_time, end_time=end_time))


def downgrade() -> None:
    """Leaves the figures as they are: they hold what they held."""
