"""Remembers by fingerprint with which keys secrets are sealed, so that a lost key file is never replaced unnoticed."""

from __future__ import annotations

from chassis.migrations import READER_ROLE, owner, role
from chassis.tables import run

revision = "chassis_0005"
down_revision = "chassis_0004"
branch_labels = None
depends_on = None


def fingerprints(service: str) -> str:
    """The table; the first process that seals or opens something writes its keys into it."""
    name = f"{service}.key_fingerprints"
    return f"""
    create table {name} (
      key_id text primary key,
      fingerprint bytea not null,
      create_time timestamptz not null
    );
    grant select, insert on {name} to {role(service)};
    grant select on {name} to {READER_ROLE};
    alter table {name} owner to {owner(service)};
    """


def upgrade() -> None:
    """Adds the table."""
    run(fingerprints)


def downgrade() -> None:
    """Forgets them."""
    run(lambda service: f"drop table {service}.key_fingerprints")
