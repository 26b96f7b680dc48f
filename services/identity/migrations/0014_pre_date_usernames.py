"""Keep usernames that were given up in rows of their own, so that upkeep takes each away when it is found no longer.

A trigger keeps them, whichever release changes a username: the release before wrote them into arrays of the identity,
which stay empty from here on. What these hold is moved by the next revision.
"""

from __future__ import annotations

from alembic import op

from chassis.migrations import all_rows, expiring, organization_table, own_function, owner

revision = "identity_0014"
down_revision = "identity_0013"
branch_labels = None
depends_on = None

SERVICE = "identity"
FOUND_DAYS = 30
"""How long a contact is found by a username that it has no longer."""
FORMER_USERNAMES_MAX = 10
"""How many that an account had before are kept, the latest."""

TABLE = f"""
create table identity.former_usernames (
  organization_id uuid not null,
  contact_identity_id uuid not null,
  username text not null,
  -- When it was given up.
  end_time timestamptz not null,
  constraint former_usernames_pkey primary key (organization_id, contact_identity_id, username),
  constraint former_usernames_identity_fkey foreign key (organization_id, contact_identity_id)
    references identity.contact_identities on delete cascade
);
{organization_table(SERVICE, "former_usernames", owner_sweeps=True)}
alter table identity.former_usernames owner to {owner(SERVICE)};
{expiring(SERVICE, "former_usernames", time_column="end_time", keep_days=FOUND_DAYS)}
"""

TRIGGER = f"""
create function identity.keep_former_username() returns trigger
  language plpgsql set search_path = pg_catalog as $$
begin
  insert into identity.former_usernames (organization_id, contact_identity_id, username, end_time)
  values (old.organization_id, old.contact_identity_id, old.username, new.update_time)
  on conflict (organization_id, contact_identity_id, username) do update set end_time = excluded.end_time;
  delete from identity.former_usernames kept
  where kept.organization_id = old.organization_id and kept.contact_identity_id = old.contact_identity_id
    and kept.username in (
      select username from identity.former_usernames
      where organization_id = old.organization_id and contact_identity_id = old.contact_identity_id
      order by end_time desc, username offset {FORMER_USERNAMES_MAX});
  new.former_usernames := '{{}}';
  new.former_username_times := '{{}}';
  return new;
end $$;
{own_function(SERVICE, "keep_former_username()")}
create trigger keep_former_username before update of username on identity.contact_identities
  for each row when (old.username <> '' and old.username <> new.username)
  execute function identity.keep_former_username();
"""

PUT_BACK = f"""
update identity.contact_identities identity
set former_usernames = kept.usernames[1:{FORMER_USERNAMES_MAX}],
  former_username_times = kept.end_times[1:{FORMER_USERNAMES_MAX}]
from (
  select organization_id, contact_identity_id, array_agg(username order by end_time desc, username) as usernames,
    array_agg(end_time order by end_time desc, username) as end_times
  from identity.former_usernames group by organization_id, contact_identity_id
) kept
where identity.organization_id = kept.organization_id and identity.contact_identity_id = kept.contact_identity_id
"""


def upgrade() -> None:
    """Adds the table, and has it follow what changes."""
    run = op.get_bind().exec_driver_sql
    run(TABLE)
    run(TRIGGER)


def downgrade() -> None:
    """Puts what is kept back into the arrays."""
    run = op.get_bind().exec_driver_sql
    run("drop trigger keep_former_username on identity.contact_identities")
    run("drop function identity.keep_former_username()")
    with all_rows(run, SERVICE, "contact_identities", "former_usernames"):
        run(PUT_BACK)
    run("delete from identity.expiring_tables where table_name = 'former_usernames'")
    run("drop table identity.former_usernames")
