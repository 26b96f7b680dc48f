-- The rows of the main way written set by set, in a schema without Prosa's code: what PostgreSQL itself can do.
drop schema if exists bare_path cascade;
create schema bare_path;
set search_path = bare_path;

create table raw_events (
  id uuid primary key, organization_id uuid not null, delivery_key text not null, receive_time timestamptz not null,
  body bytea not null, unique (organization_id, delivery_key));
alter table raw_events alter column body set storage external;
create table contacts (
  organization_id uuid not null, id uuid not null, name text not null, phone text not null,
  create_time timestamptz not null, primary key (organization_id, id));
create table identities (
  organization_id uuid not null, source text not null, external_id text not null, contact_id uuid not null,
  create_time timestamptz not null, primary key (organization_id, source, external_id));
create table resolutions (
  id uuid primary key, organization_id uuid not null, contact_id uuid not null, external_id text not null,
  outcome text not null, create_time timestamptz not null);
create table deals (
  id uuid primary key, organization_id uuid not null, contact_id uuid not null, board_id uuid not null,
  stage_id uuid not null, title text not null, state text not null, create_time timestamptz not null);
create unique index deals_open on deals (organization_id, contact_id, board_id) where state = 'OPEN';
create table conversations (
  id uuid not null, organization_id uuid not null, provider_id text not null, contact_id uuid not null,
  deal_id uuid not null, last_message_time timestamptz not null, last_message_preview text not null,
  unread_count int not null, primary key (organization_id, provider_id)) with (fillfactor = 85);
create table messages (
  id uuid not null, organization_id uuid not null, conversation_id uuid not null, provider_id text not null,
  text text not null, create_time timestamptz not null, primary key (id, create_time));
create unique index messages_key on messages (organization_id, provider_id);
create index messages_of_conversation on messages (organization_id, conversation_id, create_time);
create table outbox (
  position bigint generated always as identity primary key, event_id uuid not null, organization_id uuid not null,
  type text not null, payload bytea not null, create_time timestamptz not null);
create sequence fresh_contacts start 100000001;
create sequence message_numbers;

create table sample (body bytea not null);

-- One batch: `size` messages of contacts drawn from the `known` ones, every tenth of a new contact.
create function path_batch(size int, known int) returns void language plpgsql set search_path = bare_path as $$
declare
  organization constant uuid := '01900000-0000-7000-8000-000000000001';
  moment constant timestamptz := clock_timestamp();
  raw constant bytea := (select body from sample);
  numbers bigint[]; message_ids text[]; owners uuid[]; deal_ids uuid[]; conversation_ids uuid[];
