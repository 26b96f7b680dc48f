"""Boards, deals and tasks as the contract's messages, and the facts about them."""

from __future__ import annotations

from collections.abc import Sequence

from chassis import wire
from chassis.enums import enum_number, wanted_text
from chassis.outbox import Fact
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1 import events_pb2
from prosa.v1 import options_pb2
from services.crm.deal_store import StageTotal
from services.crm.domain import Board, Deal, DealState, Money, ReconciliationTask, TaskState
from services.crm.moves import StageMove

_DEAL_STATES = {state: enum_number(pb.DealState, state) for state in DealState}
_TASK_STATES = {state: enum_number(pb.TaskState, state) for state in TaskState}
_DEAL_STATE_BY_NUMBER = {number: state for state, number in _DEAL_STATES.items()}


def to_deal_state(number: pb.DealState.ValueType) -> DealState | None:
    """The state in a request; None where it was left open."""
    return _DEAL_STATE_BY_NUMBER.get(number)


def wanted_deal_state(number: pb.DealState.ValueType) -> DealState | None:
    """What a list is filtered by, None for nothing. Raises InvalidArgument STATE_UNKNOWN."""
    text = wanted_text(pb.DealState, number)
    return None if text is None else DealState(text)


def wanted_task_state(number: pb.TaskState.ValueType) -> TaskState | None:
    """What a list is filtered by, None for nothing. Raises InvalidArgument STATE_UNKNOWN."""
    text = wanted_text(pb.TaskState, number)
    return None if text is None else TaskState(text)


def board_message(board: Board) -> pb.Board:
    """A board with its stages in their order."""
    return pb.Board(
        board_id=str(board.id),
        organization_id=str(board.organization_id),
        key=board.key,
        name=board.name,
        default_board=board.default_board,
        stages=[
            pb.Stage(
                stage_id=str(stage.id),
                label=stage.label,
                position=stage.position,
                color=stage.color,
                deal_state=_DEAL_STATES[stage.deal_state],
                aliases=stage.aliases,
            )
            for stage in board.stages
        ],
        create_time=wire.to_timestamp(board.create_time),
        etag=str(board.version),
    )


def deal_message(deal: Deal) -> pb.Deal:
    """A deal; its value stays unset where nobody gave one."""
    value = None if deal.value is None else _money(deal.value)
    return pb.Deal(
        deal_id=str(deal.id),
        organization_id=str(deal.organization_id),
        contact_id=str(deal.contact_id),
        board_id=str(deal.board_id),
        stage_id=str(deal.stage_id),
        title=deal.title,
        value=value,
        state=_DEAL_STATES[deal.state],
        create_time=wire.to_timestamp(deal.create_time),
        update_time=wire.to_timestamp(deal.update_time),
        etag=str(deal.version),
        stage_label=deal.stage_label,
        stage_change_time=wire.to_timestamp(deal.stage_change_time),
        close_time=wire.to_timestamp(deal.close_time),
        loss_reason=deal.loss_reason,
        ai_summary=deal.ai_summary,
    )


def move_message(move: StageMove) -> pb.StageMove:
    """One line of a deal's history."""
    return pb.StageMove(
        stage_move_id=str(move.id),
        organization_id=str(move.organization_id),
        deal_id=str(move.deal_id),
        board_id=str(move.board_id),
        from_stage_id=str(move.from_stage_id),
        from_stage_label=move.from_stage_label,
        to_stage_id=str(move.to_stage_id),
        to_stage_label=move.to_stage_label,
        from_state=_DEAL_STATES[move.from_state],
        to_state=_DEAL_STATES[move.to_state],
        actor=options_pb2.Actor(principal=move.mover.principal, name=move.mover.name),
        source=move.mover.source.value,
        ai_summary=move.ai_summary,
        note=move.note,
        correlation_id=move.mover.correlation_id,
        create_time=wire.to_timestamp(move.create_time),
    )


