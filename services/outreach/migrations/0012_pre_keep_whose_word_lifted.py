"""Keep from which address a contact asked to come back: a merge that is undone takes back what the other one said."""

from __future__ import annotations

from alembic import op

revision = "outreach_0012"
down_revision = "outreach_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table outreach.lifted_suppressions add column lift_key text not null default ''")


def downgrade() -> None:
    op.execute("alter table outreach.lifted_suppressions drop column lift_key")
