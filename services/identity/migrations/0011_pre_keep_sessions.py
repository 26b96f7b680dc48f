"""Keeps the sessions of people who signed in with a browser, by a hash of their cookie's secret."""

from __future__ import annotations

from alembic import op

from chassis.migrations import READER_ROLE, expiring, organization_table, own_function, owner

revision = "identity_0011"
down_revision = "identity_0010"
branch_labels = None
depends_on = None

SERVICE = "identity"
ENDED_DAYS = 30
"""A session is kept so long after its last possible day: who looks into a sign-in of last month finds it."""


def upgrade() -> None:
    """Adds the table, and how a cookie's session is found before its organization is known."""
    op.get_bind().exec_driver_sql(
        f"""
    create table identity.sessions (
      session_id uuid primary key,
      -- The one it acts for now; its person may go on in another.
      organization_id uuid not null references identity.organizations on delete cascade,
      user_id uuid not null references identity.users on delete cascade,
      secret_hash bytea not null,
      -- Of the secret before, which requests on their way still bring for a moment.
      previous_secret_hash bytea,
      previous_end_time timestamptz,
      mfa_time timestamptz,
      create_time timestamptz not null,
      last_use_time timestamptz not null,
      -- Its last day, however much it is used.
      end_time timestamptz not null,
      -- When it was ended before that.
      ended_time timestamptz,
      constraint sessions_secret_hash_key unique (secret_hash),
      constraint sessions_secret_hash_check check (length(secret_hash) = 32),
      constraint sessions_previous_check check ((previous_secret_hash is null) = (previous_end_time is null))
    );
    -- squawk-ignore require-concurrent-index-creation
    create unique index sessions_previous_secret_hash_key on identity.sessions (previous_secret_hash)
      where previous_secret_hash is not null;
    -- squawk-ignore require-concurrent-index-creation
    create index sessions_by_user on identity.sessions (user_id, last_use_time);
    -- squawk-ignore require-concurrent-index-creation
    create index sessions_by_end on identity.sessions (end_time);
    {organization_table(SERVICE, "sessions", owner_reads=True, owner_sweeps=True)}
    revoke select on identity.sessions from {READER_ROLE};
    grant select (session_id, organization_id, user_id, mfa_time, create_time, last_use_time, end_time, ended_time)
      on identity.sessions to {READER_ROLE};
    alter table identity.sessions owner to {owner(SERVICE)};
    {expiring(SERVICE, "sessions", time_column="end_time", keep_days=ENDED_DAYS)}

    -- The session with a secret, the current one or the one before, and for whom it acts.
    create function identity.session_by_secret(wanted_hash bytea)
      returns table (found_organization_id uuid, found_session_id uuid)
      language sql stable security definer set search_path = pg_catalog as
      $$ select organization_id, session_id from identity.sessions
         where secret_hash = wanted_hash or previous_secret_hash = wanted_hash $$;
    {own_function(SERVICE, "session_by_secret(bytea)")}
    """,
        execution_options={"no_parameters": True},
    )


def downgrade() -> None:
    """Signs everybody out."""
    op.get_bind().exec_driver_sql("""
    drop function identity.session_by_secret(bytea);
    delete from identity.expiring_tables where table_name = 'sessions';
    drop table identity.sessions;
    """)
