"""Keep the name of an account at its source, and for a while the names that it had before."""

from __future__ import annotations

from alembic import op

revision = "identity_0007"
down_revision = "identity_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns, whose defaults are no expressions: nothing is rewritten."""
    op.get_bind().exec_driver_sql(
        "alter table identity.contact_identities add column username text not null default '',"
        " add column former_usernames text[] not null default '{}',"
        " add column former_username_times timestamptz[] not null default '{}'"
    )


def downgrade() -> None:
    """Takes them away."""
    op.get_bind().exec_driver_sql(
        "alter table identity.contact_identities drop column username, drop column former_usernames,"
        " drop column former_username_times"
    )
