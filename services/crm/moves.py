"""Moving deals: which stage is meant, what becomes of the deal, and what its history says. No I/O, no protobuf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import orjson

from chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from services.crm.domain import Board, Deal, DealState, Stage, fold, one_line


class MoveSource(StrEnum):
    """By what way a deal was moved."""

    UI = "ui"
    API = "api"
    CLI = "cli"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Mover:
    """Who moves a deal, and by what way."""

    principal: str
    name: str
    source: MoveSource
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What is said with a move; empty texts leave what stands."""

    ai_summary: str = ""
    note: str = ""
    loss_reason: str = ""


@dataclass(frozen=True, slots=True)
class StageMove:
    """One change of a deal's stage or state, with the labels as they were."""

    organization_id: UUID
    id: UUID
    deal_id: UUID
    board_id: UUID
    from_stage_id: UUID
    from_stage_label: str
    to_stage_id: UUID
    to_stage_label: str
    from_state: DealState
    to_state: DealState
    mover: Mover
    ai_summary: str
    note: str
    create_time: datetime


def find_stage(board: Board, wanted: str) -> Stage:
    """The stage with this id, else this label, else one that reads so without case and accents, else this alias.

    Labels and aliases of a board differ in more than case and accents, so no two can be meant. Raises NotFound
    STAGE_NOT_FOUND with the board's labels, for a flow's author to choose from.
    """
    text = one_line(wanted)
    folded = fold(text)
    ways: tuple[Callable[[Stage], bool], ...] = (
        lambda stage: str(stage.id) == text.lower(),
        lambda stage: stage.label == text,
        lambda stage: fold(stage.label) == folded,
        lambda stage: folded in map(fold, stage.aliases),
    )
    for answers in ways:
        for stage in board.stages:
            if answers(stage):
                return stage
    labels = [stage.label for stage in board.stages]
    raise NotFound(
        "STAGE_NOT_FOUND",
        f"The board {board.name} has no stage {text!r}. It has: {', '.join(labels)}.",
        stages=orjson.dumps(labels).decode(),
    )


def closing_stage(board: Board, deal: Deal, state: DealState) -> Stage:
    """Where a deal that is won or lost goes: the board's first stage of that state, else it stays where it is."""
    for stage in board.stages:
        if stage.deal_state is state:
            return stage
    return stage_of(board, deal.stage_id)


def opening_stage(board: Board, wanted: str, last_open_stage_id: UUID | None) -> Stage:
    """Where a reopened deal goes: the stage named, else the open one it was in last, else the board's first.

    Raises NotFound STAGE_NOT_FOUND, InvalidArgument STAGE_CLOSES.
    """
    if not wanted:
        stages = {stage.id: stage for stage in board.stages if stage.deal_state is DealState.OPEN}
        return stages.get(last_open_stage_id, board.first_stage) if last_open_stage_id else board.first_stage
    stage = find_stage(board, wanted)
    if stage.deal_state is not DealState.OPEN:
        raise InvalidArgument(
            "STAGE_CLOSES", f"A deal in {stage.label} is closed. Name a stage in which deals are open."
        )
    return stage


def stage_of(board: Board, stage_id: UUID) -> Stage:
    """The stage of the board with this id. Raises NotFound STAGE_NOT_FOUND."""
    return find_stage(board, str(stage_id))


def etag_fresh(deal: Deal, etag: str) -> None:
    """Raises Aborted ETAG_STALE where the etag is another version's; an empty one means any."""
    if etag and etag != str(deal.version):
        raise Aborted("ETAG_STALE", "The deal was changed since you read it. Read it again, then decide.")


def stage_expected(deal: Deal, from_stage_id: UUID | None, last: StageMove | None) -> None:
    """Raises Aborted DEAL_MOVED_MEANWHILE where the deal is elsewhere, with who moved it."""
    if from_stage_id is None or from_stage_id == deal.stage_id:
        return
    who = last.mover.name or last.mover.principal if last else ""
    by = f" by {who}" if who else ""
    raise Aborted(
        "DEAL_MOVED_MEANWHILE",
        f"The deal was moved to {deal.stage_label}{by} meanwhile. Look at it again, then decide.",
        stage_id=str(deal.stage_id),
        stage_label=deal.stage_label,
        moved_by=who,
        moved_time=last.create_time.isoformat() if last else "",
    )


def deal_open(deal: Deal) -> None:
    """Raises FailedPrecondition DEAL_CLOSED."""
    if deal.state is not DealState.OPEN:
        how = "won" if deal.state is DealState.WON else "lost"
        raise FailedPrecondition("DEAL_CLOSED", f"The deal is {how}. Reopen it first.", state=deal.state.value)


def moved(deal: Deal, stage: Stage, state: DealState, remark: Remark, now: datetime) -> Deal:
    """The deal in another stage, or in its own with another state or summary; the same deal where nothing changes."""
    after = replace(
        deal,
        stage_id=stage.id,
        stage_label=stage.label,
        state=state,
        ai_summary=remark.ai_summary or deal.ai_summary,
        loss_reason=(remark.loss_reason or deal.loss_reason) if state is DealState.LOST else "",
    )
    if changed_place(deal, after):
        closed = deal.close_time if state is deal.state else now
        after = replace(after, stage_change_time=now, close_time=None if state is DealState.OPEN else closed)
    return deal if after == deal else replace(after, version=deal.version + 1, update_time=now)


def changed_place(before: Deal, after: Deal) -> bool:
    """Whether stage or state differ: whether it is a move."""
    return (before.stage_id, before.state) != (after.stage_id, after.state)


def stage_move(move_id: UUID, before: Deal, after: Deal, mover: Mover, remark: Remark, now: datetime) -> StageMove:
    """What the history says of a move."""
    return StageMove(
        organization_id=before.organization_id,
        id=move_id,
        deal_id=before.id,
        board_id=before.board_id,
        from_stage_id=before.stage_id,
        from_stage_label=before.stage_label,
        to_stage_id=after.stage_id,
        to_stage_label=after.stage_label,
        from_state=before.state,
        to_state=after.state,
        mover=mover,
        ai_summary=remark.ai_summary,
        note=remark.note,
        create_time=now,
    )
