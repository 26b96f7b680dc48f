"""Let several conversations and messages have had one id of the provider, and find messages by the network's id.

Everything is built beside what runs and swapped in by name: the release before inserts on the constraint of that name,
and its rows are of generation 0.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0009"
down_revision = "conversation_0008"
branch_labels = None
depends_on = None

SERVICE = "conversation"

KEYS = (
    (
        "conversations",
        "conversations_provider_key",
        "unique",
        "organization_id, provider_conversation_id, connection_id",
        "provider_conversation_id",
    ),
    (
        "message_keys",
        "message_keys_pkey",
        "primary key",
        "organization_id, channel_id, provider_message_id",
        "provider_message_id",
    ),
)
# A copy comes within days. Whose week leads grows at one place, however many messages there are; without it each
# message would touch a page of its own of an index over all of them.
BY_SOURCE = (
    "create index concurrently message_keys_by_source on conversation.message_keys"
    " (source_week, organization_id, channel_id, provider_source_id) where provider_source_id <> ''"
)

BY_TARGET = (
    "create index concurrently message_reactions_by_target"
    " on conversation.message_reactions (conversation_id, target_provider_message_id)"
)
INDEXES = {"message_keys_by_source": BY_SOURCE, "message_reactions_by_target": BY_TARGET}


def swap_key(table: str, constraint: str, kind: str, columns: str) -> None:
    """Builds the constraint's index over other columns beside what runs, and puts it in its place."""
    run = op.get_bind().exec_driver_sql
    # A build that was interrupted leaves an invalid index behind.
    run(f"drop index concurrently if exists conversation.{constraint}_next")
    run(f"create unique index concurrently {constraint}_next on conversation.{table} ({columns})")
    # What clients rely on comes back within the statement.
    run(
        "-- squawk-ignore ban-drop-constraint\n"
        f"alter table conversation.{table} drop constraint if exists {constraint},"
        f" add constraint {constraint} {kind} using index {constraint}_next"
    )


def upgrade() -> None:
    """Adds the generation to both natural keys."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        for table, constraint, kind, columns, _ in KEYS:
            swap_key(table, constraint, kind, f"{columns}, generation")
        for name, creation in INDEXES.items():
            run(f"drop index concurrently if exists conversation.{name}")
            run(creation)


def downgrade() -> None:
    """Takes the generation out again; what had an id after something else keeps it with the generation behind it."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        for name in INDEXES:
            run(f"drop index concurrently if exists conversation.{name}")
        for table, constraint, kind, columns, named in KEYS:
            with migrations.all_rows(run, SERVICE, table):
                run(
                    f"update conversation.{table} set {named} = {named} || '~' || generation, generation = 0"
                    " where generation > 0"
                )
            swap_key(table, constraint, kind, columns)
