"""Keep what tells one thing from another that has its id, and what a message is besides its text.

A provider that was put back from a backup gives the same ids to new conversations and messages: ``generation`` counts
the things that had one id, and the columns beside it are the evidence that they are several. A device that delivers a
message again makes it another one at the provider, of which only the network's id says that it is the same.

What stood there before has generation 0 and no evidence; the next word of it fills that in.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0008"
down_revision = "conversation_0007"
branch_labels = None
depends_on = None

SERVICE = "conversation"

COLUMNS = {
    "conversations": {
        "generation": "bigint not null default 0",
        "provider_create_time": "timestamptz",
        "provider_contact_source_id": "text not null default ''",
    },
    "message_keys": {
        "generation": "bigint not null default 0",
        "provider_source_id": "text not null default ''",
        "source_week": "bigint not null default 0",
    },
    "messages": {
        "deleted_by_contact": "boolean not null default false",
        "submitted_values": "jsonb not null default '[]'",
        "copy_count": "bigint not null default 0",
        "told_time_us": "bigint not null default 0",
    },
}

# A reaction has an id of its own at the provider, and may come before the message that it is on, or without it.
REACTIONS = """
create table conversation.message_reactions (
  organization_id uuid not null,
  channel_id uuid not null,
  provider_message_id text not null,
  conversation_id uuid not null,
  target_provider_message_id text not null,
  direction text not null,
  author text not null,
  author_name text not null,
  text text not null,
  removed boolean not null,
  create_time timestamptz not null,
  cause_id text not null,
  constraint message_reactions_pkey primary key (organization_id, channel_id, provider_message_id),
  constraint message_reactions_direction_known check (direction in ('UNSPECIFIED', 'INBOUND', 'OUTBOUND')),
  constraint message_reactions_author_known check (
    author in ('UNSPECIFIED', 'CONTACT', 'AGENT', 'BOT', 'AUTOMATION', 'NATIVE_APP'))
);
"""


def upgrade() -> None:
    """Adds columns, which rewrites no row, and a table."""
    run = op.get_bind().exec_driver_sql
    for table, columns in COLUMNS.items():
        added = ", ".join(f"add column {name} {kind}" for name, kind in columns.items())
        run(f"alter table conversation.{table} {added}")
    run(REACTIONS)
    run(migrations.organization_table(SERVICE, "message_reactions"))
    run(f"alter table conversation.message_reactions owner to {migrations.owner(SERVICE)}")


def downgrade() -> None:
    """Takes them away, with what they hold."""
    run = op.get_bind().exec_driver_sql
    run("drop table conversation.message_reactions")
    for table, columns in COLUMNS.items():
        dropped = ", ".join(f"drop column {name}" for name in columns)
        run(f"alter table conversation.{table} {dropped}")
