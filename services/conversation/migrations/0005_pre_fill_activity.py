"""Fill in the order of the conversations that were there before it was kept apart, batch by batch beside what runs."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0005"
down_revision = "conversation_0004"
branch_labels = None
depends_on = None

SERVICE = "conversation"
BATCH = 5_000
"""Conversations at a time; whoever writes one of them waits for its batch."""
BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
TABLES = ("conversations", "conversation_activity")

# The lock makes a row come in its newest version; who changes it afterwards finds what was filled in for it.
FILL = """
with batch as materialized (
  select organization_id, state, activity_time, conversation_id from conversation.conversations
  where conversation_id > '{after}' order by conversation_id limit {batch} for update
), filled as (
  insert into conversation.conversation_activity (organization_id, state, activity_time, conversation_id)
  select organization_id, state, activity_time, conversation_id from batch on conflict do nothing
)
select conversation_id::text from batch order by conversation_id desc limit 1
"""


def upgrade() -> None:
    """Fills in what is missing; where it was interrupted before, it goes over all of it again."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        with migrations.all_rows(run, SERVICE, *TABLES):
            after: str | None = BEFORE_ALL
            while after is not None:
                after = run(FILL.format(after=after, batch=BATCH)).scalar()


def downgrade() -> None:
    """Leaves everything as it is: whoever does not know of the order does not look at it."""
