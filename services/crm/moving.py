"""Moves deals: one transaction each, in which the deal is locked, its history written and the fact announced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import NotFound
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from prosa.crm.v1 import crm_service_pb2 as pb
from services.crm import board_store, deal_store, messages, move_store, moves
from services.crm.domain import Board, Deal, DealState, Stage
from services.crm.moves import Mover, Remark

Change = pb.MoveDealRequest | pb.CloseDealRequest | pb.ReopenDealRequest
Decision = tuple[Stage, DealState] | None
"""Where the deal goes and what it becomes; None: it stays as it is, with what is said of it."""


@dataclass(frozen=True, slots=True)
class ChangeWanted:
    """What a call asks of one deal."""

    organization_id: UUID
    deal_id: UUID
    etag: str
    from_stage_id: UUID | None
    remark: Remark
    mover: Mover


class DealMoves:
    """Moves, closes and reopens deals."""

    def __init__(self, db: Database, outbox: Outbox, idempotency: IdempotencyStore, clock: Clock, ids: Ids) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids = clock, ids

    async def move(self, request: pb.MoveDealRequest, wanted: ChangeWanted) -> pb.Deal:
        """Moves a deal to the stage that is named. Raises as MoveDeal says."""

        async def decide(_: Tx, board: Board, deal: Deal) -> Decision:
            stage = moves.find_stage(board, request.stage)
            if stage.id == deal.stage_id:
                return None
            moves.deal_open(deal)
            return stage, stage.deal_state

        return await self._change(request, wanted, decide)

    async def close(self, request: pb.CloseDealRequest, state: DealState, wanted: ChangeWanted) -> pb.Deal:
        """Closes a deal as won or lost. Raises as CloseDeal says."""

        async def decide(_: Tx, board: Board, deal: Deal) -> Decision:
            if deal.state is state:
                return None
            moves.deal_open(deal)
            return moves.closing_stage(board, deal, state), state

        return await self._change(request, wanted, decide)

    async def reopen(self, request: pb.ReopenDealRequest, wanted: ChangeWanted) -> pb.Deal:
        """Opens a closed deal again. Raises as ReopenDeal says."""

        async def decide(tx: Tx, board: Board, deal: Deal) -> Decision:
            if deal.state is DealState.OPEN:
                return None
            last = await move_store.last_open_stage(tx, wanted.organization_id, deal.id)
            return moves.opening_stage(board, request.stage, last), DealState.OPEN

        return await self._change(request, wanted, decide)

    async def _change(
        self,
        request: Change,
        wanted: ChangeWanted,
        decide: Callable[[Tx, Board, Deal], Awaitable[Decision]],
    ) -> pb.Deal:
        organization_id, now = wanted.organization_id, self._clock.now()

        async def change(tx: Tx) -> pb.Deal:
            before = await deal_store.find_deal(tx, organization_id, wanted.deal_id, lock=True)
            if before is None:
                raise no_deal()
            await self._as_expected(tx, before, wanted)
            board = await board_store.find_board(tx, organization_id, str(before.board_id))
            if board is None:
                raise no_board()
            decision = await decide(tx, board, before)
            stage, state = decision or (moves.stage_of(board, before.stage_id), before.state)
            after = moves.moved(before, stage, state, wanted.remark, now)
            await self._keep(tx, before, after, wanted)
            return messages.deal_message(after)

        return await self._idempotency.once(self._db, organization_id, request, pb.Deal, now, change)

    async def _as_expected(self, tx: Tx, deal: Deal, wanted: ChangeWanted) -> None:
        moves.etag_fresh(deal, wanted.etag)
        if wanted.from_stage_id not in (None, deal.stage_id):
            last = await move_store.last_move(tx, wanted.organization_id, deal.id)
            moves.stage_expected(deal, wanted.from_stage_id, last)

    async def _keep(self, tx: Tx, before: Deal, after: Deal, wanted: ChangeWanted) -> None:
        """Writes deal, history and fact; nothing where nothing is another."""
        moved = moves.changed_place(before, after)
        move = moves.stage_move(self._ids.new(), before, after, wanted.mover, wanted.remark, self._clock.now())
        if moved or wanted.remark.note:
            await move_store.insert_move(tx, move)
        if after == before:
            return
        await deal_store.update_deal(tx, after)
        if moved:
            fact = messages.deal_moved(after, move)
        else:
            changed = [name for name in ("ai_summary", "loss_reason") if getattr(before, name) != getattr(after, name)]
            fact = messages.deal_updated(after, changed, wanted.mover.correlation_id)
        await self._outbox.add(tx, [fact], after.update_time)


def no_board() -> NotFound:
    """The organization has no such board."""
    return NotFound("BOARD_NOT_FOUND", "The organization has no such board.")


def no_deal() -> NotFound:
    """The organization has no such deal."""
    return NotFound("DEAL_NOT_FOUND", "The organization has no such deal.")
