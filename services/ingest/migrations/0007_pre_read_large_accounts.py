"""Lets the legacy view answer null for an account or inbox beyond its readers' integers, where it failed as a whole."""

from __future__ import annotations

from alembic import op

revision = "ingest_0007"
down_revision = "ingest_0006"
branch_labels = None
depends_on = None

VIEW = """
create or replace view ingest.messaging_channel_configs with (security_invoker = true) as
  select channel.id, channel.organization_id,
    nullif(connection.base_url, '') as chatwoot_base_url, null::text as chatwoot_api_token,
    {account_id} as chatwoot_account_id, {inbox_id} as chatwoot_inbox_id,
    null::text as wppconnect_base_url, null::text as wppconnect_token, null::text as wppconnect_session,
    lower(channel.source) as channel_type, channel.name,
    case when channel.active then 'active' else 'inactive' end as status,
    channel.create_time as created_at, channel.create_time as updated_at
  from ingest.channels channel join ingest.connections connection on connection.id = channel.connection_id
"""


def upgrade() -> None:
    """Reads what fits."""
    op.get_bind().exec_driver_sql(
        VIEW.format(
            account_id="case when connection.account_id between 1 and 2147483647 then connection.account_id::int end",
            inbox_id="case when channel.inbox_id between 1 and 2147483647 then channel.inbox_id::int end",
        )
    )


def downgrade() -> None:
    """Reads as before."""
    op.get_bind().exec_driver_sql(
        VIEW.format(account_id="connection.account_id::int", inbox_id="channel.inbox_id::int")
    )
