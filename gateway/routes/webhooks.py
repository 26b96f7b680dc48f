"""Where providers knock: webhooks in, answered only after they are committed.

The body is read within bounds and travels untouched: the server inflates nothing (auto_decompress is off), for
signatures are made over the bytes as they were sent. Whatever happens, an answer is out in less than four seconds:
Chatwoot waits five and does not come back, so a 503 in time is worth more than a success too late.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import structlog
from aiohttp import web
from multidict import CIMultiDict, istr

from chassis import context
from chassis.batching import Batcher
from chassis.clock import Clock
from chassis.errors import NotFound, ProsaError, Unauthenticated, Unavailable
from gateway import problems
from gateway.bodies import Bodies
from gateway.credentials import ServiceTokens, correlation_id_key, named_by_caller
from gateway.limits import (
    ACCEPT_BATCH_BYTES_MAX,
    ACCEPT_BATCH_ITEMS_MAX,
    ACCEPT_CALL_TIMEOUT_SECONDS,
    ACCEPT_FLUSHERS,
    ACCEPT_ITEMS_WORTH,
    ACCEPT_QUEUE_BYTES_MAX,
    ACCEPT_QUEUE_ITEMS_MAX,
    CHATWOOT_BODY_BYTES_MAX,
    CONNECTION_KEY_LENGTH_MAX,
    EVOLUTION_BODY_BYTES_MAX,
    WEBHOOK_BYTES_IN_FLIGHT_MAX,
    WEBHOOK_DEADLINE_SECONDS,
    WEBHOOK_HEADER_LENGTH_MAX,
)
from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub

log = structlog.get_logger("gateway.webhooks")


def _names(*names: str) -> tuple[istr, ...]:
    """Names of headers that know already how they compare: every webhook is asked for all of them."""
    return tuple(map(istr, names))


CHATWOOT_HEADERS = _names("x-chatwoot-signature", "x-chatwoot-timestamp", "x-chatwoot-delivery", "content-encoding")
LEGACY_HEADERS = (*CHATWOOT_HEADERS, *_names("authorization", "x-organization-id"))
EVOLUTION_HEADERS = _names(
    "authorization",
    "apikey",
    "x-api-key",
    "x-webhook-secret",
    "x-webhook-token",
    "x-instance-id",
    "x-instance-name",
    "x-event-type",
    "x-timestamp",
    "content-encoding",
)
_CONNECTION_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{CONNECTION_KEY_LENGTH_MAX}}}")
_ITEM_OVERHEAD_BYTES = 256

LEGACY_INVALID_TEXTS = {
    "JSON_MALFORMED": "Invalid JSON payload",
    "CONNECTION_AMBIGUOUS": "Ambiguous organization mapping for account",
    "ORGANIZATION_NOT_FOUND": "Organization not found",
}
"""What the legacy path has always said, by the reason that ingest gives."""

_JSON = CIMultiDict({"Content-Type": "application/json; charset=utf-8"})
_STORED = (pb.ACCEPT_OUTCOME_ACCEPTED, pb.ACCEPT_OUTCOME_DUPLICATE)


@dataclass(frozen=True, slots=True)
class WebhookLimits:
    """What bounds one webhook; tests choose smaller ones."""

    deadline_seconds: float = WEBHOOK_DEADLINE_SECONDS
    call_timeout_seconds: float = ACCEPT_CALL_TIMEOUT_SECONDS
    chatwoot_body_bytes_max: int = CHATWOOT_BODY_BYTES_MAX
    evolution_body_bytes_max: int = EVOLUTION_BODY_BYTES_MAX
    bytes_in_flight_max: int = WEBHOOK_BYTES_IN_FLIGHT_MAX
    queue_items_max: int = ACCEPT_QUEUE_ITEMS_MAX


_SECRETS_DIFFER = "the webhook's secret here and at the provider differ."
_CLOCKS_DIFFER = "the webhook's time is too far from ours; look at both clocks, or what keeps webhooks back."
_WHY_REFUSED = {
    "SIGNATURE_MISSING": "the webhook carries none, and its connection has a secret.",
    "UNSIGNED_ENDED": "its connection has no secret, and the time for unsigned webhooks is over; add the secret.",
    "SIGNATURE_MALFORMED": "the webhook's is not written as one.",
    "TIMESTAMP_MISSING": "the webhook carries no time.",
    "TIMESTAMP_MALFORMED": "the webhook's time is no number of seconds.",
    "TIMESTAMP_STALE": _CLOCKS_DIFFER,
    "STATIC_SECRET_EXPIRED": "the webhook repeats a fixed secret, which its connection no longer takes.",
}
"""What is said of a webhook that is refused, by the reason that ingest gives."""


class Door:
    """Takes webhooks, hands them to ingest in batches, and answers the provider."""

    def __init__(
        self, channel: grpc.aio.Channel, tokens: ServiceTokens, clock: Clock, limits: WebhookLimits | None = None
    ) -> None:
        self._stub = IngestServiceStub(channel)
        self._tokens = tokens
        self._clock = clock
        self._limits = limits or WebhookLimits()
        self._bodies = Bodies(self._limits.bytes_in_flight_max)
        self._batcher: Batcher[pb.Webhook, pb.AcceptResult] = Batcher(
            self._accept,
            size_of=lambda webhook: len(webhook.body) + _ITEM_OVERHEAD_BYTES,
            flushers=ACCEPT_FLUSHERS,
            items_worth=ACCEPT_ITEMS_WORTH,
            items_max=ACCEPT_BATCH_ITEMS_MAX,
            bytes_max=ACCEPT_BATCH_BYTES_MAX,
            queue_items_max=self._limits.queue_items_max,
            queue_bytes_max=ACCEPT_QUEUE_BYTES_MAX,
            wait_seconds_max=self._limits.deadline_seconds,
        )

    def add_routes(self, app: web.Application) -> None:
        """Registers the webhook paths; what waits is sent before the application ends."""
        app.router.add_post("/webhooks/chatwoot/{connection_key}", self.chatwoot)
        app.router.add_post("/webhooks/evolution/{connection_key}", self.evolution)
        # Evolution appends the event's name to the address it was given, behind a second slash if that ended in one.
        app.router.add_post("/webhooks/evolution/{connection_key}/{event:.*}", self.evolution)
        app.router.add_post("/api/chatwoot/webhook", self.legacy)
        app.router.add_get("/api/chatwoot/webhook", self.legacy_liveness)
        app.on_cleanup.append(self._close)

    @property
    def waiting(self) -> int:
        """How many webhooks wait for a call."""
        return self._batcher.waiting

    async def chatwoot(self, request: web.Request) -> web.StreamResponse:
        """Chatwoot, to a connection's own address."""
        limit = self._limits.chatwoot_body_bytes_max
        return await self._take(request, pb.PROVIDER_CHATWOOT, CHATWOOT_HEADERS, limit)

    async def evolution(self, request: web.Request) -> web.StreamResponse:
        """Evolution, to a connection's own address, with or without the event's name behind it."""
        limit = self._limits.evolution_body_bytes_max
        return await self._take(request, pb.PROVIDER_EVOLUTION, EVOLUTION_HEADERS, limit)

    async def legacy(self, request: web.Request) -> web.StreamResponse:
        """Chatwoot, to the one address that all organizations shared; answers as that address always did."""
        try:
            result = await self._submit(
                request, pb.PROVIDER_CHATWOOT, "", LEGACY_HEADERS, self._limits.chatwoot_body_bytes_max
            )
        except web.HTTPRequestEntityTooLarge:
            return web.json_response({"error": "Payload too large"}, status=413)
        except ProsaError as error:
            problem = problems.from_error(error)
            return web.json_response({"error": error.message}, status=problem.status, headers=dict(problem.headers))
        if result.outcome in _STORED:
            _answer_under(request, result.webhook_event_id)
            return web.json_response({"success": True})
        if result.outcome == pb.ACCEPT_OUTCOME_IGNORED:
            return web.json_response({"success": True, "ignored": result.reason})
        if result.outcome == pb.ACCEPT_OUTCOME_NOT_FOUND:
            return web.json_response({"success": True, "ignored": "no_matching_tenant"})
        if result.outcome == pb.ACCEPT_OUTCOME_UNAUTHENTICATED:
            return web.json_response({"error": "Invalid signature"}, status=401)
        return web.json_response({"error": LEGACY_INVALID_TEXTS.get(result.reason, result.reason)}, status=400)

    async def legacy_liveness(self, request: web.Request) -> web.StreamResponse:
        """Answers that the address is there."""
        # Secrets belong to connections now, so the address as such has none to miss.
        return web.json_response(
            {"status": "ok", "message": "Chatwoot webhook endpoint is active", "secret_configured": True}
        )

    async def _take(
        self, request: web.Request, provider: pb.Provider.ValueType, headers: tuple[istr, ...], body_bytes_max: int
    ) -> web.StreamResponse:
        key = request.match_info["connection_key"]
        if not _CONNECTION_KEY.fullmatch(key):
            raise _no_connection()
        result = await self._submit(request, provider, key, headers, body_bytes_max)
        if result.outcome in _STORED:
            _answer_under(request, result.webhook_event_id)
            # Written by hand: an id needs no escaping, and there are very many of these.
            answer = f'{{"success":true,"webhook_event_id":"{result.webhook_event_id}"}}'
            return web.Response(body=answer.encode(), headers=_JSON)
        if result.outcome == pb.ACCEPT_OUTCOME_IGNORED:
            return web.json_response({"success": True, "ignored": result.reason})
        if result.outcome == pb.ACCEPT_OUTCOME_UNAUTHENTICATED:
            raise Unauthenticated(
                result.reason or "SIGNATURE_MISMATCH",
                f"Invalid signature: {_WHY_REFUSED.get(result.reason, _SECRETS_DIFFER)}",
            )
        raise _no_connection()

    async def _submit(
        self,
        request: web.Request,
        provider: pb.Provider.ValueType,
        connection_key: str,
        headers: tuple[istr, ...],
        body_bytes_max: int,
    ) -> pb.AcceptResult:
        """Answers what became of the webhook. Raises Unavailable, or HTTPRequestEntityTooLarge."""
        try:
            if request.content.is_eof():
                # Came whole, as nearly all do: only the batcher may keep it waiting, and that minds the time itself.
                return await self._hand_in(request, provider, connection_key, headers, body_bytes_max)
            async with asyncio.timeout(self._limits.deadline_seconds):
                return await self._hand_in(request, provider, connection_key, headers, body_bytes_max)
        except TimeoutError:
            raise Unavailable("DEADLINE_EXCEEDED", "The webhook could not be stored in time; send it again.") from None
        except grpc.aio.AioRpcError as error:
            # Refused to the gateway itself or not stored: to the provider it is all the same, it must come again.
            log.warning("webhook not stored", code=error.code().name, details=error.details())
            raise Unavailable("NOT_STORED", "The webhook could not be stored now; send it again.") from None

    async def _hand_in(
        self,
        request: web.Request,
        provider: pb.Provider.ValueType,
        connection_key: str,
        headers: tuple[istr, ...],
        body_bytes_max: int,
    ) -> pb.AcceptResult:
        body = await self._bodies.read(request, body_bytes_max)
        try:
            webhook = pb.Webhook(
                provider=provider,
                connection_key=connection_key,
                headers=_kept(request.headers, headers),
                body=body,
                trace_parent=context.trace_parent.get(),
                correlation_id=context.correlation_id.get(),
            )
            webhook.receive_time.FromDatetime(self._clock.now())
            return await self._batcher.submit(webhook)
        finally:
            self._bodies.let_go(body)

    async def _accept(self, webhooks: list[pb.Webhook]) -> list[pb.AcceptResult]:
        token = self._tokens.service_token("ingest")
        answer = await self._stub.AcceptWebhooks(
            pb.AcceptWebhooksRequest(webhooks=webhooks),
            timeout=self._limits.call_timeout_seconds,
            metadata=(("authorization", f"Bearer {token}"),),
            # A service that restarts is waited for as long as the provider waits: what is refused may not come again.
            wait_for_ready=True,
        )
        # One line a batch: the ids under which the other rooms log the same webhooks.
        log.info("webhooks_answered", correlation_ids=[result.webhook_event_id for result in answer.results])
        return list(answer.results)

    async def _close(self, _: web.Application) -> None:
        await self._batcher.close()


def _answer_under(request: web.Request, event_id: str) -> None:
    """Answers the id under which every service logs this webhook; where the sender named another, says both once."""
    if named_by_caller(request):
        log.info("webhook_stored", webhook_event_id=event_id)
    else:
        request[correlation_id_key] = event_id


def _no_connection() -> NotFound:
    return NotFound("CONNECTION_NOT_FOUND", "No connection has this address; copy it anew from the connection.")


def _kept(headers: Mapping[str, str], names: tuple[istr, ...]) -> dict[str, str]:
    """The headers that a check or a key needs, by lower-case name. Overlong ones are dropped: none is real."""
    kept: dict[str, str] = {}
    for name in names:
        value = headers.get(name)
        if value is not None and len(value) <= WEBHOOK_HEADER_LENGTH_MAX:
            # Header bytes that are no UTF-8 come as surrogates, which protobuf does not take.
            kept[name] = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return kept
