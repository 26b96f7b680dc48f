"""The addresses by which existing flows move deals, as thin adapters over MoveDeal and CloseDeal.

Shapes and status codes are those that such flows know: `{"data": …}` or `{"error": text, "code": CODE}`; blank texts
count as absent, since a flow sends every field it has.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc
import orjson
from aiohttp import web

from chassis.errors import ProsaError
from chassis.json_reading import read_json
from chassis.transcoding.plans import Plans
from gateway import problems
from gateway.bodies import Bodies
from gateway.credentials import Credentials
from gateway.limits import API_CALL_TIMEOUT_SECONDS
from gateway.routes.api import Allowances, read_body
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub

PATHS = ("/api/public/v1/deals/move-stage", "/api/public/v1/deals/{deal_id}/move-stage")
MOVE_DEAL_RPC = "/prosa.crm.v1.CrmService/MoveDeal"
SURFACE = ("x-prosa-surface", "legacy")
_MARKS = {"won": pb.DEAL_STATE_WON, "lost": pb.DEAL_STATE_LOST}
_UNFILLED = frozenset({"undefined", "null", "[object object]"})
"""What a flow sends where an expression found nothing."""
_ANSWERS = {
    "STAGE_NOT_FOUND": (422, "VALIDATION_ERROR"),
    "DEAL_NOT_FOUND": (404, "NOT_FOUND"),
    # A closed deal was never found there.
    "DEAL_CLOSED": (404, "NOT_FOUND"),
}
_CODES = {401: "AUTH_INVALID", 403: "FORBIDDEN", 404: "NOT_FOUND", 400: "VALIDATION_ERROR"}


class Refused(Exception):
    """A request that asks for nothing that can be done; the message says what is missing."""


class LegacyDeals:
    """Serves the addresses."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: Credentials, allowances: Allowances, plans: Plans, bodies: Bodies
    ) -> None:
        self._crm = CrmServiceStub(channel)
        self._credentials, self._allowances, self._bodies = credentials, allowances, bodies
        self._deal_plan = plans.of(pb.Deal.DESCRIPTOR)

    def add_routes(self, app: web.Application) -> None:
        """Registers them."""
        for path in PATHS:
            app.router.add_post(path, self.move_stage)

    async def move_stage(self, request: web.Request) -> web.StreamResponse:
        """Moves a deal by its id to a stage by id or label, and marks it won or lost where that is asked for."""
        try:
            token = await self._credentials.token(request)
            allowance = self._allowances.of(request, token, MOVE_DEAL_RPC, anonymous=False)
            body = await read_body(self._bodies, request, allowance)
            try:
                wanted = read_move(body, request.match_info.get("deal_id", ""))
            finally:
                self._bodies.let_go(body, allowance.owner)
            deal = await self._move(wanted, () if token is None else (("authorization", f"Bearer {token}"), SURFACE))
        except Refused as refused:
            return _error(422, "VALIDATION_ERROR", str(refused))
        except (ProsaError, grpc.aio.AioRpcError) as error:
            return self._refusal(request, error)
        # Flows of old read the id as `id`.
        shown = orjson.loads(self._deal_plan.to_json(deal)) | {"id": deal.deal_id}
        return web.json_response({"data": {"deal": shown, "stage_id": deal.stage_id, "action": "moved"}})

    async def _move(self, wanted: dict[str, str], metadata: tuple[tuple[str, str], ...]) -> pb.Deal:
        if stage := wanted.get("to_stage_id") or wanted.get("to_stage_label"):
            moving = pb.MoveDealRequest(deal_id=wanted["deal_id"], stage=stage, ai_summary=wanted.get("ai_summary", ""))
            deal: pb.Deal = await self._crm.MoveDeal(moving, metadata=metadata, timeout=API_CALL_TIMEOUT_SECONDS)
        if mark := wanted.get("mark"):
            closing = pb.CloseDealRequest(deal_id=wanted["deal_id"], state=_MARKS[mark])
            deal = await self._crm.CloseDeal(closing, metadata=metadata, timeout=API_CALL_TIMEOUT_SECONDS)
        return deal

    def _refusal(self, request: web.Request, error: ProsaError | grpc.aio.AioRpcError) -> web.Response:
        if isinstance(error, grpc.aio.AioRpcError):
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                self._credentials.refused(request)
            problem = problems.from_call(error)
        else:
            problem = problems.from_error(error)
        status, code = _ANSWERS.get(problem.reason, (problem.status, _CODES.get(problem.status, problem.reason)))
        if problem.reason in ("TOKEN_MISSING", "API_KEY_MISSING"):
            code = "AUTH_MISSING"
        if status == 400:
            status = 422
        text = problem.detail
        if problem.reason == "STAGE_NOT_FOUND":
            text = f"Stage not found for this board. {text}"
        return _error(status, code, text, problem.headers)


def read_move(body: bytes, deal_id: str) -> dict[str, str]:
    """The filled fields of a request. Raises Refused where nothing can be moved by it."""
    try:
        content: Any = read_json(body)
    except ValueError:
        raise Refused("The body is no JSON.") from None
    if not isinstance(content, dict):
        raise Refused("Send a JSON object.")
    given = {"deal_id": deal_id} if deal_id else {}
    for name in ("deal_id", "to_stage_id", "to_stage_label", "ai_summary", "mark"):
        value = content.get(name)
        if value is None or (name == "deal_id" and deal_id):
            continue
        if not isinstance(value, str):
            raise Refused(f"{name} must be a text.")
        if value.strip():
            given[name] = value.strip()
    for name, value in given.items():
        if name != "ai_summary" and value.lower() in _UNFILLED:
            raise Refused(f"{name} reads {value!r}: an expression of the flow found nothing.")
    if "deal_id" not in given:
        raise Refused("Name the deal by deal_id: contacts:ensure answers it.")
    if not _is_uuid(given["deal_id"]):
        raise Refused("deal_id is no id of a deal: contacts:ensure answers it.")
    if given.get("mark", "won") not in _MARKS:
        raise Refused("mark is won or lost.")
    if not {"to_stage_id", "to_stage_label", "mark"} & given.keys():
        raise Refused("Name the stage by to_stage_id or to_stage_label.")
    return given


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _error(status: int, code: str, text: str, headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    return web.json_response({"error": text, "code": code}, status=status, headers=dict(headers))
