"""Keeps the ledger of what may be sent, the epoch of its counts, accepted terms, and what confirms an opt-out."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0006"
down_revision = "outreach_0005"
branch_labels = None
depends_on = None

SERVICE = "outreach"
RESERVATION_DAYS = 8
"""A day longer than the longest gap between two messages to a contact; what is open stays however old."""

# Not in partitions: a delivery's attempt is reserved once, on whatever day.
RESERVATIONS = """
create table outreach.reservations (
  organization_id uuid not null,
  delivery_id uuid not null,
  attempt bigint not null,
  id uuid not null,
  epoch bigint not null,
  send_class text not null,
  channel_id uuid not null,
  recipient text not null,
  release_count bigint not null,
  state text not null,
  create_time timestamptz not null,
  settle_time timestamptz,
  primary key (organization_id, delivery_id, attempt),
  constraint reservations_state_known check (state in ('OPEN', 'USED', 'RELEASED')),
  constraint reservations_recipient_length check (length(recipient) <= 300)
);
-- squawk-ignore require-concurrent-index-creation
create index reservations_open on outreach.reservations (id) where state = 'OPEN';
-- squawk-ignore require-concurrent-index-creation
create index reservations_by_organization on outreach.reservations (organization_id, create_time);
-- squawk-ignore require-concurrent-index-creation
create index reservations_by_time on outreach.reservations using brin (create_time);
"""

QUOTA_EPOCHS = "create table outreach.quota_epochs (organization_id uuid primary key, epoch bigint not null);"

TERMS = """
create table outreach.terms_acceptances (
  organization_id uuid not null,
  terms_version text not null,
  principal text not null,
  principal_name text not null,
  accept_time timestamptz not null,
  primary key (organization_id, terms_version)
);
"""

SUPPRESSIONS = """
alter table outreach.suppressions add column confirm_time timestamptz, add column confirm_delivery_id uuid;
"""

# Ids and a time only: whoever settles them asks for them across organizations.
OPEN_RESERVATIONS = """
create function outreach.open_reservations(before timestamptz, after uuid, row_limit int)
  returns table (open_id uuid, open_organization_id uuid, open_delivery_id uuid, open_attempt int,
    open_create_time timestamptz)
  language sql stable security definer set search_path = pg_catalog as
  $$ select id, organization_id, delivery_id, attempt, create_time from outreach.reservations
     where state = 'OPEN' and id > after and create_time < before order by id limit row_limit $$;
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for statement in (RESERVATIONS, QUOTA_EPOCHS, TERMS, SUPPRESSIONS):
        run(statement)
    for table in ("reservations", "quota_epochs", "terms_acceptances"):
        run(f"alter table outreach.{table} owner to {migrations.owner(SERVICE)}")
    run(migrations.organization_table(SERVICE, "reservations", owner_sweeps=True))
    run(migrations.organization_table(SERVICE, "quota_epochs"))
    run(migrations.organization_table(SERVICE, "terms_acceptances"))
    run(
        migrations.expiring(
            SERVICE,
            "reservations",
            time_column="create_time",
            keep_days=RESERVATION_DAYS,
            condition="state <> 'OPEN'",
        )
    )
    run(OPEN_RESERVATIONS)
    run(migrations.own_function(SERVICE, "open_reservations(timestamptz, uuid, int)"))


def downgrade() -> None:
    run("drop function outreach.open_reservations(timestamptz, uuid, int)")
    run("delete from outreach.expiring_tables where table_name = 'reservations'")
    run("alter table outreach.suppressions drop column confirm_time, drop column confirm_delivery_id")
    run("drop table outreach.terms_acceptances; drop table outreach.quota_epochs; drop table outreach.reservations;")
