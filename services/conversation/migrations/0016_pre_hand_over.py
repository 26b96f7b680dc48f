"""Keep who handed a conversation over, and what is to be written at the provider because of it."""

from __future__ import annotations

from alembic import op

from chassis.queues.tables import create_queue, drop_queue

revision = "conversation_0016"
down_revision = "conversation_0015"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "conversation", "provider_write_queue"
COLUMNS = {
    "handoff_actor_principal": "text not null default ''",
    "handoff_actor_name": "text not null default ''",
    # When we last wrote a label at the provider, by its clock; what it reports up to then says nothing new of it.
    "label_write_us": "bigint not null default 0",
}


def upgrade() -> None:
    """Adds columns, which rewrites no row, and the queue."""
    run = op.get_bind().exec_driver_sql
    added = ", ".join(f"add column {name} {kind}" for name, kind in COLUMNS.items())
    run(f"alter table conversation.conversations {added}")
    run(create_queue(SERVICE, QUEUE))


def downgrade() -> None:
    """Takes them away; what was to be written is not."""
    run = op.get_bind().exec_driver_sql
    run(drop_queue(SERVICE, QUEUE))
    dropped = ", ".join(f"drop column {name}" for name in COLUMNS)
    run(f"alter table conversation.conversations {dropped}")
