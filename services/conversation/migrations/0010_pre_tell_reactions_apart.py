"""Let several reactions have had one id of the provider, as conversations and messages may.

The index is built beside what runs and swapped in by name: the release before inserts on the constraint of that name,
and its rows are of generation 0.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0010"
down_revision = "conversation_0009"
branch_labels = None
depends_on = None

SERVICE = "conversation"

KEY = "organization_id, channel_id, provider_message_id"


def swap_key(columns: str) -> None:
    """Builds the key's index over other columns beside what runs, and puts it in its place."""
    run = op.get_bind().exec_driver_sql
    # A build that was interrupted leaves an invalid index behind.
    run("drop index concurrently if exists conversation.message_reactions_pkey_next")
    run(f"create unique index concurrently message_reactions_pkey_next on conversation.message_reactions ({columns})")
    # What clients rely on comes back within the statement.
    run(
        "-- squawk-ignore ban-drop-constraint\n"
        "alter table conversation.message_reactions drop constraint if exists message_reactions_pkey,"
        " add constraint message_reactions_pkey primary key using index message_reactions_pkey_next"
    )


def upgrade() -> None:
    """Adds the evidence, which rewrites no row, and the generation to the key."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql(
            "alter table conversation.message_reactions"
            " add column if not exists generation bigint not null default 0,"
            " add column if not exists told_time_us bigint not null default 0"
        )
        swap_key(f"{KEY}, generation")


def downgrade() -> None:
    """Takes them away; what had an id after something else keeps it with the generation behind it."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        # Whoever is no superuser migrates as a member of the owner, who otherwise sees no row.
        run("drop policy if exists renaming on conversation.message_reactions")
        run(f"create policy renaming on conversation.message_reactions to {migrations.owner(SERVICE)} using (true)")
        run(
            "update conversation.message_reactions"
            " set provider_message_id = provider_message_id || '~' || generation, generation = 0 where generation > 0"
        )
        run("drop policy renaming on conversation.message_reactions")
        swap_key(KEY)
        run("alter table conversation.message_reactions drop column generation, drop column told_time_us")
