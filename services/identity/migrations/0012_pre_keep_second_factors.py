"""Keeps people's second factors: the sealed secret of an authenticator, and recovery codes by their hash."""

from __future__ import annotations

from alembic import op

from chassis.migrations import READER_ROLE, owner, role

revision = "identity_0012"
down_revision = "identity_0011"
branch_labels = None
depends_on = None

SERVICE = "identity"
OF_MEMBERS = "user_id in (select member.user_id from identity.members member)"


def of_members(table: str, shown: str) -> str:
    """What is a user's is seen as the user is: by organizations whose member they are. The reader sees no secret."""
    return f"""
    alter table identity.{table} enable row level security;
    alter table identity.{table} force row level security;
    create policy members_only on identity.{table} to {role(SERVICE)} using ({OF_MEMBERS}) with check ({OF_MEMBERS});
    create policy reader on identity.{table} for select to {READER_ROLE} using (true);
    grant select, insert, update, delete on identity.{table} to {role(SERVICE)};
    grant select ({shown}) on identity.{table} to {READER_ROLE};
    alter table identity.{table} owner to {owner(SERVICE)};
    """


def upgrade() -> None:
    """Adds both tables; with the factor its recovery codes go."""
    op.get_bind().exec_driver_sql(f"""
    -- What the secret before was good for: it gains nothing by what came with the new one.
    alter table identity.sessions add column previous_mfa_time timestamptz;
    grant select (previous_mfa_time) on identity.sessions to {READER_ROLE};

    create table identity.mfa_factors (
      user_id uuid primary key references identity.users on delete cascade,
      sealed_secret bytea not null,
      begin_time timestamptz not null,
      -- Null until a code of it was seen; until then it counts for nothing.
      setup_time timestamptz,
      -- The step of the last code that was taken: no code counts twice.
      last_step bigint not null
    );
    {of_members("mfa_factors", "user_id, begin_time, setup_time")}

    create table identity.recovery_codes (
      user_id uuid not null references identity.mfa_factors on delete cascade,
      code_hash bytea not null,
      create_time timestamptz not null,
      use_time timestamptz,
      primary key (user_id, code_hash)
    );
    {of_members("recovery_codes", "user_id, create_time, use_time")}
    """)


def downgrade() -> None:
    """Forgets every second factor."""
    op.get_bind().exec_driver_sql(
        "drop table identity.recovery_codes; drop table identity.mfa_factors;"
        " alter table identity.sessions drop column previous_mfa_time"
    )
