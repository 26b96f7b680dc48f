"""Creates connections, their secrets and channels, webhook events with queue and delivery keys, and the event feed."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "ingest_0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICE = "ingest"
RAW_DAYS = 30
FEED_DAYS = 7

CONNECTIONS = """
create table ingest.connections (
  id uuid primary key,
  organization_id uuid not null,
  provider text not null,
  name text not null,
  connection_key text not null,
  account_id bigint,
  base_url text not null,
  access_token_sealed bytea,
  legacy_static_secret_end_time timestamptz,
  create_time timestamptz not null,
  constraint connections_key unique (connection_key),
  constraint connections_name unique (organization_id, name),
  constraint connections_provider_known check (provider in ('CHATWOOT', 'EVOLUTION')),
  constraint connections_name_length check (length(name) between 1 and 200)
);
create index connections_by_account on ingest.connections (account_id) where account_id is not null;

create table ingest.connection_secrets (
  id uuid primary key,
  organization_id uuid not null,
  connection_id uuid not null references ingest.connections (id),
  secret_sealed bytea not null,
  create_time timestamptz not null
);
create index connection_secrets_by_connection on ingest.connection_secrets (connection_id, id);

create table ingest.channels (
  id uuid primary key,
  organization_id uuid not null,
  connection_id uuid not null references ingest.connections (id),
  name text not null,
  source text not null,
  inbox_id bigint not null,
  board_id uuid,
  active boolean not null,
  evolution_instance text not null,
  create_time timestamptz not null,
  constraint channels_inbox unique (connection_id, inbox_id),
  constraint channels_source_known check (source in ('WHATSAPP', 'INSTAGRAM')),
  constraint channels_inbox_positive check (inbox_id > 0)
);
create index channels_by_source on ingest.channels (organization_id, source, id);
create index channels_by_organization on ingest.channels (organization_id, id);
"""

# The body stays as it came: uncompressed outside the row, so that marking an event done rewrites some 200 bytes.
WEBHOOK_EVENTS = """
create table ingest.webhook_events (
  id uuid not null,
  receive_time timestamptz not null,
  organization_id uuid not null,
  connection_id uuid not null,
  provider text not null,
  event text not null,
  ordering_key text not null,
  signed boolean not null,
  correlation_id text not null,
  trace_parent text not null,
  state text not null,
  reason text not null,
  detail text not null,
  attempt_count int not null,
  process_time timestamptz,
  contact_id uuid,
  conversation_id uuid,
  deal_id uuid,
  message_id uuid,
  body bytea not null,
  primary key (id, receive_time),
  constraint webhook_events_state_known check (state in ('PENDING', 'PROCESSED', 'IGNORED', 'DEAD_LETTER'))
) partition by range (receive_time);
alter table ingest.webhook_events alter column body set storage external;
create index webhook_events_by_organization on ingest.webhook_events (organization_id, id);

create table ingest.delivery_keys (
  connection_id uuid not null,
  delivery_key text not null,
  webhook_event_id uuid not null,
  organization_id uuid not null,
  receive_time timestamptz not null,
  primary key (connection_id, delivery_key)
);
create index delivery_keys_by_time on ingest.delivery_keys using brin (receive_time);

create table ingest.webhook_queue (
  sequence bigint generated always as identity primary key,
  lane smallint not null,
  ordering_key text not null,
  webhook_event_id uuid not null,
  receive_time timestamptz not null,
  organization_id uuid not null,
  attempt_count int not null,
  next_attempt_time timestamptz,
  constraint webhook_queue_event unique (webhook_event_id)
);
create index webhook_queue_by_lane on ingest.webhook_queue (lane, sequence);
create index webhook_queue_held on ingest.webhook_queue (ordering_key, sequence) where next_attempt_time is not null;

-- Dead letters are few and looked for often; an index over all events for their sake would cost every event.
create table ingest.dead_letters (
  webhook_event_id uuid primary key,
  receive_time timestamptz not null,
  organization_id uuid not null,
  connection_id uuid not null,
  reason text not null
);
create index dead_letters_by_organization on ingest.dead_letters (organization_id, webhook_event_id);
"""

FEED = """
create table ingest.feed (
  position bigint generated always as identity,
  write_time timestamptz not null,
  event_id uuid not null,
  organization_id uuid not null,
  type text not null,
  payload bytea not null,
  event_time timestamptz not null,
  correlation_id text not null,
  trace_parent text not null,
  primary key (position, write_time)
) partition by range (write_time);
create index feed_by_organization on ingest.feed (organization_id, position);
"""

# Look-ups before an organization is known; each answers ids only.
FUNCTIONS = """
create function ingest.connection_by_key(wanted_key text)
  returns table (found_connection_id uuid, found_organization_id uuid)
  language sql stable security definer set search_path = pg_catalog as
  $$ select id, organization_id from ingest.connections where connection_key = wanted_key $$;

