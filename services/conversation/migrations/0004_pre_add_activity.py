"""Keep the order of conversations apart from them: what a message moves then leaves a conversation's indexes alone.

Every message moves a conversation's ``activity_time``. While that was in an index of the wide row, each message added
an entry to every index of it, all but two at a random place. The order now lies in a narrow table with a single index,
and the wide row is updated within its page.

Triggers keep the order, so a release that knows nothing of it may write beside this one. What was there before is
filled in by the next revision.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0004"
down_revision = "conversation_0003"
branch_labels = None
depends_on = None

SERVICE = "conversation"

TABLE = """
create table conversation.conversation_activity (
  organization_id uuid not null,
  state text not null,
  activity_time timestamptz not null,
  conversation_id uuid not null,
  -- Lists of one state read it backwards; a list of all merges the few states.
  constraint conversation_activity_pkey primary key (organization_id, state, activity_time, conversation_id)
);
"""

# The narrow rows go to the end of their table and the new keys mostly to one place of the index: pages at work anyway.
# A plan made while the table was small would read all of it for as long as the session lives; hence no such plan.
FUNCTION = """
create function conversation.follow_activity() returns trigger
  language plpgsql set search_path = pg_catalog set enable_seqscan = off as $$
begin
  if tg_op = 'INSERT' then
    insert into conversation.conversation_activity (organization_id, state, activity_time, conversation_id)
    select organization_id, state, activity_time, conversation_id from after_rows;
  elsif tg_op = 'UPDATE' then
    delete from conversation.conversation_activity kept
    using (
      select organization_id, state, activity_time, conversation_id from before_rows
      except select organization_id, state, activity_time, conversation_id from after_rows
    ) gone
    where kept.organization_id = gone.organization_id and kept.state = gone.state
      and kept.activity_time = gone.activity_time and kept.conversation_id = gone.conversation_id;
    insert into conversation.conversation_activity (organization_id, state, activity_time, conversation_id)
    select organization_id, state, activity_time, conversation_id from after_rows
    except select organization_id, state, activity_time, conversation_id from before_rows;
  else
    delete from conversation.conversation_activity kept using before_rows gone
    where kept.organization_id = gone.organization_id and kept.state = gone.state
      and kept.activity_time = gone.activity_time and kept.conversation_id = gone.conversation_id;
  end if;
  return null;
end $$;
"""

TRIGGERS = """
create trigger follow_activity_of_new after insert on conversation.conversations
  referencing new table as after_rows for each statement execute function conversation.follow_activity();
create trigger follow_activity_of_changed after update on conversation.conversations
  referencing old table as before_rows new table as after_rows
  for each statement execute function conversation.follow_activity();
create trigger follow_activity_of_deleted after delete on conversation.conversations
  referencing old table as before_rows for each statement execute function conversation.follow_activity();
"""


def upgrade() -> None:
    """Makes the table and lets it follow."""
    run = op.get_bind().exec_driver_sql
    run(TABLE)
    run(migrations.organization_table(SERVICE, "conversation_activity"))
    run(f"alter table conversation.conversation_activity owner to {migrations.owner(SERVICE)}")
    run(FUNCTION)
    run(migrations.own_function(SERVICE, "follow_activity()"))
    run(TRIGGERS)


def downgrade() -> None:
    """Takes it away; what it holds can be read off the conversations."""
    run = op.get_bind().exec_driver_sql
    for event in ("new", "changed", "deleted"):
        run(f"drop trigger follow_activity_of_{event} on conversation.conversations")
    run("drop function conversation.follow_activity()")
    run("drop table conversation.conversation_activity")
