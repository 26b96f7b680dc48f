"""Keep how an organization writes numbers and dates, and count its writes."""

from __future__ import annotations

from alembic import op

revision = "identity_0010"
down_revision = "identity_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns, whose defaults are no expressions: nothing is rewritten."""
    op.get_bind().exec_driver_sql(
        "alter table identity.organizations add column locale text not null default 'pt-BR',"
        " add column version bigint not null default 1"
    )


def downgrade() -> None:
    """Takes them away."""
    op.get_bind().exec_driver_sql("alter table identity.organizations drop column locale, drop column version")
