"""Create the tables, look-up functions and views of identity."""

from alembic import op

from chassis import migrations
from chassis.migrations import READER_ROLE, expiring, organization_table, owner, partitioned, role

revision = "identity_0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICE = "identity"
SERVICE_ROLE = role(SERVICE)
OWNER_ROLE = owner(SERVICE)

RESOLUTION_MONTHS = 3
"""A month of the resolution log is dropped this many months after it ended: 90 days and more."""

ACCESS_TABLES = f"""
create table identity.organizations (
  organization_id uuid primary key,
  name text not null,
  admin_email text not null,
  region text not null,
  time_zone text not null,
  create_time timestamptz not null,
  constraint organizations_name_admin_email_key unique (name, admin_email),
  constraint organizations_region_check check (region ~ '^[A-Z]{{2}}$'),
  constraint organizations_name_check check (name <> '')
);
{organization_table(SERVICE, "organizations", owner_reads=True)}

create table identity.users (
  user_id uuid primary key,
  email text not null,
  password_hash text not null,
  create_time timestamptz not null,
  update_time timestamptz not null,
  constraint users_email_key unique (email),
  constraint users_email_check check (email = lower(email) and email <> '')
);

create table identity.members (
  organization_id uuid not null references identity.organizations on delete cascade,
  user_id uuid not null,
  role text not null,
  create_time timestamptz not null,
  primary key (organization_id, user_id),
  -- Deferred: a user may be written only by an organization that has it as a member, so the member comes first.
  constraint members_user_id_fkey foreign key (user_id) references identity.users on delete cascade
    deferrable initially deferred,
  constraint members_role_check check (role in ('VIEWER', 'AGENT', 'ADMIN', 'OWNER'))
);
create index members_by_user on identity.members (user_id);
{organization_table(SERVICE, "members", owner_reads=True)}

-- A user belongs to no organization; a transaction sees those who are members of its organizations.
alter table identity.users enable row level security;
alter table identity.users force row level security;
create policy members_only on identity.users to {SERVICE_ROLE}
  using (user_id in (select member.user_id from identity.members member))
  with check (user_id in (select member.user_id from identity.members member));
create policy reader on identity.users for select to {READER_ROLE} using (true);
create policy owner_reads on identity.users for select to {OWNER_ROLE} using (true);
grant select, insert, update, delete on identity.users to {SERVICE_ROLE};
grant select (user_id, email, create_time, update_time) on identity.users to {READER_ROLE};

-- By a hash of the e-mail, so that nobody can read here who tried to sign in.
create table identity.sign_in_failures (
  email_hash bytea primary key,
  attempt_count int not null,
  window_start timestamptz not null
);
grant select, insert, update, delete on identity.sign_in_failures to {SERVICE_ROLE};
grant select on identity.sign_in_failures to {READER_ROLE};
{expiring(SERVICE, "sign_in_failures", time_column="window_start", keep_days=1)}

create table identity.api_keys (
  organization_id uuid not null references identity.organizations on delete cascade,
  api_key_id uuid not null,
  name text not null,
  prefix text not null,
  secret_hash text not null,
  -- The secret for a retry of the call that made the key; encrypted, and emptied at the key's first use.
  sealed_secret bytea,
  scopes text[] not null,
  create_time timestamptz not null,
  revoke_time timestamptz,
  last_use_time timestamptz,
  primary key (organization_id, api_key_id),
  constraint api_keys_secret_hash_key unique (secret_hash),
  constraint api_keys_prefix_check check (length(prefix) = 12),
  constraint api_keys_secret_hash_check check (secret_hash ~ '^[0-9a-f]{{64}}$')
);
{organization_table(SERVICE, "api_keys", owner_reads=True)}
revoke select on identity.api_keys from {READER_ROLE};
grant select (organization_id, api_key_id, name, prefix, scopes, create_time, revoke_time, last_use_time)
  on identity.api_keys to {READER_ROLE};

create table identity.revocations (
  organization_id uuid not null references identity.organizations on delete cascade,
  principal text not null,
  revoke_time timestamptz not null,
  primary key (organization_id, principal)
);
create index revocations_by_time on identity.revocations (revoke_time);
{organization_table(SERVICE, "revocations", owner_reads=True, owner_sweeps=True)}
{expiring(SERVICE, "revocations", time_column="revoke_time", keep_days=1)}
"""

