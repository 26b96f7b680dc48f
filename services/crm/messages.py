"""Boards, deals and tasks as the contract's messages, and the facts about them."""

from __future__ import annotations

from chassis import wire
from chassis.outbox import Fact
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1 import events_pb2
from prosa.v1 import options_pb2
from services.crm.domain import Board, Deal, DealState, ReconciliationTask, TaskState

_DEAL_STATES = {state: pb.DealState.Value(f"DEAL_STATE_{state}") for state in DealState}
_TASK_STATES = {state: pb.TaskState.Value(f"TASK_STATE_{state}") for state in TaskState}
_DEAL_STATE_BY_NUMBER = {number: state for state, number in _DEAL_STATES.items()}
_TASK_STATE_BY_NUMBER = {number: state for state, number in _TASK_STATES.items()}


def to_deal_state(number: pb.DealState.ValueType) -> DealState | None:
    """The state in a request; None where it was left open."""
    return _DEAL_STATE_BY_NUMBER.get(number)


def to_task_state(number: pb.TaskState.ValueType) -> TaskState | None:
    """The state in a request; None where it was left open."""
    return _TASK_STATE_BY_NUMBER.get(number)


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
            )
            for stage in board.stages
        ],
        create_time=wire.to_timestamp(board.create_time),
        etag=str(board.version),
    )


def deal_message(deal: Deal) -> pb.Deal:
    """A deal; its value stays unset where nobody gave one."""
    value = None
    if deal.value is not None:
        value = options_pb2.Money(minor_units=deal.value.minor_units, currency=deal.value.currency)
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
    )


def task_message(task: ReconciliationTask) -> pb.ReconciliationTask:
    """A reconciliation task."""
    return pb.ReconciliationTask(
        reconciliation_task_id=str(task.id),
        organization_id=str(task.organization_id),
        source=options_pb2.Source.Value(f"SOURCE_{task.source}"),
        external_id=task.external_id,
        contact_id=wire.text(task.contact_id),
        candidate_contact_ids=[str(contact_id) for contact_id in task.candidate_contact_ids],
        state=_TASK_STATES[task.state],
        create_time=wire.to_timestamp(task.create_time),
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


def task_opened(task: ReconciliationTask, correlation_id: str) -> Fact:
    """The fact that people have something to decide, under the correlation id of the conflict."""
    message = events_pb2.ReconciliationTaskOpened(organization_id=str(task.organization_id), task=task_message(task))
    return Fact(task.organization_id, message, correlation_id)
