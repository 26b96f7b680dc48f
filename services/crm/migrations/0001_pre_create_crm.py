"""Creates boards, stages, deals, the deals that ensure answers, and reconciliation tasks."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "crm_0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICE = "crm"

BOARDS = """
create table crm.boards (
  organization_id uuid not null,
  id uuid not null,
  key text not null,
  name text not null,
  default_board boolean not null,
  version bigint not null,
  create_time timestamptz not null,
  delete_time timestamptz,
  primary key (organization_id, id),
  constraint boards_key_form check (key ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(key) <= 100),
  constraint boards_name_length check (length(name) between 1 and 200),
  constraint boards_default_lives check (not (default_board and delete_time is not null))
);
-- A key may be used again once its board is gone.
create unique index boards_live_key on crm.boards (organization_id, key) where delete_time is null;
create unique index boards_one_default on crm.boards (organization_id) where default_board;
"""

STAGES = """
create table crm.stages (
  organization_id uuid not null,
  id uuid not null,
  board_id uuid not null,
  label text not null,
  position int not null,
  color text not null,
  deal_state text not null,
  primary key (organization_id, id),
  constraint stages_of_board foreign key (organization_id, board_id) references crm.boards (organization_id, id),
  constraint stages_board_position unique (organization_id, board_id, position),
  constraint stages_board_label unique (organization_id, board_id, label),
  -- What a deal's foreign key rests on: a stage of the very board the deal is on.
  constraint stages_board_stage unique (organization_id, board_id, id),
  constraint stages_position_counted check (position >= 0),
  constraint stages_label_length check (length(label) between 1 and 100),
  constraint stages_color_form check (color ~ '^#[0-9A-F]{6}$'),
  constraint stages_deal_state_known check (deal_state in ('OPEN', 'WON', 'LOST'))
);
"""

# contact_id is a value of identity's: no foreign key crosses services.
DEALS = """
create table crm.deals (
  organization_id uuid not null,
  id uuid not null,
  contact_id uuid not null,
  board_id uuid not null,
  stage_id uuid not null,
  title text not null,
  value_minor_units bigint,
  value_currency text,
  state text not null,
  version bigint not null,
  create_time timestamptz not null,
  update_time timestamptz not null,
  primary key (organization_id, id),
  constraint deals_on_stage foreign key (organization_id, board_id, stage_id)
    references crm.stages (organization_id, board_id, id),
  constraint deals_title_length check (length(title) between 1 and 500),
  constraint deals_value_whole check ((value_minor_units is null) = (value_currency is null)),
  constraint deals_value_not_negative check (value_minor_units >= 0),
  constraint deals_currency_form check (value_currency ~ '^[A-Z]{3}$'),
  constraint deals_state_known check (state in ('OPEN', 'WON', 'LOST'))
);
-- Lists run newest first by id, which is a UUIDv7; the first index also finds the open deals of a contact on a board.
create index deals_by_contact on crm.deals (organization_id, contact_id, board_id, id);
create index deals_by_board on crm.deals (organization_id, board_id, id);
create index deals_by_stage on crm.deals (organization_id, stage_id, id);
create index deals_by_state on crm.deals (organization_id, state, id);
"""

# The row that 50 first messages wait for. A unique key on deals could not let people open further ones by hand.
ENSURED_DEALS = """
create table crm.ensured_deals (
  organization_id uuid not null,
  contact_id uuid not null,
  board_id uuid not null,
  deal_id uuid not null,
  primary key (organization_id, contact_id, board_id),
  -- Deferred, because the row is claimed before its deal is written.
  constraint ensured_deals_deal foreign key (organization_id, deal_id) references crm.deals (organization_id, id)
    deferrable initially deferred
);
"""

RECONCILIATION_TASKS = """
create table crm.reconciliation_tasks (
  organization_id uuid not null,
  id uuid not null,
  identity_conflict_id uuid not null,
  source text not null,
  external_id text not null,
  contact_id uuid,
  candidate_contact_ids uuid[] not null,
  state text not null,
  create_time timestamptz not null,
  primary key (organization_id, id),
  constraint reconciliation_tasks_conflict unique (organization_id, identity_conflict_id),
  constraint reconciliation_tasks_source_known check (source in ('WHATSAPP', 'INSTAGRAM')),
  constraint reconciliation_tasks_state_known check (state in ('OPEN', 'ACCEPTED', 'REJECTED'))
);
create index reconciliation_tasks_by_state on crm.reconciliation_tasks (organization_id, state, id);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for tables in (BOARDS, STAGES, DEALS, ENSURED_DEALS, RECONCILIATION_TASKS):
        run(tables)
    for table in ("boards", "stages", "deals", "ensured_deals", "reconciliation_tasks"):
        run(migrations.organization_table(SERVICE, table))
    run(migrations.finish(SERVICE))
    run("select crm.maintain(now())")


def downgrade() -> None:
    run(migrations.drop_everything(SERVICE))
