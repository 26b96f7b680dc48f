"""Indexes the facts that no handler could consume, so that they are found without reading a week of facts."""

from __future__ import annotations

from alembic import op

from chassis.tables import run

revision = "chassis_0002"
down_revision = "chassis_0001"
branch_labels = None
depends_on = None


def drop(service: str) -> str:
    """Takes the index away, also an invalid one that an interrupted build left behind."""
    return f"drop index concurrently if exists {service}.consumed_events_failed"


def create(service: str) -> str:
    """Builds the index beside what runs."""
    return (
        f"create index concurrently consumed_events_failed on {service}.consumed_events (consumer, consume_time)"
        " where failure is not null"
    )


def upgrade() -> None:
    """One statement at a time, outside of a transaction, so that nobody waits."""
    with op.get_context().autocommit_block():
        run(drop)
        run(create)


def downgrade() -> None:
    """Takes it away."""
    with op.get_context().autocommit_block():
        run(drop)
