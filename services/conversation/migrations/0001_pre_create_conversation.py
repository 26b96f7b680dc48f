"""Create conversations, their messages, and the view of the seed."""

from alembic import op

from chassis import migrations

revision = "conversation_0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICE = "conversation"
VIEW = "messaging_conversation_links"

TABLES = """
create table conversation.conversations (
  conversation_id uuid primary key,
  organization_id uuid not null,
  connection_id uuid not null,
  channel_id uuid not null,
  source text not null,
  provider_conversation_id text not null,
  create_time timestamptz not null,
  update_time timestamptz not null,
  activity_time timestamptz not null,
  version bigint not null,
  account_id bigint not null,
  inbox_id bigint not null,
  provider_contact_id text not null,
  provider_url text not null,
  inbox_name text not null,
  contact_id uuid,
  deal_id uuid,
  conversation_key text not null,
  contact_name text not null,
  contact_phone text not null,
  state text not null,
  labels text[] not null,
  assignee_name text not null,
  unread_count int not null,
  provider_update_time_us bigint not null,
  handoff_mode text not null,
  handoff_source text not null,
  handoff_time timestamptz,
  handoff_reason text not null,
  last_message_time timestamptz,
  last_message_preview text not null,
  last_message_direction text not null,
  last_provider_message_id text not null,
  -- A connection belongs to one organization; naming both keeps anybody from taking another's place by hand.
  constraint conversations_provider_key unique (organization_id, provider_conversation_id, connection_id),
  constraint conversations_source_known check (source in ('WHATSAPP', 'INSTAGRAM')),
  constraint conversations_state_known check (state in ('OPEN', 'PENDING', 'SNOOZED', 'RESOLVED')),
  constraint conversations_handoff_mode_known check (handoff_mode in ('AI', 'HUMAN')),
  constraint conversations_handoff_source_known check (
    handoff_source in ('', 'webhook', 'echo_ig', 'echo_wa', 'ui', 'agent', 'api', 'auto_expire')),
  constraint conversations_direction_known check (
    last_message_direction in ('UNSPECIFIED', 'INBOUND', 'OUTBOUND')),
  constraint conversations_unread_not_negative check (unread_count >= 0),
  constraint conversations_preview_short check (length(last_message_preview) <= 160)
) with (fillfactor = 85);
create index conversations_by_activity
  on conversation.conversations (organization_id, activity_time desc, conversation_id desc);
-- Nearly all conversations end up resolved, so the few others need an index to be found by their state.
create index conversations_unresolved
  on conversation.conversations (organization_id, state, activity_time desc, conversation_id desc)
  where state <> 'RESOLVED';
create index conversations_by_contact on conversation.conversations (organization_id, contact_id)
  where contact_id is not null;
create index conversations_by_deal on conversation.conversations (organization_id, deal_id)
  where deal_id is not null;
create index conversations_by_key on conversation.conversations (organization_id, conversation_key);

create table conversation.messages (
  message_id uuid not null,
  organization_id uuid not null,
  conversation_id uuid not null,
  channel_id uuid not null,
  provider_message_id text not null,
  create_time timestamptz not null,
  record_time timestamptz not null,
  cause_id text not null,
  direction text not null,
  author text not null,
  state text not null,
  provider_source_id text not null,
  text text not null,
  original_text text,
  content_type text not null,
  attachments jsonb not null,
  error_message text not null,
  deleted boolean not null,
  in_reply_to text not null,
  author_name text not null,
  content_time_us bigint not null,
  -- Answers a conversation's newest messages, and finds one to change, with a single index.
  constraint messages_pkey primary key (conversation_id, create_time, message_id),
  constraint messages_direction_known check (direction in ('UNSPECIFIED', 'INBOUND', 'OUTBOUND')),
  constraint messages_author_known check (
    author in ('UNSPECIFIED', 'CONTACT', 'AGENT', 'BOT', 'AUTOMATION', 'NATIVE_APP')),
  constraint messages_state_known check (state in ('UNSPECIFIED', 'SENT', 'DELIVERED', 'READ', 'FAILED')),
  constraint messages_deleted_empty check (
    not deleted or (text = '' and original_text is null and attachments = '[]'::jsonb))
) partition by range (create_time);
-- Whatever was written before there was a Prosa: imports, and providers with a broken clock.
create table conversation.messages_earlier partition of conversation.messages
  for values from (minvalue) to ('2026-01-01T00:00:00Z');

-- A unique key cannot span partitions, so the natural key has a table of its own.
create table conversation.message_keys (
  organization_id uuid not null,
  channel_id uuid not null,
  provider_message_id text not null,
  conversation_id uuid not null,
  message_id uuid not null,
  create_time timestamptz not null,
  constraint message_keys_pkey primary key (organization_id, channel_id, provider_message_id)
);
"""

