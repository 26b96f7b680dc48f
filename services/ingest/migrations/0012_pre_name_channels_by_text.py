"""Lets a channel's key at its provider be any text, and a provider be one that this release does not know yet.

``inbox_id`` stays for whom a number says it, and for readers of the view; a channel of another provider has none. What
an older process writes names the inbox alone: the trigger derives the key from it.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "ingest_0012"
down_revision = "ingest_0011"
branch_labels = None
depends_on = None

FUNCTION = """
create or replace function ingest.key_channel() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
  if tg_op = 'INSERT' then
    new.provider_channel_id := coalesce(new.provider_channel_id, new.inbox_id::text);
  elsif new.inbox_id is distinct from old.inbox_id and new.provider_channel_id = old.provider_channel_id then
    new.provider_channel_id := new.inbox_id::text;
  end if;
  return new;
end $$;
drop trigger if exists channels_keyed on ingest.channels;
create trigger channels_keyed before insert or update on ingest.channels
  for each row execute function ingest.key_channel();
"""


NEW_CHECKS = {
    ("channels", "channels_provider_channel_known"): (
        "provider_channel_id is not null and length(provider_channel_id) between 1 and 200"
    ),
    ("connections", "connections_provider_name"): "provider ~ '^[A-Z][A-Z0-9_]{0,49}$'",
}


def upgrade() -> None:
    """Adds the key; channels that are there have their inbox's number."""
    run = op.get_bind().exec_driver_sql
    run("alter table ingest.channels add column if not exists provider_channel_id text")
    run(FUNCTION)
    run(migrations.own_function("ingest", "key_channel()"))
    with migrations.all_rows(run, "ingest", "channels"):
        run("update ingest.channels set provider_channel_id = inbox_id::text where provider_channel_id is null")
    # Both only let more in: what an older process writes keeps to them all the same.
    run("-- squawk-ignore ban-drop-not-null\nalter table ingest.channels alter column inbox_id drop not null")
    drop_check("connections", "connections_provider_known")
    with op.get_context().autocommit_block():
        for (table, name), condition in NEW_CHECKS.items():
            drop_check(table, name)
            run(f"alter table ingest.{table} add constraint {name} check ({condition}) not valid")
            run(f"alter table ingest.{table} validate constraint {name}")
        run("drop index concurrently if exists ingest.channels_provider_channel")
        run(
            "create unique index concurrently channels_provider_channel"
            " on ingest.channels (connection_id, provider_channel_id)"
        )


def downgrade() -> None:
    """Takes it away; fails while there are channels without an inbox, or connections to providers of later releases."""
    run = op.get_bind().exec_driver_sql
    drop_check("connections", "connections_provider_name")
    run(
        "alter table ingest.connections"
        " add constraint connections_provider_known check (provider in ('CHATWOOT', 'EVOLUTION'))"
    )
    run("alter table ingest.channels alter column inbox_id set not null")
    run("drop trigger channels_keyed on ingest.channels")
    run("drop function ingest.key_channel()")
    # Its index and check go with it.
    run("alter table ingest.channels drop column provider_channel_id")


def drop_check(table: str, name: str) -> None:
    """Drops a check, if it is there."""
    op.get_bind().exec_driver_sql(
        f"-- squawk-ignore ban-drop-constraint\nalter table ingest.{table} drop constraint if exists {name}"
    )
