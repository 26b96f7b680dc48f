"""Remembers by fingerprint with which keys secrets are sealed, so that a lost key file is never replaced unnoticed."""

from __future__ import annotations

from alembic import op

from chassis.keys import create_fingerprints

revision = "identity_0009"
down_revision = "identity_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table; the first process that starts writes its keys into it."""
    op.get_bind().exec_driver_sql(create_fingerprints("identity"))


def downgrade() -> None:
    """Forgets them."""
    op.get_bind().exec_driver_sql("drop table identity.key_fingerprints")