# A message may be of a month that upkeep never saw: told late, after a pause, or under a clock that was set.
FUNCTIONS = """
create function conversation.ensure_message_month(moment timestamptz) returns void
  language plpgsql security definer set search_path = pg_catalog as $$
declare
  start_time timestamptz := date_trunc('month', moment, 'UTC');
  name text := 'messages' || to_char(start_time at time zone 'UTC', '_YYYYMMDD');
begin
  if to_regclass(format('conversation.%I', name)) is null then
    -- Two processes may meet a month at once: the second finds the first one's partition when it gets the lock.
    lock table conversation.messages in access exclusive mode;
    execute format('create table if not exists conversation.%I partition of conversation.messages'
      ' for values from (%L) to (%L)', name, start_time, date_trunc('month', start_time + interval '32 days', 'UTC'));
  end if;
end $$;
"""

LINKS = f"""
create view conversation.{VIEW} with (security_invoker = true) as
select
  conversation_id as id,
  organization_id,
  case when provider_conversation_id ~ '^[0-9]{{1,9}}$' then provider_conversation_id::int end
    as chatwoot_conversation_id,
  case when provider_contact_id ~ '^[0-9]{{1,9}}$' then provider_contact_id::int end as chatwoot_contact_id,
  case when inbox_id between 1 and 2147483647 then inbox_id::int end as chatwoot_inbox_id,
  contact_id,
  deal_id,
  last_message_time as last_message_at,
  last_message_preview,
  case last_message_direction when 'INBOUND' then 'customer' when 'OUTBOUND' then 'agent' end as last_message_sender,
  case state when 'OPEN' then 'open' when 'RESOLVED' then 'resolved' else 'pending' end as status,
  unread_count,
  nullif(provider_url, '') as chatwoot_url,
  nullif(inbox_name, '') as inbox_name,
  nullif(contact_name, '') as contact_name,
  nullif(contact_phone, '') as contact_phone,
  null::text as contact_avatar_url,
  null::int as assigned_agent_id,
  nullif(assignee_name, '') as assigned_agent_name,
  handoff_mode = 'AI' as ai_enabled,
  nullif(handoff_reason, '') as handoff_reason,
  nullif(handoff_source, '') as handoff_source,
  handoff_time as handoff_at,
  create_time as created_at,
  update_time as updated_at
from conversation.conversations;
grant select on conversation.{VIEW} to {migrations.role(SERVICE)}, {migrations.READER_ROLE};
"""


def run(statements: str) -> None:
    """Runs statements as they stand: without parameters a percent sign is one."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    """Makes the schema's tables, functions and view."""
    run(TABLES)
    for table in ("conversations", "messages", "message_keys"):
        run(migrations.organization_table(SERVICE, table))
    run(migrations.partitioned(SERVICE, "messages", unit="month", keep=None))
    run(FUNCTIONS)
    run(LINKS)
    run(migrations.finish(SERVICE, functions=["ensure_message_month(timestamptz)"]))
    run(f"alter table conversation.messages_earlier owner to {migrations.owner(SERVICE)}")
    run("select conversation.maintain(now())")


def downgrade() -> None:
    """Takes all of it away."""
    run(migrations.drop_everything(SERVICE))
