"""CrmService: translate, call, translate."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import grpc
import structlog

from chassis import auth, wire
from chassis.bisect import bisect, patiently
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import NotFound, ProsaError, to_status
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import Page, read_page
from chassis.references import Check
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1 import crm_service_pb2_grpc as pb_grpc
from services.crm import board_store, deal_store, domain, messages, task_store
from services.crm.domain import Board, Deal, DealState
from services.crm.ensure import Ensured, Ensurer, Wanted

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
    ) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids = clock, ids
        self._check_contact = check_contact
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
            [(stage.label, stage.color, _state_or_open(stage.deal_state)) for stage in request.stages]
        )
        async with self._db.transaction(organization_id) as tx:
            answer = await self._idempotency.claim(tx, organization_id, "CreateBoard", request, pb.Board, now)
            if answer is not None:
                return answer
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
            answer = messages.board_message(board)
            await self._outbox.add(tx, [messages.board_created(board)], now)
            await self._idempotency.keep(tx, organization_id, request, answer)
        return answer

    async def GetBoard(
        self, request: pb.GetBoardRequest, context: grpc.aio.ServicerContext[pb.GetBoardRequest, pb.Board]
    ) -> pb.Board:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            board = await board_store.find_board(tx, organization_id, request.board) if request.board else None
        if board is None:
            raise _no_board()
        return messages.board_message(board)

    async def ListBoards(
        self,
        request: pb.ListBoardsRequest,
        context: grpc.aio.ServicerContext[pb.ListBoardsRequest, pb.ListBoardsResponse],
    ) -> pb.ListBoardsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        async with self._db.transaction(organization_id) as tx:
            boards = await board_store.list_boards(tx, organization_id, _last_id(page) or NIL, page.size + 1)
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
        async with self._db.transaction(organization_id) as tx:
            answer = await self._idempotency.claim(tx, organization_id, "CreateDeal", request, pb.Deal, now)
            if answer is not None:
                return answer
            board = await board_store.find_board(tx, organization_id, request.board)
            if board is None:
                raise _no_board()
            stage = board.first_stage if stage_id is None else _stage_of(board, stage_id)
            deal = domain.new_deal(
                self._ids.new(),
                organization_id,
                contact_id,
                board_id=board.id,
                stage_id=stage.id,
                title=request.title,
                state=stage.deal_state,
                value=value,
                now=now,
            )
            return await self._keep_deal(tx, deal, request, now)

    async def GetDeal(
        self, request: pb.GetDealRequest, context: grpc.aio.ServicerContext[pb.GetDealRequest, pb.Deal]
    ) -> pb.Deal:
        organization_id = auth.organization_id()
        deal_id = wire.to_uuid("deal_id", request.deal_id)
        async with self._db.transaction(organization_id) as tx:
            deal = await deal_store.find_deal(tx, organization_id, deal_id)
        if deal is None:
            raise NotFound("DEAL_NOT_FOUND", "The organization has no such deal.")
        return messages.deal_message(deal)

    async def ListDeals(
        self,
        request: pb.ListDealsRequest,
        context: grpc.aio.ServicerContext[pb.ListDealsRequest, pb.ListDealsResponse],
    ) -> pb.ListDealsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        wanted = deal_store.DealFilter(
            contact_id=wire.to_optional_uuid("contact_id", request.contact_id),
            board_id=wire.to_optional_uuid("board_id", request.board_id),
            stage_id=wire.to_optional_uuid("stage_id", request.stage_id),
            state=messages.to_deal_state(request.state),
        )
        async with self._db.transaction(organization_id) as tx:
            deals = await deal_store.list_deals(tx, organization_id, wanted, _last_id(page), page.size + 1)
        shown, token = page.cut(deals, lambda deal: (deal.id,))
        return pb.ListDealsResponse(deals=[messages.deal_message(deal) for deal in shown], next_page_token=token)

    async def ListReconciliationTasks(
        self,
        request: pb.ListReconciliationTasksRequest,
        context: grpc.aio.ServicerContext[pb.ListReconciliationTasksRequest, pb.ListReconciliationTasksResponse],
    ) -> pb.ListReconciliationTasksResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        state = messages.to_task_state(request.state)
        async with self._db.transaction(organization_id) as tx:
            tasks = await task_store.list_tasks(tx, organization_id, state, _last_id(page), page.size + 1)
        shown, token = page.cut(tasks, lambda task: (task.id,))
        return pb.ListReconciliationTasksResponse(
            tasks=[messages.task_message(task) for task in shown], next_page_token=token
        )

    async def _keep_deal(self, tx: Tx, deal: Deal, request: pb.CreateDealRequest, now: datetime) -> pb.Deal:
        await deal_store.insert_deals(tx, [deal])
        answer = messages.deal_message(deal)
        await self._outbox.add(tx, [messages.deal_created(deal)], now)
        await self._idempotency.keep(tx, deal.organization_id, request, answer)
        return answer


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


def _stage_of(board: Board, stage_id: UUID) -> domain.Stage:
    for stage in board.stages:
        if stage.id == stage_id:
            return stage
    raise NotFound("STAGE_NOT_FOUND", f"The board {board.key} has no such stage.")


def _no_board() -> NotFound:
    return NotFound("BOARD_NOT_FOUND", "The organization has no such board.")


def _last_id(page: Page) -> UUID | None:
    return None if page.after is None else wire.to_uuid("page_token", page.after[0])