begin
  select array_agg(number order by number) into numbers from (
    select case when random() < 0.1 then nextval('fresh_contacts') else 1 + floor(random() * known)::bigint end
      as number from generate_series(1, size)) drawn;
  select array_agg('m' || nextval('message_numbers')) into message_ids from generate_series(1, size);

  insert into raw_events select uuidv7(), organization, id, moment, raw from unnest(message_ids) as given (id)
  on conflict do nothing;

  with missing as (
    select number, uuidv7() as contact_id from (select distinct unnest(numbers) as number) wanted
    where not exists (select from identities
      where organization_id = organization and source = 'WHATSAPP' and external_id = number::text)
  ), made as (
    insert into contacts select organization, contact_id, 'Marina Teles', '+' || number, moment from missing
  )
  insert into identities select organization, 'WHATSAPP', number::text, contact_id, moment from missing
  order by number on conflict do nothing;
  select array_agg(contact_id order by place) into owners
  from unnest(numbers) with ordinality as wanted (number, place)
  join identities on organization_id = organization and source = 'WHATSAPP' and external_id = number::text;
  insert into resolutions select uuidv7(), organization, contact_id, number::text, 'matched', moment
  from unnest(owners, numbers) as given (contact_id, number);

  insert into deals select uuidv7(), organization, contact_id, organization, organization, 'Marina Teles', 'OPEN', moment
  from (select distinct unnest(owners) as contact_id) wanted
  where not exists (select from deals where deals.organization_id = organization and state = 'OPEN'
    and deals.contact_id = wanted.contact_id and board_id = organization)
  order by contact_id on conflict do nothing;
  select array_agg(deals.id order by place) into deal_ids
  from unnest(owners) with ordinality as wanted (contact_id, place)
  join deals on deals.organization_id = organization and deals.contact_id = wanted.contact_id
    and board_id = organization and state = 'OPEN';

  with given as (
    select distinct on (number) number::text as provider_id, contact_id, deal_id
    from unnest(numbers, owners, deal_ids) as wanted (number, contact_id, deal_id) order by number)
  insert into conversations as kept select uuidv7(), organization, provider_id, contact_id, deal_id, moment, 'Oi', 1
  from given order by provider_id
  on conflict (organization_id, provider_id) do update set last_message_time = excluded.last_message_time,
    last_message_preview = excluded.last_message_preview, unread_count = kept.unread_count + 1;
  select array_agg(id order by place) into conversation_ids
  from unnest(numbers) with ordinality as wanted (number, place)
  join conversations on organization_id = organization and provider_id = number::text;

  insert into messages select uuidv7(), organization, conversation_id, message_id,
    'Oi, bom dia! Vocês atendem convênio? Queria marcar uma avaliação para a semana que vem.', moment
  from unnest(conversation_ids, message_ids) as given (conversation_id, message_id);
  insert into outbox (event_id, organization_id, type, payload, create_time)
  select uuidv7(), organization, 'MessageReceived', substring(raw for 400), moment from unnest(message_ids);
end $$;

-- Of the same batch only who wrote: identities found or made, and the log.
create function resolve_batch(size int, known int, new boolean) returns void language plpgsql
  set search_path = bare_path as $$
declare
  organization constant uuid := '01900000-0000-7000-8000-000000000001';
  moment constant timestamptz := clock_timestamp();
  numbers bigint[];
begin
  select array_agg(case when new then nextval('fresh_contacts') else 1 + floor(random() * known)::bigint end)
    into numbers from generate_series(1, size);
  with missing as (
    select number, uuidv7() as contact_id from (select distinct unnest(numbers) as number) wanted
    where not exists (select from identities
      where organization_id = organization and source = 'WHATSAPP' and external_id = number::text)
  ), made as (
    insert into contacts select organization, contact_id, 'Marina Teles', '+' || number, moment from missing
  ), told as (
    insert into outbox (event_id, organization_id, type, payload, create_time)
    select uuidv7(), organization, 'ContactCreated', decode(repeat('00', 200), 'hex'), moment from missing
  )
  insert into identities select organization, 'WHATSAPP', number::text, contact_id, moment from missing
  order by number on conflict do nothing;
  insert into resolutions select uuidv7(), organization, contact_id, number::text, 'matched', moment
  from unnest(numbers) as wanted (number)
  join identities on organization_id = organization and source = 'WHATSAPP' and external_id = number::text;
end $$;

create function preload(known int) returns void language plpgsql set search_path = bare_path as $$
declare
  organization constant uuid := '01900000-0000-7000-8000-000000000001';
  moment constant timestamptz := clock_timestamp();
begin
  with numbered as (
    select number, uuidv7() as contact_id from generate_series(1, known) as wanted (number)
  ), made as (
    insert into contacts select organization, contact_id, 'Marina Teles', '+' || number, moment from numbered
  ), owed as (
    insert into deals select uuidv7(), organization, contact_id, organization, organization, 'Marina', 'OPEN', moment
    from numbered returning contact_id, id
  ), linked as (
    insert into conversations select uuidv7(), organization, number::text, numbered.contact_id, owed.id, moment, '', 0
    from numbered join owed using (contact_id)
  )
  insert into identities select organization, 'WHATSAPP', number::text, contact_id, moment from numbered;
end $$;

-- What a limit leaves behind is not to be swept up while the product is measured.
do $$
declare name regclass;
begin
  for name in select oid from pg_class where relnamespace = 'bare_path'::regnamespace and relkind = 'r' loop
    execute format('alter table %s set (autovacuum_enabled = false)', name);
  end loop;
end $$;
