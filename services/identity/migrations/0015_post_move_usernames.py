"""Move usernames that were given up before to where upkeep takes them away, batch by batch beside what runs.

A release that still looks for them in the arrays does not find them until it is replaced.
"""

from __future__ import annotations

from alembic import op

from chassis.migrations import all_rows

revision = "identity_0015"
down_revision = "identity_0014"
branch_labels = None
depends_on = None

SERVICE = "identity"
BATCH = 5_000
"""Identities at a time; whoever writes one of them waits for its batch."""
BEFORE_ALL = "00000000-0000-0000-0000-000000000000"
TABLES = ("contact_identities", "former_usernames")

# What the trigger has kept by now is newer than anything in the arrays. Of a name that is there twice the later end.
MOVE = """
with batch as materialized (
  select organization_id, contact_identity_id, former_usernames, former_username_times
  from identity.contact_identities
  where (organization_id, contact_identity_id) > ('{organization}', '{identity}') and former_usernames <> '{{}}'
  order by organization_id, contact_identity_id limit {batch} for update
), moved as (
  insert into identity.former_usernames (organization_id, contact_identity_id, username, end_time)
  select organization_id, contact_identity_id, former.username, max(former.end_time)
  from batch, unnest(former_usernames, former_username_times) as former (username, end_time)
  group by organization_id, contact_identity_id, former.username
  on conflict do nothing
), emptied as (
  update identity.contact_identities identity set former_usernames = '{{}}', former_username_times = '{{}}'
  from batch
  where identity.organization_id = batch.organization_id and identity.contact_identity_id = batch.contact_identity_id
)
select organization_id::text, contact_identity_id::text from batch
order by batch.organization_id desc, batch.contact_identity_id desc limit 1
"""


def upgrade() -> None:
    """Moves them; where it was interrupted before, it goes on with the rest."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        with all_rows(run, SERVICE, *TABLES):
            last: tuple[str, str] | None = (BEFORE_ALL, BEFORE_ALL)
            while last is not None:
                found = run(MOVE.format(organization=last[0], identity=last[1], batch=BATCH)).first()
                last = None if found is None else (found[0], found[1])


def downgrade() -> None:
    """Leaves everything as it is: the revision before puts all of it back."""
