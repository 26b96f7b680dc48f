"""CrmService: translate, call, translate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
import structlog

from chassis import auth, wire
from chassis.bisect import bisect, patiently
from chassis.clock import Clock
from chassis.context import correlation_id
from chassis.db import Database, Tx
from chassis.errors import ProsaError, to_status
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import read_page
from chassis.references import Check
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1 import crm_service_pb2_grpc as pb_grpc
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from services.crm import board_store, deal_store, domain, messages, move_store, moves, task_store
from services.crm.deciding import Deciding, Decisions, Wish
from services.crm.domain import DealState
from services.crm.ensure import Ensured, Ensurer, Wanted
from services.crm.moves import Mover, MoveSource, Remark
from services.crm.moving import Change, ChangeWanted, DealMoves, no_board, no_deal

SURFACE_METADATA = "x-prosa-surface"
"""By which the gateway says that a call came in on an address of old."""
_SOURCES = {"user": MoveSource.UI, "key": MoveSource.API, "service": MoveSource.CLI}

NIL = UUID(int=0)
"""Before every id: where a list that runs upwards begins."""


logger = structlog.get_logger(__name__)


class CrmServicer(pb_grpc.CrmServiceServicer):
    """Boards, deals and reconciliation tasks of one organization, and the batch that ensures deals."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        check_contact: Check,
        decisions: Decisions,
    ) -> None:
        self._decisions = decisions
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids = clock, ids
        self._check_contact = check_contact
        self._moves = DealMoves(db, outbox, idempotency, clock, ids)
        self._ensurer = Ensurer(db, outbox, clock, ids)

    async def BatchEnsureDeals(
        self,
        request: pb.BatchEnsureDealsRequest,
        context: grpc.aio.ServicerContext[pb.BatchEnsureDealsRequest, pb.BatchEnsureDealsResponse],
    ) -> pb.BatchEnsureDealsResponse:
        results: list[Ensured | ProsaError | None] = [None] * len(request.deals)
        places: list[int] = []
        items: list[Wanted] = []
        for place, item in enumerate(request.deals):
            try:
                items.append(_wanted(item))
                places.append(place)
            except ProsaError as error:
                results[place] = error
        if items:
            for place, result in zip(places, await bisect(items, patiently(self._ensurer.ensure)), strict=True):
                results[place] = result
        logger.info("deals_ensured", correlation_ids=[item.cause_id for item in request.deals])
        response = pb.BatchEnsureDealsResponse()
        for outcome in results:
            _write_result(response.results.add(), outcome)
        return response

    async def CreateBoard(
        self, request: pb.CreateBoardRequest, context: grpc.aio.ServicerContext[pb.CreateBoardRequest, pb.Board]
    ) -> pb.Board:
        organization_id, now = auth.organization_id(), self._clock.now()
        name = domain.board_name(request.name)
        key = domain.board_key(request.key, name)
        plans = domain.plan_stages(
            [
                (stage.label, stage.color, _state_or_open(stage.deal_state), tuple(stage.aliases))
                for stage in request.stages
            ]
        )

        async def create(tx: Tx) -> pb.Board:
            await board_store.lock_boards(tx, [organization_id])
            first = not await board_store.having_boards(tx, [organization_id])
            if request.default_board and not first:
                await board_store.clear_default(tx, organization_id)
            board = domain.new_board(
                self._ids.new,
                organization_id,
                key=key,
                name=name,
                plans=plans,
                default_board=first or request.default_board,
                now=now,
            )
            await board_store.insert_boards(tx, [board])
            await self._outbox.add(tx, [messages.board_created(board)], now)
            return messages.board_message(board)

        return await self._idempotency.once(self._db, organization_id, request, pb.Board, now, create)

    async def GetBoard(
        self, request: pb.GetBoardRequest, context: grpc.aio.ServicerContext[pb.GetBoardRequest, pb.Board]
    ) -> pb.Board:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            board = await board_store.find_board(tx, organization_id, request.board) if request.board else None
        if board is None:
            raise no_board()
        return messages.board_message(board)

    async def ListBoards(
        self,
        request: pb.ListBoardsRequest,
        context: grpc.aio.ServicerContext[pb.ListBoardsRequest, pb.ListBoardsResponse],
    ) -> pb.ListBoardsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        async with self._db.transaction(organization_id) as tx:
            boards = await board_store.list_boards(tx, organization_id, page.after_id() or NIL, page.size + 1)
        shown, token = page.cut(boards, lambda board: (board.id,))
        return pb.ListBoardsResponse(boards=[messages.board_message(board) for board in shown], next_page_token=token)

    async def CreateDeal(
        self, request: pb.CreateDealRequest, context: grpc.aio.ServicerContext[pb.CreateDealRequest, pb.Deal]
    ) -> pb.Deal:
        organization_id, now = auth.organization_id(), self._clock.now()
        contact_id = wire.to_uuid("contact_id", request.contact_id)
        await self._check_contact(organization_id, contact_id)
        stage_id = wire.to_optional_uuid("stage_id", request.stage_id)
        value = None
        if request.HasField("value"):
            value = domain.deal_value(request.value.minor_units, request.value.currency)

        async def create(tx: Tx) -> pb.Deal:
            board = await board_store.find_board(tx, organization_id, request.board)
            if board is None:
                raise no_board()
            stage = board.first_stage if stage_id is None else moves.stage_of(board, stage_id)
            deal = domain.new_deal(
                self._ids.new(),
                organization_id,
                contact_id,
                board_id=board.id,
                stage_id=stage.id,
                stage_label=stage.label,
                title=request.title,
                state=stage.deal_state,
                value=value,
                now=now,
            )
            await deal_store.insert_deals(tx, [deal])
            await self._outbox.add(tx, [messages.deal_created(deal)], now)
            return messages.deal_message(deal)

        return await self._idempotency.once(self._db, organization_id, request, pb.Deal, now, create)

    async def GetDeal(
        self, request: pb.GetDealRequest, context: grpc.aio.ServicerContext[pb.GetDealRequest, pb.Deal]
    ) -> pb.Deal:
        organization_id = auth.organization_id()
        deal_id = wire.to_uuid("deal_id", request.deal_id)
        async with self._db.transaction(organization_id) as tx:
            deal = await deal_store.find_deal(tx, organization_id, deal_id)
        if deal is None:
            raise no_deal()
        return messages.deal_message(deal)

    async def ListDeals(
        self,
        request: pb.ListDealsRequest,
        context: grpc.aio.ServicerContext[pb.ListDealsRequest, pb.ListDealsResponse],
    ) -> pb.ListDealsResponse:
        organization_id, page = auth.organization_id(), read_page(request, key_length=2)
        wanted = deal_store.DealFilter(
            board_id=wire.to_optional_uuid("board_id", request.board_id),
            stage_id=wire.to_optional_uuid("stage_id", request.stage_id),
            state=messages.wanted_deal_state(request.state),
            by_stage_change=request.order == pb.DEAL_ORDER_STAGE_CHANGE_TIME,
        )
        after = page.after_moment()
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        async with self._db.transaction(organization_id) as tx:
            if contact_id is not None:
                wanted = replace(wanted, contact_ids=tuple(await deal_store.REDIRECTS.one_with(tx, contact_id)))
            deals = await deal_store.list_deals(tx, organization_id, wanted, after, page.size + 1)
        shown, token = page.cut(deals, lambda deal: (deal.stage_change_time.isoformat(), deal.id))
        return pb.ListDealsResponse(deals=[messages.deal_message(deal) for deal in shown], next_page_token=token)

    async def MoveDeal(
        self, request: pb.MoveDealRequest, context: grpc.aio.ServicerContext[pb.MoveDealRequest, pb.Deal]
    ) -> pb.Deal:
        remark = Remark(request.ai_summary, request.note, request.loss_reason)
        from_stage_id = wire.to_optional_uuid("from_stage_id", request.from_stage_id)
        return await self._moves.move(request, _change(request, context, remark, from_stage_id))

    async def CloseDeal(
        self, request: pb.CloseDealRequest, context: grpc.aio.ServicerContext[pb.CloseDealRequest, pb.Deal]
    ) -> pb.Deal:
        remark = Remark(note=request.note, loss_reason=request.loss_reason)
        state = messages.to_deal_state(request.state)
        assert state is not None, "the contract takes won and lost alone"
        return await self._moves.close(request, state, _change(request, context, remark))

    async def ReopenDeal(
        self, request: pb.ReopenDealRequest, context: grpc.aio.ServicerContext[pb.ReopenDealRequest, pb.Deal]
    ) -> pb.Deal:
        return await self._moves.reopen(request, _change(request, context, Remark()))

    async def ListStageMoves(
        self,
        request: pb.ListStageMovesRequest,
        context: grpc.aio.ServicerContext[pb.ListStageMovesRequest, pb.ListStageMovesResponse],
    ) -> pb.ListStageMovesResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        deal_id = wire.to_optional_uuid("deal_id", request.deal_id)
        board_id = wire.to_optional_uuid("board_id", request.board_id)
        async with self._db.transaction(organization_id) as tx:
            if deal_id is not None and await deal_store.find_deal(tx, organization_id, deal_id) is None:
                raise no_deal()
            found = await move_store.list_moves(
                tx,
                organization_id,
                deal_id=deal_id,
                board_id=board_id,
                before=page.after_id(),
                row_limit=page.size + 1,
            )
        shown, token = page.cut(found, lambda move: (move.id,))
        return pb.ListStageMovesResponse(
            stage_moves=[messages.move_message(move) for move in shown], next_page_token=token
        )

    async def GetBoardTotals(
        self,
        request: pb.GetBoardTotalsRequest,
        context: grpc.aio.ServicerContext[pb.GetBoardTotalsRequest, pb.BoardTotals],
    ) -> pb.BoardTotals:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            board = await board_store.find_board(tx, organization_id, request.board) if request.board else None
            if board is None:
                raise no_board()
            totals = await deal_store.stage_totals(tx, organization_id, board.id)
        return messages.totals_message(board, totals)

    async def ListReconciliationTasks(
        self,
        request: pb.ListReconciliationTasksRequest,
        context: grpc.aio.ServicerContext[pb.ListReconciliationTasksRequest, pb.ListReconciliationTasksResponse],
    ) -> pb.ListReconciliationTasksResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        state = messages.wanted_task_state(request.state)
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        async with self._db.transaction(organization_id) as tx:
            tasks = await task_store.list_tasks(tx, organization_id, state, page.after_id(), page.size + 1, contact_id)
        shown, token = page.cut(tasks, lambda task: (task.id,))
        return pb.ListReconciliationTasksResponse(
            tasks=[messages.task_message(task) for task in shown], next_page_token=token
        )

    async def AcceptReconciliationTask(
        self,
        request: pb.AcceptReconciliationTaskRequest,
        context: grpc.aio.ServicerContext[pb.AcceptReconciliationTaskRequest, pb.ReconciliationTask],
    ) -> pb.ReconciliationTask:
        decision = identity_pb.CONFLICT_DECISION_MERGE if request.merge else identity_pb.CONFLICT_DECISION_LINK
        surviving = wire.to_uuid("surviving_contact_id", request.surviving_contact_id)
        return await self._decisions.decide(request, _wish(request, decision, surviving))

    async def RejectReconciliationTask(
        self,
        request: pb.RejectReconciliationTaskRequest,
        context: grpc.aio.ServicerContext[pb.RejectReconciliationTaskRequest, pb.ReconciliationTask],
    ) -> pb.ReconciliationTask:
        return await self._decisions.decide(request, _wish(request, identity_pb.CONFLICT_DECISION_REJECT, None))


