"""Where providers send webhooks, answered only after they are committed.

The body is read within bounds and travels untouched: the server inflates nothing (auto_decompress is off), for
signatures are made over the bytes as they were sent. Whatever happens, an answer is out in less than four seconds:
Chatwoot waits five and does not come back, so a 503 in time is worth more than a success too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import grpc
import structlog
from aiohttp import web
from multidict import CIMultiDict, istr

from chassis import context, wire
from chassis.batcher import Batcher
from chassis.clock import Clock
from chassis.context import client_network
from chassis.errors import NotFound, ProsaError, Unauthenticated, Unavailable
from gateway import problems
from gateway.acceptance import Acceptance
from gateway.bodies import Bodies
from gateway.byte_budget import ByteBudgets
from gateway.credentials import ServiceTokens, correlation_id_key, named_by_caller
from gateway.limits import (
    ACCEPT_BATCH_BYTES_MAX,
    ACCEPT_BATCH_ITEMS_MAX,
    ACCEPT_CALL_TIMEOUT_SECONDS,
    ACCEPT_FLUSHERS,
    ACCEPT_ITEMS_WORTH,
    ACCEPT_QUEUE_BYTES_MAX,
    ACCEPT_QUEUE_ITEMS_MAX,
    CONNECTION_BUDGETS_MAX,
    CONNECTION_BURST_BYTES,
    CONNECTION_BYTES_PER_SECOND,
    LARGE_BATCH_ITEMS_MAX,
    LARGE_BODY_BYTES,
    UNPROVEN_BATCH_BYTES_MAX,
    UNPROVEN_BATCH_ITEMS_MAX,
    UNPROVEN_BURST_BYTES,
    UNPROVEN_BYTES_PER_SECOND,
    UNPROVEN_QUEUE_BYTES_MAX,
    UNPROVEN_QUEUE_ITEMS_MAX,
    UNPROVEN_SMALL_BYTES,
    WEBHOOK_BYTES_IN_FLIGHT_MAX,
    WEBHOOK_DEADLINE_SECONDS,
    WEBHOOK_HEADER_LENGTH_MAX,
)
from gateway.metrics import WebhookMetrics
from gateway.senders import CHATWOOT_HEADERS, LEGACY_HEADERS, SENDERS, Sender
from gateway.unproven import Unproven
from gateway.webhook_addresses import LEGACY_ROUTE, Address, read_key
from gateway.webhook_keys import Named, WebhookKeys
from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub

log = structlog.get_logger("gateway.webhooks")


_LEGACY = Named(pb.PROVIDER_CHATWOOT, "")
_ITEM_OVERHEAD_BYTES = 256

LEGACY_INVALID_TEXTS = {
    "JSON_MALFORMED": "Invalid JSON payload",
    "CONNECTION_AMBIGUOUS": "Ambiguous organization mapping for account",
    "ORGANIZATION_NOT_FOUND": "Organization not found",
}
"""What the legacy path has always said, by the reason that ingest gives."""

OWN_POST = istr("X-Prosa-Position")
"""Stands in what Prosa itself posts to outbound endpoints, and in no provider's webhook."""
_JSON = CIMultiDict({"Content-Type": "application/json; charset=utf-8"})
_STORED = (pb.ACCEPT_OUTCOME_ACCEPTED, pb.ACCEPT_OUTCOME_DUPLICATE)
_PROVED = (*_STORED, pb.ACCEPT_OUTCOME_IGNORED, pb.ACCEPT_OUTCOME_INVALID)
"""What ingest says of a legacy webhook only where its signature was somebody's."""


@dataclass(frozen=True, slots=True)
class WebhookLimits:
    """What bounds one webhook; tests choose smaller ones."""

    deadline_seconds: float = WEBHOOK_DEADLINE_SECONDS
    call_timeout_seconds: float = ACCEPT_CALL_TIMEOUT_SECONDS
    bytes_in_flight_max: int = WEBHOOK_BYTES_IN_FLIGHT_MAX
    queue_items_max: int = ACCEPT_QUEUE_ITEMS_MAX
    connection_burst_bytes: int = CONNECTION_BURST_BYTES
    connection_bytes_per_second: float = CONNECTION_BYTES_PER_SECOND
    unproven_burst_bytes: int = UNPROVEN_BURST_BYTES
    unproven_bytes_per_second: float = UNPROVEN_BYTES_PER_SECOND


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


