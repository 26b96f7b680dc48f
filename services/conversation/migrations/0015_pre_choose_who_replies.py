"""Keeps personas, and how conversations are answered."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0015"
down_revision = "conversation_0014"
branch_labels = None
depends_on = None

SERVICE = "conversation"

PERSONAS = """
create table conversation.personas (
  organization_id uuid not null,
  persona_id uuid not null,
  name text not null,
  morning_greeting text not null,
  afternoon_greeting text not null,
  evening_greeting text not null,
  style text not null,
  language text not null,
  temperature double precision not null,
  text_length_max bigint not null,
  fallback_texts jsonb not null,
  -- [intent, phrases, texts] each.
  reply_templates jsonb not null,
  create_time timestamptz not null,
  version bigint not null,
  primary key (organization_id, persona_id),
  constraint personas_name unique (organization_id, name)
);
"""

CONVERSATION_SETTINGS = """
create table conversation.conversation_settings (
  organization_id uuid primary key,
  automation_enabled boolean not null,
  reply_mode text not null,
  persona_id uuid,
  debounce_seconds bigint not null,
  debounce_max_seconds bigint not null,
  model_base_url text not null,
  model_name text not null,
  model_key_sealed bytea,
  model_day_token_limit bigint not null,
  update_time timestamptz not null,
  version bigint not null,
  constraint conversation_settings_reply_mode_known check (reply_mode in ('OFF', 'SCRIPTED', 'MODEL'))
);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for statement in (PERSONAS, CONVERSATION_SETTINGS):
        run(statement)
    for table in ("personas", "conversation_settings"):
        run(f"alter table conversation.{table} owner to {migrations.owner(SERVICE)}")
        run(migrations.organization_table(SERVICE, table))


def downgrade() -> None:
    run("drop table conversation.conversation_settings; drop table conversation.personas;")
