"""Index the facts that could not be consumed, so that they are found without reading a week of facts."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "crm_0002"
down_revision = "crm_0001"
branch_labels = None
depends_on = None

SERVICE = "crm"


def upgrade() -> None:
    """Builds the index beside what runs."""
    with op.get_context().autocommit_block():
        for statement in migrations.index_failed_facts(SERVICE):
            op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Takes it away."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql(migrations.drop_failed_facts_index(SERVICE))
