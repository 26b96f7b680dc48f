"""Look at the messages that were there before their checks were widened, beside what runs."""

from __future__ import annotations

from alembic import op

revision = "conversation_0014"
down_revision = "conversation_0013"
branch_labels = None
depends_on = None

VALUES = {
    "state": (
        "'UNSPECIFIED', 'SENT', 'DELIVERED', 'READ', 'FAILED',"
        " 'QUEUED', 'SENDING', 'UNCERTAIN', 'SUPPRESSED', 'CANCELLED'"
    ),
    "author": "'UNSPECIFIED', 'CONTACT', 'AGENT', 'BOT', 'AUTOMATION', 'NATIVE_APP', 'API'",
}


def upgrade() -> None:
    """Has both checks hold of everything."""
    with op.get_context().autocommit_block():
        for column in VALUES:
            op.get_bind().exec_driver_sql(
                f"alter table conversation.messages validate constraint messages_{column}_known"
            )


def downgrade() -> None:
    """Lets them be looked at again by the next step up."""
    for column, values in VALUES.items():
        op.get_bind().exec_driver_sql(
            "-- squawk-ignore ban-drop-constraint\n"
            f"alter table conversation.messages drop constraint messages_{column}_known,"
            f" add constraint messages_{column}_known check ({column} in ({values})) not valid"
        )