def totals_message(board: Board, totals: Sequence[StageTotal]) -> pb.BoardTotals:
    """What a board's deals add up to, stage by stage in their order; empty stages too."""
    answer = pb.BoardTotals(board_id=str(board.id))
    for stage in board.stages:
        of_stage = [total for total in totals if total.stage_id == stage.id]
        answer.stages.add(
            stage_id=str(stage.id),
            deal_count=sum(total.deal_count for total in of_stage),
            values=[_money(total.value) for total in of_stage if total.value is not None],
        )
    return answer


def task_message(task: ReconciliationTask) -> pb.ReconciliationTask:
    """A reconciliation task."""
    return pb.ReconciliationTask(
        reconciliation_task_id=str(task.id),
        organization_id=str(task.organization_id),
        source=enum_number(options_pb2.Source, task.source),
        external_id=task.external_id,
        contact_id=wire.text(task.contact_id),
        candidate_contact_ids=[str(contact_id) for contact_id in task.candidate_contact_ids],
        state=_TASK_STATES[task.state],
        create_time=wire.to_timestamp(task.create_time),
        kind=pb.TASK_KIND_IDENTITY_CONFLICT,
        identity_conflict_id=str(task.identity_conflict_id),
        surviving_contact_id=wire.text(task.surviving_contact_id),
        merged=task.merged,
        contact_merge_ids=[str(merge_id) for merge_id in task.contact_merge_ids],
        decide_time=wire.to_timestamp(task.decide_time),
        decided_by=_decider(task),
        etag=str(task.version),
    )


def board_created(board: Board) -> Fact:
    """The fact that a board came to be."""
    message = events_pb2.BoardCreated(organization_id=str(board.organization_id), board=board_message(board))
    return Fact(board.organization_id, message)


def deal_created(deal: Deal, cause_id: str = "") -> Fact:
    """The fact that a deal was opened, under the correlation id of what caused it."""
    message = events_pb2.DealCreated(
        organization_id=str(deal.organization_id), deal=deal_message(deal), version=deal.version
    )
    return Fact(deal.organization_id, message, correlation_id=cause_id)


def deal_moved(deal: Deal, move: StageMove) -> Fact:
    """The fact that a deal went to another stage or state."""
    message = events_pb2.DealMoved(
        organization_id=str(deal.organization_id),
        deal=deal_message(deal),
        stage_move=move_message(move),
        version=deal.version,
    )
    return Fact(deal.organization_id, message, correlation_id=move.mover.correlation_id)


def deal_updated(deal: Deal, changed_fields: Sequence[str], correlation_id: str) -> Fact:
    """The fact that something of a deal is another now, and its place is not."""
    message = events_pb2.DealUpdated(
        organization_id=str(deal.organization_id),
        deal=deal_message(deal),
        changed_fields=changed_fields,
        version=deal.version,
    )
    return Fact(deal.organization_id, message, correlation_id=correlation_id)


def task_opened(task: ReconciliationTask, correlation_id: str) -> Fact:
    """The fact that people have something to decide, under the correlation id of the conflict."""
    message = events_pb2.ReconciliationTaskOpened(organization_id=str(task.organization_id), task=task_message(task))
    return Fact(task.organization_id, message, correlation_id)


def task_decided(task: ReconciliationTask, correlation_id: str) -> Fact:
    """The fact that people decided a task."""
    message = events_pb2.ReconciliationTaskDecided(organization_id=str(task.organization_id), task=task_message(task))
    return Fact(task.organization_id, message, correlation_id)


def _decider(task: ReconciliationTask) -> options_pb2.Actor | None:
    if not task.decider_principal:
        return None
    return options_pb2.Actor(principal=task.decider_principal, name=task.decider_name)


def _money(value: Money) -> options_pb2.Money:
    return options_pb2.Money(minor_units=value.minor_units, currency=value.currency)