CONTACT_TABLES = f"""
create table identity.contacts (
  organization_id uuid not null,
  contact_id uuid not null,
  name text not null,
  phone text not null,
  email text not null,
  tags text[] not null,
  version bigint not null,
  create_time timestamptz not null,
  update_time timestamptz not null,
  primary key (organization_id, contact_id),
  constraint contacts_phone_check check (phone = '' or phone ~ '^\\+[1-9][0-9]{{6,14}}$'),
  constraint contacts_email_check check (email = lower(email))
);
create index contacts_by_phone on identity.contacts (organization_id, phone, contact_id) where phone <> '';
create index contacts_by_email on identity.contacts (organization_id, email, contact_id) where email <> '';
{organization_table(SERVICE, "contacts")}

create table identity.contact_identities (
  organization_id uuid not null,
  contact_identity_id uuid not null,
  contact_id uuid not null,
  source text not null,
  external_id text not null,
  address text not null,
  create_time timestamptz not null,
  update_time timestamptz not null,
  primary key (organization_id, contact_identity_id),
  constraint contact_identities_external_id_key unique (organization_id, source, external_id),
  constraint contact_identities_contact_fkey foreign key (organization_id, contact_id)
    references identity.contacts on delete cascade,
  constraint contact_identities_source_check check (source in ('WHATSAPP', 'INSTAGRAM')),
  constraint contact_identities_external_id_check check (external_id <> '')
);
create index contact_identities_by_contact
  on identity.contact_identities (organization_id, contact_id, contact_identity_id);
create index contact_identities_by_source
  on identity.contact_identities (organization_id, source, contact_identity_id);
{organization_table(SERVICE, "contact_identities")}

create table identity.contact_aliases (
  organization_id uuid not null,
  kind text not null,
  value text not null,
  contact_id uuid not null,
  -- The identity it was learnt with, where there was one.
  contact_identity_id uuid,
  create_time timestamptz not null,
  constraint contact_aliases_value_key primary key (organization_id, kind, value),
  constraint contact_aliases_contact_fkey foreign key (organization_id, contact_id)
    references identity.contacts on delete cascade,
  constraint contact_aliases_kind_check
    check (kind in ('WHATSAPP_LID', 'WHATSAPP_BSUID', 'CHATWOOT_CONTACT', 'CHATWOOT_SOURCE')),
  constraint contact_aliases_value_check check (value <> '')
);
create index contact_aliases_by_contact on identity.contact_aliases (organization_id, contact_id);
{organization_table(SERVICE, "contact_aliases")}

create table identity.identity_conflicts (
  organization_id uuid not null,
  identity_conflict_id uuid not null,
  source text not null,
  external_id text not null,
  contact_id uuid not null,
  candidate_contact_ids uuid[] not null,
  state text not null,
  create_time timestamptz not null,
  resolve_time timestamptz,
  primary key (organization_id, identity_conflict_id),
  constraint identity_conflicts_state_check check (state in ('OPEN', 'RESOLVED')),
  constraint identity_conflicts_resolve_time_check check ((state = 'OPEN') = (resolve_time is null))
);
create unique index identity_conflicts_one_open_key
  on identity.identity_conflicts (organization_id, source, external_id) where state = 'OPEN';
create index identity_conflicts_by_identity on identity.identity_conflicts (organization_id, source, external_id);
{organization_table(SERVICE, "identity_conflicts")}
"""


def resolution_table(table: str, outcomes: str, keep: int | None) -> str:
    """One of the two tables of the resolution log: problems are kept for good, the rest is dropped by the month."""
    return f"""
    create table identity.{table} (
      organization_id uuid not null,
      identity_resolution_id uuid not null,
      source text not null,
      external_id text not null,
      outcome text not null,
      contact_id uuid,
      contact_identity_id uuid,
      candidate_contact_ids uuid[] not null,
      error_message text not null,
      cause_id text not null,
      create_time timestamptz not null,
      primary key (organization_id, identity_resolution_id, create_time),
      constraint {table}_outcome_check check (outcome in ({outcomes}))
    ) partition by range (create_time);
    create index {table}_by_contact on identity.{table} (organization_id, contact_id, identity_resolution_id);
    {partitioned(SERVICE, table, unit="month", keep=keep)}
    {organization_table(SERVICE, table)}
    """


