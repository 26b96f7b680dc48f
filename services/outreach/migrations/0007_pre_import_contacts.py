"""Keeps lists of contacts, and the files that fill them."""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.queues.tables import create_queue, drop_queue

revision = "outreach_0007"
down_revision = "outreach_0006"
branch_labels = None
depends_on = None

SERVICE = "outreach"
FILE_KEPT_DAYS = 7
ERRORS_KEPT_DAYS = 90

LISTS = """
create table outreach.contact_lists (
  organization_id uuid not null,
  id uuid not null,
  name text not null,
  folded_name text not null,
  member_count bigint not null,
  create_time timestamptz not null,
  version bigint not null,
  primary key (organization_id, id),
  constraint contact_lists_name unique (organization_id, folded_name),
  constraint contact_lists_name_length check (length(name) between 1 and 200)
);
"""

MEMBERS = """
create table outreach.contact_list_members (
  organization_id uuid not null,
  contact_list_id uuid not null,
  contact_id uuid not null,
  id uuid not null,
  source text not null,
  external_id text not null,
  name text not null,
  add_time timestamptz not null,
  primary key (organization_id, contact_list_id, contact_id),
  constraint contact_list_members_external_id_length check (length(external_id) between 1 and 256),
  constraint contact_list_members_name_length check (length(name) <= 1024)
);
-- squawk-ignore require-concurrent-index-creation
create unique index contact_list_members_by_age on outreach.contact_list_members
  (organization_id, contact_list_id, id);
"""

IMPORTS = """
create table outreach.contact_imports (
  organization_id uuid not null,
  id uuid not null,
  contact_list_id uuid not null,
  source text not null,
  file_name text not null,
  columns jsonb not null,
  state text not null,
  file_size bigint not null,
  encoding text not null,
  delimiter text not null,
  dry_run boolean not null,
  position bigint not null,
  line bigint not null,
  processed_count bigint not null,
  row_count bigint not null,
  created_count bigint not null,
  existing_count bigint not null,
  error_count bigint not null,
  explanation text not null,
  principal text not null,
  principal_name text not null,
  create_time timestamptz not null,
  end_time timestamptz,
  tell_time timestamptz,
  version bigint not null,
  primary key (organization_id, id),
  constraint contact_imports_state_known check (state in ('UPLOADING', 'RUNNING', 'DONE', 'FAILED')),
  constraint contact_imports_file_name_length check (length(file_name) <= 255),
  constraint contact_imports_counts_whole check (created_count + existing_count + error_count = processed_count)
);
"""

# Slices are read out of parts: kept uncompressed, a slice costs no more than itself.
PARTS = """
create table outreach.import_parts (
  organization_id uuid not null,
  contact_import_id uuid not null,
  position bigint not null,
  part bytea not null,
  create_time timestamptz not null,
  primary key (organization_id, contact_import_id, position)
);
alter table outreach.import_parts alter column part set storage external;
-- squawk-ignore require-concurrent-index-creation
create index import_parts_by_time on outreach.import_parts (create_time);
"""

ERRORS = """
create table outreach.import_errors (
  organization_id uuid not null,
  contact_import_id uuid not null,
  line bigint not null,
  column_name text not null,
  value text not null,
  reason text not null,
  message text not null,
  create_time timestamptz not null,
  primary key (organization_id, contact_import_id, line),
  constraint import_errors_value_length check (length(value) <= 200)
);
-- squawk-ignore require-concurrent-index-creation
create index import_errors_by_time on outreach.import_errors using brin (create_time);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for statement in (LISTS, MEMBERS, IMPORTS, PARTS, ERRORS):
        run(statement)
    for table in ("contact_lists", "contact_list_members", "contact_imports", "import_parts", "import_errors"):
        run(f"alter table outreach.{table} owner to {migrations.owner(SERVICE)}")
        swept = table in ("import_parts", "import_errors")
        run(migrations.organization_table(SERVICE, table, owner_sweeps=swept))
    run(migrations.expiring(SERVICE, "import_parts", time_column="create_time", keep_days=FILE_KEPT_DAYS))
    run(migrations.expiring(SERVICE, "import_errors", time_column="create_time", keep_days=ERRORS_KEPT_DAYS))
    run(create_queue(SERVICE, "import_queue"))


def downgrade() -> None:
    run(drop_queue(SERVICE, "import_queue"))
    run("delete from outreach.expiring_tables where table_name in ('import_parts', 'import_errors')")
    run("drop table outreach.import_errors; drop table outreach.import_parts; drop table outreach.contact_imports;")
    run("drop table outreach.contact_list_members; drop table outreach.contact_lists;")
