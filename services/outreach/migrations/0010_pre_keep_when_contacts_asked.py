"""Keeps when a contact wrote that they want no more messages, which may be long before it is heard."""

from __future__ import annotations

from alembic import op

revision = "outreach_0010"
down_revision = "outreach_0009"
branch_labels = None
depends_on = None

TABLES = ("suppressions", "lifted_suppressions")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table outreach.{table} add column ask_time timestamptz")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table outreach.{table} drop column ask_time")