RESOLUTION_TABLES = resolution_table(
    "identity_resolutions",
    "'created', 'matched', 'fallback_phone', 'fallback_email', 'not_found'",
    RESOLUTION_MONTHS,
) + resolution_table("identity_resolution_problems", "'ambiguous', 'error'", None)

FUNCTIONS = """
-- The organization with a name and a first owner.
create function identity.organization_by_name(wanted_name text, wanted_email text) returns uuid
  language sql stable security definer set search_path = pg_catalog as
  $$ select organization_id from identity.organizations where name = wanted_name and admin_email = wanted_email $$;

-- The next organizations by name, after the one last seen.
create function identity.organization_page(after_name text, after_id uuid, row_limit int) returns setof uuid
  language sql stable security definer set search_path = pg_catalog as
  $$ select organization_id from identity.organizations
     where after_id is null or (name, organization_id) > (after_name, after_id)
     order by name, organization_id limit row_limit $$;

-- The user with an e-mail.
create function identity.user_by_email(wanted_email text) returns uuid
  language sql stable security definer set search_path = pg_catalog as
  $$ select user_id from identity.users where email = wanted_email $$;

-- The organizations a user is a member of.
create function identity.organizations_of_user(wanted_user_id uuid, row_limit int) returns setof uuid
  language sql stable security definer set search_path = pg_catalog as
  $$ select organization_id from identity.members where user_id = wanted_user_id
     order by organization_id limit row_limit $$;

-- The key with a hash, and whose it is.
create function identity.api_key_by_hash(wanted_hash text)
  returns table (found_organization_id uuid, found_api_key_id uuid)
  language sql stable security definer set search_path = pg_catalog as
  $$ select organization_id, api_key_id from identity.api_keys where secret_hash = wanted_hash $$;

-- Whose tokens were revoked since a moment.
create function identity.revoked_since(moment timestamptz, row_limit int)
  returns table (revoked_principal text, revoked_time timestamptz)
  language sql stable security definer set search_path = pg_catalog as
  $$ select principal, revoke_time from identity.revocations where revoke_time >= moment
     order by revoke_time desc limit row_limit $$;
"""

FUNCTION_SIGNATURES = (
    "organization_by_name(text, text)",
    "organization_page(text, uuid, int)",
    "user_by_email(text)",
    "organizations_of_user(uuid, int)",
    "api_key_by_hash(text)",
    "revoked_since(timestamptz, int)",
)

LOG_COLUMNS = """
  identity_resolution_id as id, organization_id, nullif(source, '') as source, external_id, outcome as action,
  contact_id, contact_identity_id as identity_id,
  jsonb_build_object('candidate_contact_ids', candidate_contact_ids) as metadata,
  nullif(error_message, '') as error_message, nullif(cause_id, '') as request_id, null::text as user_agent,
  create_time as created_at
"""

VIEWS = f"""
create view identity.messaging_contact_identities with (security_invoker = true) as
select contact_identity_id as id, organization_id, contact_id, source, external_id,
  create_time as created_at, update_time as updated_at
from identity.contact_identities;

create view identity.messaging_identity_resolution_log with (security_invoker = true) as
select {LOG_COLUMNS} from identity.identity_resolutions
union all
select {LOG_COLUMNS} from identity.identity_resolution_problems;

grant select on identity.messaging_contact_identities, identity.messaging_identity_resolution_log
  to {SERVICE_ROLE}, {READER_ROLE};
"""


def upgrade() -> None:
    """Creates everything."""
    # Without parameters the driver leaves percent signs alone.
    run = op.get_bind().execution_options(no_parameters=True).exec_driver_sql
    run(ACCESS_TABLES)
    run(CONTACT_TABLES)
    run(RESOLUTION_TABLES)
    run(FUNCTIONS)
    run(VIEWS)
    run(migrations.finish(SERVICE, functions=FUNCTION_SIGNATURES))
    run("select identity.maintain(now())")


def downgrade() -> None:
    """Takes everything back."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(migrations.drop_everything(SERVICE))