def _wish(request: Deciding, decision: identity_pb.ConflictDecision.ValueType, surviving: UUID | None) -> Wish:
    caller = auth.caller()
    return Wish(
        organization_id=auth.organization_id(),
        task_id=wire.to_uuid("reconciliation_task_id", request.reconciliation_task_id),
        etag=request.etag,
        decision=decision,
        surviving_contact_id=surviving,
        principal=caller.principal,
        name=caller.name,
    )


def _wanted(item: pb.DealWanted) -> Wanted:
    return Wanted(
        organization_id=wire.to_id("organization_id", item.organization_id),
        contact_id=wire.to_id("contact_id", item.contact_id),
        board_id=wire.to_optional_id("board_id", item.board_id),
        title=item.title,
        cause_id=item.cause_id,
        existing_only=item.existing_only,
    )


def _write_result(answer: pb.EnsureDealResult, result: Ensured | ProsaError | None) -> None:
    assert result is not None, "every item is either refused or ensured"
    if isinstance(result, ProsaError):
        answer.error.CopyFrom(to_status(result))
        return
    # Written in place: a message that is made apart would be copied into the answer.
    deal = answer.deal
    deal.deal_id = result.deal_id
    deal.board_id = result.board_id
    deal.stage_id = result.stage_id
    deal.stage_label = result.stage_label
    deal.created = result.created


def _state_or_open(number: pb.DealState.ValueType) -> DealState:
    return messages.to_deal_state(number) or DealState.OPEN


def _change(
    request: Change,
    context: grpc.aio.ServicerContext[Any, Any],
    remark: Remark,
    from_stage_id: UUID | None = None,
) -> ChangeWanted:
    caller = auth.caller()
    metadata = dict(context.invocation_metadata() or ())
    source = _SOURCES[caller.kind]
    if source is MoveSource.API and metadata.get(SURFACE_METADATA) == MoveSource.LEGACY:
        source = MoveSource.LEGACY
    return ChangeWanted(
        organization_id=auth.organization_id(),
        deal_id=wire.to_uuid("deal_id", request.deal_id),
        etag=request.etag,
        from_stage_id=from_stage_id,
        remark=remark,
        mover=Mover(caller.principal, caller.name, source, correlation_id.get()),
    )