create function ingest.connections_by_account(wanted_account_id bigint, wanted_inbox_id bigint)
  returns table (found_connection_id uuid, found_organization_id uuid, found_channel_id uuid)
  language sql stable security definer set search_path = pg_catalog as
  $$ select connection.id, connection.organization_id, channel.id
     from ingest.connections connection
     left join ingest.channels channel
       on channel.connection_id = connection.id and channel.inbox_id = wanted_inbox_id and channel.active
     where connection.account_id = wanted_account_id and connection.provider = 'CHATWOOT' $$;

-- What the holder of some lanes may process now, oldest first. An event that waits for its next attempt holds back the
-- later ones of its own key, and nothing else.
create function ingest.webhooks_pending(wanted_lanes smallint[], as_of timestamptz, row_limit int)
  returns table (pending_sequence bigint, pending_event_id uuid, pending_organization_id uuid)
  language sql stable security definer set search_path = pg_catalog as
  $$ select queued.sequence, queued.webhook_event_id, queued.organization_id
     from ingest.webhook_queue queued
     where queued.lane = any (wanted_lanes)
       and not exists (
         select from ingest.webhook_queue held
         where held.next_attempt_time > as_of and held.ordering_key = queued.ordering_key
           and held.sequence <= queued.sequence)
     order by queued.sequence limit row_limit $$;

-- Where the whole feed begins: whoever asks for facts from before it has missed some.
create function ingest.feed_first_position() returns bigint
  language sql stable security definer set search_path = pg_catalog as
  $$ select coalesce(min(position), 0) from ingest.feed $$;
"""

# Account and inbox of a legacy row in the shape its readers know; secrets are null, they are not for reading.
VIEWS = f"""
create view ingest.messaging_channel_configs with (security_invoker = true) as
  select channel.id, channel.organization_id,
    nullif(connection.base_url, '') as chatwoot_base_url, null::text as chatwoot_api_token,
    connection.account_id::int as chatwoot_account_id, channel.inbox_id::int as chatwoot_inbox_id,
    null::text as wppconnect_base_url, null::text as wppconnect_token, null::text as wppconnect_session,
    lower(channel.source) as channel_type, channel.name,
    case when channel.active then 'active' else 'inactive' end as status,
    channel.create_time as created_at, channel.create_time as updated_at
  from ingest.channels channel join ingest.connections connection on connection.id = channel.connection_id;
grant select on ingest.messaging_channel_configs to {migrations.role(SERVICE)}, {migrations.READER_ROLE};
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statements in (CONNECTIONS, WEBHOOK_EVENTS, FEED):
        run(statements)
    run(migrations.organization_table(SERVICE, "connections", owner_reads=True))
    run(migrations.organization_table(SERVICE, "connection_secrets"))
    run(migrations.organization_table(SERVICE, "channels", owner_reads=True))
    run(migrations.organization_table(SERVICE, "webhook_events"))
    run(migrations.organization_table(SERVICE, "delivery_keys", owner_sweeps=True))
    run(migrations.organization_table(SERVICE, "webhook_queue", owner_reads=True))
    run(migrations.organization_table(SERVICE, "dead_letters", owner_sweeps=True))
    run(migrations.organization_table(SERVICE, "feed", owner_reads=True))
    run(migrations.partitioned(SERVICE, "webhook_events", unit="day", keep=RAW_DAYS))
    run(migrations.partitioned(SERVICE, "feed", unit="day", keep=FEED_DAYS))
    run(migrations.expiring(SERVICE, "delivery_keys", time_column="receive_time", keep_days=RAW_DAYS))
    run(migrations.expiring(SERVICE, "dead_letters", time_column="receive_time", keep_days=RAW_DAYS))
    run(FUNCTIONS)
    run(VIEWS)
    run(
        migrations.finish(
            SERVICE,
            [
                "connection_by_key(text)",
                "connections_by_account(bigint, bigint)",
                "webhooks_pending(smallint[], timestamptz, int)",
                "feed_first_position()",
            ],
        )
    )
    run("select ingest.maintain(now())")


def downgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.drop_everything(SERVICE))
