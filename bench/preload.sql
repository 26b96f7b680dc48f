-- Customers who have written before, as the main way would have left them: {known} of them, from number {first} on.
-- Ids grow with the number, as UUIDv7 do.
create or replace function bench_id(kind int, number bigint) returns uuid language sql immutable as
  $$ select ('0190' || lpad(to_hex(kind), 4, '0') || lpad(to_hex(number >> 32), 4, '0') || '7000' || '8000'
    || lpad(to_hex(number & 4294967295), 12, '0'))::uuid $$;

insert into identity.contacts
  (organization_id, contact_id, name, phone, email, tags, version, create_time, update_time)
select '{organization}', bench_id(1, n), 'Marina Teles ' || n, '+55119' || lpad(n::text, 8, '0'), '', '{{}}', 1, now(), now()
from generate_series({first}, {known}) as n;

insert into identity.contact_identities
  (organization_id, contact_identity_id, contact_id, source, external_id, address, create_time, update_time)
select '{organization}', bench_id(2, n), bench_id(1, n), 'WHATSAPP', '+55119' || lpad(n::text, 8, '0'),
  '55119' || lpad(n::text, 8, '0'), now(), now()
from generate_series({first}, {known}) as n;

insert into identity.contact_aliases (organization_id, kind, value, contact_id, contact_identity_id, create_time)
select '{organization}', kind, '{connection}:' || value, bench_id(1, n), bench_id(2, n), now()
from generate_series({first}, {known}) as n,
  lateral (values ('CHATWOOT_CONTACT', n::text), ('CHATWOOT_SOURCE', '{inbox}:55119' || lpad(n::text, 8, '0'))) as alias (kind, value);

insert into crm.deals (organization_id, id, contact_id, board_id, stage_id, title, state, version, create_time, update_time)
select '{organization}', bench_id(3, n), bench_id(1, n), '{board}', '{stage}', 'Marina Teles ' || n, 'OPEN', 1, now(), now()
from generate_series({first}, {known}) as n;

insert into crm.ensured_deals (organization_id, contact_id, board_id, deal_id)
select '{organization}', bench_id(1, n), '{board}', bench_id(3, n) from generate_series({first}, {known}) as n;

insert into conversation.conversations (conversation_id, organization_id, connection_id, channel_id, source,
  provider_conversation_id, create_time, update_time, activity_time, version, account_id, inbox_id, provider_contact_id,
  provider_url, inbox_name, contact_id, deal_id, conversation_key, contact_name, contact_phone, state, labels,
  assignee_name, unread_count, provider_update_time_us, handoff_mode, handoff_source, handoff_reason,
  last_message_preview, last_message_direction, last_provider_message_id)
select bench_id(4, n), '{organization}', '{connection}', '{channel}', 'WHATSAPP', n::text, now(), now(), now(), 1, {account},
  {inbox}, n::text, '', '', bench_id(1, n), bench_id(3, n), 'whatsapp:+55119' || lpad(n::text, 8, '0'),
  'Marina Teles ' || n, '+55119' || lpad(n::text, 8, '0'), 'OPEN', '{{}}', '', 0, 0, 'AI', '', '', '', 'UNSPECIFIED', ''
from generate_series({first}, {known}) as n;

vacuum analyze;

-- What so many rows at once leave to be written would hold up whatever is measured next; and from here on, every page
-- goes whole into the log the first time it changes, which is the dearest case of a house at work.
checkpoint;
