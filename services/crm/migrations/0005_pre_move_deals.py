"""Keeps a deal's history of stages, what was last said of it, and further labels that stages are known by."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "crm_0005"
down_revision = "crm_0004"
branch_labels = None
depends_on = None

SERVICE = "crm"

# An older process still makes deals without them: a deal without a time has been in its stage since it was made.
DEALS = """
alter table crm.deals
  add column stage_change_time timestamptz,
  add column close_time timestamptz,
  add column loss_reason text not null default '',
  add column ai_summary text not null default '';
"""

BY_STAGE_CHANGE = """
create index concurrently deals_by_stage_change on crm.deals
  (organization_id, stage_id, (coalesce(stage_change_time, create_time)), id)
"""

STAGES = "alter table crm.stages add column aliases text[] not null default '{}';"

STAGE_MOVES = """
create table crm.stage_moves (
  organization_id uuid not null,
  id uuid not null,
  deal_id uuid not null,
  board_id uuid not null,
  from_stage_id uuid not null,
  from_stage_label text not null,
  to_stage_id uuid not null,
  to_stage_label text not null,
  from_state text not null,
  to_state text not null,
  principal text not null,
  principal_name text not null,
  source text not null,
  correlation_id text not null,
  ai_summary text not null,
  note text not null,
  create_time timestamptz not null,
  primary key (organization_id, id),
  constraint stage_moves_deal foreign key (organization_id, deal_id) references crm.deals (organization_id, id),
  constraint stage_moves_states_known check
    (from_state in ('OPEN', 'WON', 'LOST') and to_state in ('OPEN', 'WON', 'LOST')),
  constraint stage_moves_source_known check (source in ('ui', 'api', 'cli', 'legacy'))
);
-- squawk-ignore require-concurrent-index-creation
create index stage_moves_by_deal on crm.stage_moves (organization_id, deal_id, id);
-- squawk-ignore require-concurrent-index-creation
create index stage_moves_by_board on crm.stage_moves (organization_id, board_id, id);
"""

ALIASES = {
    "Informações Fornecidas": "{Info Fornecidas}",
    "Direcionado para Canal Oficial": '{"Direcionado Canal Oficial","Canal Oficial"}',
}
"""What existing flows call stages of the standard board, by the stage's label."""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(DEALS)
    run(STAGES)
    with migrations.all_rows(run, SERVICE, "stages", "boards"):
        for label, aliases in ALIASES.items():
            run(
                f"update crm.stages s set aliases = '{aliases}' from crm.boards b where s.label = '{label}' and"
                " b.organization_id = s.organization_id and b.id = s.board_id and b.key = 'atendimento'"
            )
    run(STAGE_MOVES)
    run(migrations.organization_table(SERVICE, "stage_moves"))
    run(f"alter table crm.stage_moves owner to {migrations.owner(SERVICE)}")
    with op.get_context().autocommit_block():
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists crm.deals_by_stage_change")
        run(BY_STAGE_CHANGE)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        run("drop index concurrently if exists crm.deals_by_stage_change")
    run("drop table crm.stage_moves")
    run("alter table crm.stages drop column aliases")
    run(
        "alter table crm.deals drop column stage_change_time, drop column close_time, drop column loss_reason,"
        " drop column ai_summary"
    )
