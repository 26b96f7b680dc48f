"""Keeps invitations, by a hash of their link's secret, and when a member last signed in."""

from __future__ import annotations

from alembic import op

from chassis.migrations import READER_ROLE, expiring, organization_table, own_function, owner

revision = "identity_0013"
down_revision = "identity_0012"
branch_labels = None
depends_on = None

SERVICE = "identity"
KEPT_DAYS = 90
"""An invitation is kept so long after its last day, used or not: who was invited by whom."""


def upgrade() -> None:
    """Adds the table, and how a link's invitation is found before its organization is known."""
    op.get_bind().exec_driver_sql(
        f"""
    alter table identity.members add column last_sign_in_time timestamptz;
    alter table identity.members add column version bigint not null default 1;

    create table identity.invitations (
      organization_id uuid not null references identity.organizations on delete cascade,
      invitation_id uuid not null,
      email text not null,
      role text not null,
      secret_hash bytea not null,
      -- The secret for a retry of the call that made the invitation; emptied once it is used or withdrawn.
      sealed_secret bytea,
      inviter_principal text not null,
      inviter_name text not null,
      create_time timestamptz not null,
      expire_time timestamptz not null,
      accept_time timestamptz,
      revoke_time timestamptz,
      primary key (organization_id, invitation_id),
      constraint invitations_secret_hash_key unique (secret_hash),
      constraint invitations_role_check check (role in ('VIEWER', 'AGENT', 'ADMIN', 'OWNER')),
      constraint invitations_email_check check (email = lower(email) and email <> '')
    );
    -- squawk-ignore require-concurrent-index-creation
    create unique index invitations_one_open_key on identity.invitations (organization_id, email)
      where accept_time is null and revoke_time is null;
    -- squawk-ignore require-concurrent-index-creation
    create index invitations_by_end on identity.invitations (expire_time);
    {organization_table(SERVICE, "invitations", owner_reads=True, owner_sweeps=True)}
    revoke select on identity.invitations from {READER_ROLE};
    grant select (organization_id, invitation_id, email, role, inviter_principal, inviter_name, create_time,
      expire_time, accept_time, revoke_time) on identity.invitations to {READER_ROLE};
    alter table identity.invitations owner to {owner(SERVICE)};
    {expiring(SERVICE, "invitations", time_column="expire_time", keep_days=KEPT_DAYS)}

    -- The invitation with a secret, and whose it is.
    create function identity.invitation_by_secret(wanted_hash bytea)
      returns table (found_organization_id uuid, found_invitation_id uuid)
      language sql stable security definer set search_path = pg_catalog as
      $$ select organization_id, invitation_id from identity.invitations where secret_hash = wanted_hash $$;
    {own_function(SERVICE, "invitation_by_secret(bytea)")}
    """,
        execution_options={"no_parameters": True},
    )


def downgrade() -> None:
    """Forgets all invitations; who became a member stays one."""
    op.get_bind().exec_driver_sql("""
    drop function identity.invitation_by_secret(bytea);
    delete from identity.expiring_tables where table_name = 'invitations';
    drop table identity.invitations;
    alter table identity.members drop column version;
    alter table identity.members drop column last_sign_in_time;
    """)
