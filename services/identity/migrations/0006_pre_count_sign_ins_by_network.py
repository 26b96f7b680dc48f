"""Counts attempts to sign in by e-mail and network, and remembers from where somebody signed in."""

from __future__ import annotations

from alembic import op

from chassis.migrations import expiring, grants, owner

revision = "identity_0006"
down_revision = "identity_0005"
branch_labels = None
depends_on = None

SERVICE = "identity"
# What was never a success goes once its window is over: anybody may add a row for a made-up e-mail.
EXPIRED = (
    "case when success_time is null then window_start < $1 - interval '15 minutes'"
    " else success_time < $1 - interval '30 days' end"
)


def upgrade() -> None:
    """The table of before stays for processes of the release before, until a later migration drops it."""
    op.get_bind().exec_driver_sql(f"""
    -- By a hash of e-mail and network, so that nobody can read here who tried to sign in, and from where.
    create table identity.sign_in_attempts (
      attempt_hash bytea primary key,
      attempt_count bigint not null,
      window_start timestamptz not null,
      success_time timestamptz
    );
    {grants(SERVICE, "sign_in_attempts")};
    alter table identity.sign_in_attempts owner to {owner(SERVICE)};
    {expiring(SERVICE, "sign_in_attempts", time_column="window_start", keep_days=0, condition=EXPIRED)}
    """)


def downgrade() -> None:
    """Forgets all attempts."""
    op.get_bind().exec_driver_sql("""
    delete from identity.expiring_tables where table_name = 'sign_in_attempts';
    drop table identity.sign_in_attempts;
    """)