class WebhookReceiver:
    """Takes webhooks, hands them to ingest in batches, and answers the provider."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        tokens: ServiceTokens,
        clock: Clock,
        metrics: WebhookMetrics,
        limits: WebhookLimits | None = None,
        acceptance: Acceptance | None = None,
        senders: Mapping[str, Sender] = SENDERS,
    ) -> None:
        self._stub = IngestServiceStub(channel)
        self._tokens = tokens
        self._clock = clock
        self._acceptance = acceptance or Acceptance()
        self._limits = limits or WebhookLimits()
        self._senders = senders
        self._bodies = Bodies(self._limits.bytes_in_flight_max)
        self._metrics = metrics
        self._keys = WebhookKeys(self._stub, tokens)
        self._budgets = ByteBudgets(
            self._limits.connection_burst_bytes, self._limits.connection_bytes_per_second, CONNECTION_BUDGETS_MAX
        )
        self._unproven = Unproven(self._limits.unproven_burst_bytes, self._limits.unproven_bytes_per_second)
        self._batcher = self._batches(flushers=ACCEPT_FLUSHERS, items_max=ACCEPT_BATCH_ITEMS_MAX)
        self._large = self._batches(flushers=1, items_max=LARGE_BATCH_ITEMS_MAX)
        # Whoever names no connection may be anybody: what is done for them stands in nobody else's way.
        self._legacy, self._legacy_large = (
            self._batches(
                flushers=1,
                items_max=items_max,
                bytes_max=UNPROVEN_BATCH_BYTES_MAX,
                queue_items_max=UNPROVEN_QUEUE_ITEMS_MAX,
                queue_bytes_max=UNPROVEN_QUEUE_BYTES_MAX,
            )
            for items_max in (ACCEPT_BATCH_ITEMS_MAX, UNPROVEN_BATCH_ITEMS_MAX)
        )
        self._batchers = (self._batcher, self._large, self._legacy, self._legacy_large)

    def _batches(
        self,
        *,
        flushers: int,
        items_max: int,
        bytes_max: int = ACCEPT_BATCH_BYTES_MAX,
        queue_items_max: int | None = None,
        queue_bytes_max: int = ACCEPT_QUEUE_BYTES_MAX,
    ) -> Batcher[pb.Webhook, pb.AcceptResult]:
        return Batcher(
            self._accept,
            size_of=lambda webhook: len(webhook.body) + _ITEM_OVERHEAD_BYTES,
            flushers=flushers,
            items_worth=ACCEPT_ITEMS_WORTH,
            items_max=items_max,
            bytes_max=bytes_max,
            queue_items_max=queue_items_max or self._limits.queue_items_max,
            queue_bytes_max=queue_bytes_max,
            wait_seconds_max=self._limits.deadline_seconds,
        )

    def add_routes(self, app: web.Application) -> None:
        """Registers the webhook paths; what waits is sent before the application ends."""
        for name, sender in self._senders.items():
            handler = partial(self._take, sender)
            app.router.add_post(f"/webhooks/{name}/{{connection_key}}", handler)
            if sender.event_behind:
                # Behind a second slash if the address ended in one.
                app.router.add_post(f"/webhooks/{name}/{{connection_key}}/{{event:.*}}", handler)
        app.router.add_post("/api/chatwoot/webhook", self.legacy)
        app.router.add_get("/api/chatwoot/webhook", self.legacy_liveness)
        app.on_cleanup.append(self._close)

    @property
    def waiting(self) -> int:
        """How many webhooks wait for a call."""
        return sum(batcher.waiting for batcher in self._batchers)

    async def astray(self, request: web.Request, address: Address) -> web.StreamResponse:
        """A webhook to an address that was copied with something around it."""
        if address.route == LEGACY_ROUTE:
            return await self.legacy(request)
        return await self._take(self._senders[address.sender], request, address)

    async def legacy(self, request: web.Request) -> web.StreamResponse:
        """Chatwoot, to the one address that all organizations shared; answers as that address always did."""
        if not request.headers.get(CHATWOOT_HEADERS[0]):
            # Nothing there is taken without a signature, so nothing has to be read to say so.
            return _unproven()
        try:
            result = await self._submit(request, _LEGACY, LEGACY_HEADERS, self._senders["chatwoot"].body_bytes_max)
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
        if result.outcome == pb.ACCEPT_OUTCOME_UNAVAILABLE:
            problem = problems.from_error(_cannot_check())
            return web.json_response({"error": problem.detail}, status=problem.status, headers=dict(problem.headers))
        if result.outcome == pb.ACCEPT_OUTCOME_UNAUTHENTICATED:
            return _unproven()
        return web.json_response({"error": LEGACY_INVALID_TEXTS.get(result.reason, result.reason)}, status=400)

    async def legacy_liveness(self, request: web.Request) -> web.StreamResponse:
        """Answers that the address is there."""
        # Secrets belong to connections now, so the address as such has none to miss.
        return web.json_response(
            {"status": "ok", "message": "Chatwoot webhook endpoint is active", "secret_configured": True}
        )

    async def _take(self, sender: Sender, request: web.Request, astray: Address | None = None) -> web.StreamResponse:
        key = read_key(request.match_info["connection_key"]) if astray is None else astray.key
        if key is None:
            self._metrics.address_unknown("not_a_key")
            raise _no_connection()
        if OWN_POST in request.headers:
            # Each would become a fact that is posted here again, to no end. 410 ends the endpoint.
            raise web.HTTPGone
        named = Named(sender.provider, key)
        result = await self._submit(request, named, sender.headers, sender.body_bytes_max)
        if result.outcome in _STORED:
            _answer_under(request, result.webhook_event_id)
            # Written by hand: an id needs no escaping, and there are very many of these.
            answer = f'{{"success":true,"webhook_event_id":"{result.webhook_event_id}"}}'
            return web.Response(body=answer.encode(), headers=_JSON)
        if result.outcome == pb.ACCEPT_OUTCOME_IGNORED:
            return web.json_response({"success": True, "ignored": result.reason})
        if result.outcome == pb.ACCEPT_OUTCOME_UNAVAILABLE:
            raise _cannot_check()
        if result.outcome == pb.ACCEPT_OUTCOME_UNAUTHENTICATED:
            raise Unauthenticated(
                result.reason or "SIGNATURE_MISMATCH",
                f"Invalid signature: {_WHY_REFUSED.get(result.reason, _SECRETS_DIFFER)}",
            )
        if result.outcome == pb.ACCEPT_OUTCOME_INVALID:
            # Ingest knows of the provider's limit too, should the two ever differ.
            raise web.HTTPRequestEntityTooLarge(max_size=sender.body_bytes_max, actual_size=request.content_length or 0)
        # It was known, so it was answered for; from now on it is not.
        self._keys.forget(named)
        raise self._unknown()

    def _unknown(self) -> NotFound:
        self._metrics.address_unknown("unknown_key")
        return _no_connection()

    async def _submit(
        self, request: web.Request, named: Named, headers: tuple[istr, ...], body_bytes_max: int
    ) -> pb.AcceptResult:
        """Answers what became of the webhook. Raises NotFound, Unavailable, or HTTPRequestEntityTooLarge."""
        try:
            if request.content.is_eof() and (not named.key or self._keys.remembered(named)):
                # Came whole, as nearly all do: only the batcher may keep it waiting, and that minds the time itself.
                result = await self._hand_in(request, named, headers, body_bytes_max)
            else:
                async with asyncio.timeout(self._limits.deadline_seconds):
                    if named.key and not await self._keys.known(named):
                        raise self._unknown()
                    result = await self._hand_in(request, named, headers, body_bytes_max)
        except TimeoutError:
            error: Unavailable = Unavailable(
                "DEADLINE_EXCEEDED", "The webhook could not be stored in time; send it again."
            )
        except grpc.aio.AioRpcError as failed:
            # Refused to the gateway itself or not stored: to the provider it is all the same, it must come again.
            log.warning("webhook not stored", code=failed.code().name, details=failed.details())
            error = Unavailable("NOT_STORED", "The webhook could not be stored now; send it again.")
        except Unavailable as busy:
            error = busy
        else:
            if self._metrics.failing:
                self._metrics.stored(self._name(named))
            return result
        self._metrics.not_stored(self._name(named), self._clock.now().timestamp())
        raise error

    def _name(self, named: Named) -> str:
        """What the metric calls a connection: its id, which is no secret as its key is."""
        return (self._keys.connection_id(named) or "unknown") if named.key else "legacy"

    def _admit(self, request: web.Request, named: Named) -> None:
        """Raises Unavailable where who sends has used up its share of what is read."""
        size = request.content_length
        if named.key:
            admitted = self._budgets.take(named, size or 0)
        else:
            admitted = self._unproven.admit(client_network.get(), size)
        if not admitted:
            raise Unavailable("OVERLOADED", "More is sent here than this address may send; send it again, slower.")

    async def _hand_in(
        self, request: web.Request, named: Named, headers: tuple[istr, ...], body_bytes_max: int
    ) -> pb.AcceptResult:
        self._admit(request, named)
        body = await self._bodies.read(request, body_bytes_max)
        try:
            if request.content_length is None:
                if named.key:
                    self._budgets.charge(named, len(body))
                else:
                    self._unproven.charge(client_network.get(), len(body))
            webhook = pb.Webhook(
                provider=named.provider,
                connection_key=named.key,
                headers=_kept(request.headers, headers),
                body=body,
                trace_parent=context.trace_parent.get(),
                correlation_id=context.correlation_id.get(),
            )
            wire.write_timestamp(webhook.receive_time, self._clock.now())
            if named.key:
                return await (self._large if len(body) > LARGE_BODY_BYTES else self._batcher).submit(webhook)
            usual = len(body) <= UNPROVEN_SMALL_BYTES
            result = await (self._legacy if usual else self._legacy_large).submit(webhook)
            if result.outcome in _PROVED:
                self._unproven.charge(client_network.get(), -len(body))
            return result
        finally:
            self._bodies.let_go(body)

    async def _accept(self, webhooks: list[pb.Webhook]) -> list[pb.AcceptResult]:
        token = self._tokens.service_token("ingest")
        try:
            answer = await self._stub.AcceptWebhooks(
                pb.AcceptWebhooksRequest(webhooks=webhooks),
                timeout=self._limits.call_timeout_seconds,
                metadata=(("authorization", f"Bearer {token}"),),
                # A service that restarts is waited for as long as the provider waits: what is refused may not come
                # again.
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError:
            self._acceptance.not_stored()
            raise
        self._acceptance.stored()
        # One line a batch: the ids under which the other services log the same webhooks.
        log.info("webhooks_answered", correlation_ids=[result.webhook_event_id for result in answer.results])
        return list(answer.results)

    async def _close(self, _: web.Application) -> None:
        for batcher in (*self._batchers, self._keys):
            await batcher.close()


def _unproven() -> web.Response:
    """The one answer of the legacy path to all that proves nothing."""
    return web.json_response({"error": "Invalid signature"}, status=401)


def _answer_under(request: web.Request, event_id: str) -> None:
    """Answers the id under which every service logs this webhook; where the sender named another, says both once."""
    if named_by_caller(request):
        log.info("webhook_stored", webhook_event_id=event_id)
    else:
        request[correlation_id_key] = event_id


def _cannot_check() -> Unavailable:
    return Unavailable("SECRET_UNREADABLE", "The signature cannot be checked just now; send it again.")


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
