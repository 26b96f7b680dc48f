"""Keeps what every service needs to know of identity's: where organizations are at home, and who stands for whom."""

from __future__ import annotations

from chassis.migrations import organization_table, owner
from chassis.tables import run

revision = "chassis_0006"
down_revision = "chassis_0005"
branch_labels = None
depends_on = None


def tables(service: str) -> str:
    """The tables; identity's own stay empty, it asks itself."""
    return f"""
    create table {service}.organization_profiles (
      organization_id uuid primary key,
      region text not null,
      time_zone text not null,
      locale text not null,
      version bigint not null
    );
    {organization_table(service, "organization_profiles")}
    alter table {service}.organization_profiles owner to {owner(service)};

    create table {service}.contact_redirects (
      organization_id uuid not null,
      contact_id uuid not null,
      surviving_contact_id uuid,
      version bigint not null,
      primary key (organization_id, contact_id),
      -- For who asks the other way round: under which ids a survivor's rows are kept.
      constraint contact_redirects_survivor_key unique (organization_id, surviving_contact_id, contact_id),
      constraint contact_redirects_itself_check check (surviving_contact_id <> contact_id)
    );
    {organization_table(service, "contact_redirects")}
    alter table {service}.contact_redirects owner to {owner(service)};
    """


def upgrade() -> None:
    """Makes them."""
    run(tables)


def downgrade() -> None:
    """Takes them away; identity still knows all that they held."""
    run(lambda service: f"drop table {service}.organization_profiles, {service}.contact_redirects")
