"""Lets contacts become one and two again: who was merged into whom, what moved, and how conflicts were decided."""

from __future__ import annotations

from alembic import op

from chassis.migrations import organization_table, owner

revision = "identity_0017"
down_revision = "identity_0016"
branch_labels = None
depends_on = None

SERVICE = "identity"

# Whoever was merged leads straight to who survives in the end, however often that one was merged since.
CONTACTS = """
alter table identity.contacts
  add column merged_into uuid,
  add column redirect_version bigint not null default 0;
"""

BY_SURVIVOR = """
create index concurrently contacts_by_survivor on identity.contacts (organization_id, merged_into)
  where merged_into is not null
"""

# An older process opens conflicts without them.
CONFLICTS = """
alter table identity.identity_conflicts
  add column decision text not null default '',
  add column surviving_contact_id uuid,
  add column decider_principal text not null default '',
  add column decider_name text not null default '';
"""

MERGES = f"""
create table identity.contact_merges (
  organization_id uuid not null,
  contact_merge_id uuid not null,
  surviving_contact_id uuid not null,
  losing_contact_id uuid not null,
  moved_identity_ids uuid[] not null,
  -- Each "kind:value".
  moved_alias_keys text[] not null,
  -- What the survivor had not and took over; empty where it had its own.
  taken_name text not null,
  taken_phone text not null,
  taken_email text not null,
  taken_tags text[] not null,
  identity_conflict_id uuid,
  principal text not null,
  principal_name text not null,
  reason text not null,
  create_time timestamptz not null,
  undo_time timestamptz,
  undo_principal text not null default '',
  undo_principal_name text not null default '',
  primary key (organization_id, contact_merge_id),
  constraint contact_merges_two_check check (surviving_contact_id <> losing_contact_id),
  constraint contact_merges_surviving_fkey foreign key (organization_id, surviving_contact_id)
    references identity.contacts on delete cascade,
  constraint contact_merges_losing_fkey foreign key (organization_id, losing_contact_id)
    references identity.contacts on delete cascade
);
-- squawk-ignore require-concurrent-index-creation
create index contact_merges_by_survivor
  on identity.contact_merges (organization_id, surviving_contact_id, contact_merge_id);
-- squawk-ignore require-concurrent-index-creation
create index contact_merges_by_loser on identity.contact_merges (organization_id, losing_contact_id, contact_merge_id);
-- squawk-ignore require-concurrent-index-creation
create index contact_merges_by_conflict on identity.contact_merges (organization_id, identity_conflict_id)
  where identity_conflict_id is not null;
{organization_table(SERVICE, "contact_merges")}
alter table identity.contact_merges owner to {owner(SERVICE)};
"""


def upgrade() -> None:
    """Adds the columns and the table."""
    run = op.get_bind().exec_driver_sql
    run(CONTACTS)
    run(CONFLICTS)
    run(MERGES)
    with op.get_context().autocommit_block():
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists identity.contacts_by_survivor")
        run(BY_SURVIVOR)


def downgrade() -> None:
    """Forgets who is one; rows that moved stay where they are."""
    run = op.get_bind().exec_driver_sql
    with op.get_context().autocommit_block():
        run("drop index concurrently if exists identity.contacts_by_survivor")
    run("drop table identity.contact_merges")
    run("alter table identity.contacts drop column merged_into, drop column redirect_version")
    run(
        "alter table identity.identity_conflicts drop column decision, drop column surviving_contact_id,"
        " drop column decider_principal, drop column decider_name"
    )
