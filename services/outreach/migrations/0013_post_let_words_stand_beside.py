"""Let an address have a suppression of each origin.

The release before names the constraint where it writes one: its writes fail and are tried again until it is replaced.
"""

from __future__ import annotations

from alembic import op

from chassis.migrations import all_rows

revision = "outreach_0013"
down_revision = "outreach_0012"
branch_labels = None
depends_on = None

SERVICE = "outreach"

# The contact's own word stays: whoever is one with the address is left alone as before.
KEEP_ONE = """
delete from outreach.suppressions doubled using outreach.suppressions kept
where kept.organization_id = doubled.organization_id and kept.source = doubled.source
  and kept.external_id = doubled.external_id
  and (kept.origin <> 'CONTACT', kept.id) < (doubled.origin <> 'CONTACT', doubled.id)
"""


def upgrade() -> None:
    op.execute(
        "-- squawk-ignore ban-drop-constraint\nalter table outreach.suppressions drop constraint suppressions_address"
    )


def downgrade() -> None:
    """Leaves one of each address."""
    run = op.get_bind().exec_driver_sql
    with all_rows(run, SERVICE, "suppressions"):
        run(KEEP_ONE)
    op.execute(
        "alter table outreach.suppressions add constraint suppressions_address"
        " unique (organization_id, source, external_id)"
    )
