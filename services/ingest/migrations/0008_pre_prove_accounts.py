"""Keeps which connections have proved their account, and looks connections up by account within bounds.

An account's number means nothing without its server, and anybody may claim both: whose account a connection shares is
judged by what a server answered, not by what was typed in.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "ingest_0008"
down_revision = "ingest_0007"
branch_labels = None
depends_on = None

SERVICE = "ingest"

FUNCTIONS = """
-- Whose secrets a webhook on the legacy path is tried with: of each organization its oldest connections to the account.
create or replace function ingest.connections_of_accounts(
  wanted_account_ids bigint[], per_organization int, per_account int)
  returns table (found_account_id bigint, found_connection_id uuid, found_organization_id uuid)
  language sql stable security definer set search_path = pg_catalog as
  $$ select account_id, id, organization_id
     from (
       select account_id, id, organization_id,
         row_number() over (partition by account_id order by id) as place_in_account
       from (
         select account_id, id, organization_id,
           row_number() over (partition by account_id, organization_id order by id) as place
         from ingest.connections
         where account_id = any (wanted_account_ids) and provider = 'CHATWOOT') claiming
       where place <= per_organization) considered
     where place_in_account <= per_account
     order by id $$;

-- Which of some connections are to an account that another organization has proved to have on the same server.
create or replace function ingest.connections_sharing(wanted_connection_ids uuid[], servers text[])
  returns table (found_connection_id uuid)
  language sql stable security definer set search_path = pg_catalog as
  $$ select mine.id
     from unnest(wanted_connection_ids, servers) as wanted (connection_id, server)
     join ingest.connections mine on mine.id = wanted.connection_id
     where exists (
       select from ingest.connections other
       where other.account_id = mine.account_id and other.proved_server = wanted.server
         and other.organization_id <> mine.organization_id) $$;
"""


def upgrade() -> None:
    """Adds the column, its index and both functions."""
    run = op.get_bind().exec_driver_sql
    run("alter table ingest.connections add column if not exists proved_server text")
    run(FUNCTIONS)
    run(migrations.own_function(SERVICE, "connections_of_accounts(bigint[], int, int)"))
    run(migrations.own_function(SERVICE, "connections_sharing(uuid[], text[])"))
    with op.get_context().autocommit_block():
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists ingest.connections_proved")
        run(
            "create index concurrently connections_proved on ingest.connections (account_id, proved_server)"
            " where proved_server is not null"
        )


def downgrade() -> None:
    """Takes them away."""
    run = op.get_bind().exec_driver_sql
    run("drop function ingest.connections_sharing(uuid[], text[])")
    run("drop function ingest.connections_of_accounts(bigint[], int, int)")
    run("alter table ingest.connections drop column proved_server")
