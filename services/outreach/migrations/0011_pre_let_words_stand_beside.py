"""Let an address have a suppression of each origin: what comes second lies beside the first.

The release before writes ``on conflict`` of an address's one suppression, so that constraint stays. The table beside
inherits: whoever reads, ends or confirms suppressions, the release before too, has its rows among them.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.migrations import all_rows

revision = "outreach_0011"
down_revision = "outreach_0010"
branch_labels = None
depends_on = None

SERVICE = "outreach"
TABLE = "suppressions_beside"

BESIDE = """
create table outreach.suppressions_beside (
  primary key (organization_id, id),
  constraint suppressions_beside_address unique (organization_id, source, external_id, origin)
) inherits (outreach.suppressions);
-- squawk-ignore require-concurrent-index-creation
create index suppressions_beside_by_contact on outreach.suppressions_beside (organization_id, contact_id, id)
  where contact_id is not null;
"""

# The contact's own word stays: whoever is one with the address is left alone as before.
KEEP_OWN = (
    """
    delete from only outreach.suppressions held using outreach.suppressions_beside beside
    where (held.organization_id, held.source, held.external_id)
      = (beside.organization_id, beside.source, beside.external_id) and beside.origin = 'CONTACT'
    """,
    """
    insert into outreach.suppressions select * from outreach.suppressions_beside
    order by origin = 'CONTACT' desc, id on conflict do nothing
    """,
)


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(BESIDE)
    run(f"alter table outreach.{TABLE} owner to {migrations.owner(SERVICE)}")
    run(migrations.organization_table(SERVICE, TABLE))


def downgrade() -> None:
    """Leaves one of each address."""
    with all_rows(run, SERVICE, "suppressions", TABLE):
        for statement in KEEP_OWN:
            run(statement)
    run(f"drop table outreach.{TABLE}")
