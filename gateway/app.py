"""The gateway's HTTP application: its routes, and what surrounds every request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import grpc
import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.hdrs import METH_ALL, METH_POST, SERVER
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict, istr
from prometheus_client import CollectorRegistry

from chassis.clock import Clock
from chassis.context import client_network, scoped
from chassis.errors import PermissionDenied, ProsaError
from chassis.telemetry import span
from chassis.transcoding.plans import Plans
from gateway import problems
from gateway.acceptance import Acceptance
from gateway.bodies import Bodies
from gateway.credentials import (
    ApiKeys,
    Authorizer,
    Credentials,
    Exchange,
    ServiceTokens,
    correlation_id_key,
    identify,
)
from gateway.expectations import continue_late, refuse_unknown
from gateway.feed import Feed, StreamLimits
from gateway.limits import (
    API_BODY_BYTES_MAX,
    API_BYTES_IN_FLIGHT_MAX,
    API_BYTES_PER_CALLER_MAX,
    EXCHANGE_TIMEOUT_SECONDS,
    SHUTDOWN_SECONDS,
    STRANGER_BYTES_IN_FLIGHT_MAX,
)
from gateway.listening.handler import HANDLER_ARGUMENTS, HttpHandler
from gateway.listening.peers import Peers
from gateway.metrics import HttpMetrics, WebhookMetrics
from gateway.networks import network_of
from gateway.routes.api import Allowances, Channels, add_api_routes
from gateway.routes.contact_imports import ContactImports
from gateway.routes.dashboard import Dashboard
from gateway.routes.docs import Docs
from gateway.routes.health import Health, Look
from gateway.routes.legacy_deals import LegacyDeals
from gateway.routes.stream import LiveUpdates
from gateway.routes.token import EXCHANGE_RPC, taking_forms
from gateway.routes.webhooks import WebhookLimits, WebhookReceiver
from gateway.senders import SENDERS, Sender
from gateway.sessions import ExchangeSession, Sessions
from gateway.webhook_addresses import Address, read_address
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import session_service_pb2 as session_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub

log = structlog.get_logger("gateway.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SLOW_SECONDS = 1.0
"""A request that took so long is logged, whatever it was."""
_WEBHOOK_ROUTES = ("/webhooks/", "/api/chatwoot/webhook")
_PROVING_ROUTES = ("/webhooks/", "/api/v1/", "/api/public/v1/")
"""Who gets more than an error there has shown a signature, a key or a password."""

_ADDRESS: web.RequestKey[Address] = web.RequestKey("address", Address)
_RECEIVER: web.AppKey[WebhookReceiver] = web.AppKey("receiver", WebhookReceiver)

# A name that knows already how it compares: each answer carries it.
_CORRELATION_ID, _FORWARDED_FOR = istr("X-Correlation-Id"), istr("X-Forwarded-For")
_SECURITY_HEADERS = CIMultiDict(
    {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
    }
)
"""What every answer says that does not say otherwise."""


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """What the gateway is made of; whoever starts it brings these."""

    # By service, and "ingest_accept" where the acceptor of ingest runs apart. They must add no token of their own to a
    # call: a caller without credentials would act as the gateway.
    channels: Channels
    tokens: ServiceTokens
    authorizer: Authorizer
    clock: Clock
    look: Look
    # What a test may make smaller.
    webhook_limits: WebhookLimits | None = None
    senders: Mapping[str, Sender] = field(default_factory=lambda: SENDERS)
    api_bytes_in_flight_max: int = API_BYTES_IN_FLIGHT_MAX
    api_bytes_per_caller_max: int = API_BYTES_PER_CALLER_MAX
    api_bytes_of_strangers_max: int = STRANGER_BYTES_IN_FLIGHT_MAX
    stream_limits: StreamLimits = field(default_factory=StreamLimits)
    exchange: Exchange | None = None
    exchange_session: ExchangeSession | None = None
    peers: Peers = field(default_factory=Peers)
    acceptance: Acceptance | None = None
    # None where it was not built.
    dashboard: Dashboard | None = None
    # Where metrics are kept; a registry of the application's own when not given.
    registry: CollectorRegistry | None = None


def make_app(dependencies: Dependencies) -> web.Application:
    """Builds the application. Services without a channel are left out, and so are the routes that need them."""
    metrics = HttpMetrics(dependencies.registry)
    app = web.Application(
        middlewares=[
            _surrounding(metrics, dependencies.peers),
            _tell_problems,
            *_plain_http_refused(dependencies.peers),
            _forgiving_copies,
        ],
        client_max_size=API_BODY_BYTES_MAX,
        handler_args=HANDLER_ARGUMENTS,
    )
    plans = Plans()
    exchange = dependencies.exchange or exchange_over(dependencies.channels["identity"])
    exchange_session = dependencies.exchange_session or session_exchange_over(
        dependencies.channels["identity"], dependencies.tokens
    )
    credentials = Credentials(ApiKeys(exchange), Sessions(exchange_session, dependencies.peers))
    bodies = Bodies(
        dependencies.api_bytes_in_flight_max,
        dependencies.api_bytes_per_caller_max,
        dependencies.api_bytes_of_strangers_max,
    )
    wrappers = {EXCHANGE_RPC: lambda handle_json: taking_forms(handle_json, exchange, bodies)}
    add_api_routes(
        app, dependencies.channels, credentials, Allowances(dependencies.authorizer), plans, bodies, wrappers
    )
    if "ingest" in dependencies.channels:
        ingest = dependencies.channels["ingest"]
        receiver = WebhookReceiver(
            dependencies.channels.get("ingest_accept", ingest),
            dependencies.tokens,
            dependencies.clock,
            WebhookMetrics(dependencies.registry),
            limits=dependencies.webhook_limits,
            acceptance=dependencies.acceptance,
            senders=dependencies.senders,
        )
        receiver.add_routes(app)
        app[_RECEIVER] = receiver
        metrics.watch("prosa_webhooks_waiting", "Webhooks that wait for a call.", lambda: receiver.waiting)
        feed = Feed(ingest, dependencies.tokens, plans, dependencies.stream_limits)
        metrics.watch("prosa_stream_clients", "Clients that watch the live stream.", lambda: feed.clients)
        LiveUpdates(
            feed, credentials, dependencies.authorizer, dependencies.clock, dependencies.stream_limits
        ).add_routes(app)
    if "crm" in dependencies.channels:
        legacy_deals = LegacyDeals(
            dependencies.channels["crm"], credentials, Allowances(dependencies.authorizer), plans, bodies
        )
        legacy_deals.add_routes(app)
    if "outreach" in dependencies.channels:
        imports = ContactImports(dependencies.channels["outreach"], credentials, dependencies.authorizer, plans, bodies)
        imports.add_routes(app)
    Health(dependencies.look).add_routes(app)
    docs = Docs(plans)
    docs.add_routes(app)
    if dependencies.dashboard is None:
        docs.add_landing(app)
    else:
        dependencies.dashboard.add_routes(app)
    app.on_response_prepare.append(add_headers)
    continue_late(app)
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """Answers the runner the application must be served with: bodies stay as they were sent, logs are our own."""
    return web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS, handle_signals=False, access_log=None)


def exchange_over(channel: grpc.aio.Channel) -> Exchange:
    """Answers how a key is exchanged at identity."""
    stub = AccessServiceStub(channel)

    async def exchange(api_key: str) -> access_pb.Token:
        return await stub.ExchangeApiKey(
            access_pb.ExchangeApiKeyRequest(client_secret=api_key), timeout=EXCHANGE_TIMEOUT_SECONDS
        )

    return exchange


def session_exchange_over(channel: grpc.aio.Channel, tokens: ServiceTokens) -> ExchangeSession:
    """Answers how a session's cookie is exchanged at identity, which the gateway does in its own name."""
    stub = SessionServiceStub(channel)

    async def exchange(secret: str) -> session_pb.ExchangedSession:
        return await stub.ExchangeSession(
            session_pb.ExchangeSessionRequest(session_secret=secret),
            metadata=(("authorization", f"Bearer {tokens.service_token('identity')}"),),
            timeout=EXCHANGE_TIMEOUT_SECONDS,
        )

    return exchange


def _plain_http_refused(peers: Peers) -> Sequence[Middleware]:
    """Where a proxy is named that ends TLS, nobody passes it by: keys would travel in clear."""
    if not peers.proxies:
        return ()

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.secure and not peers.near(request.remote or ""):
            raise PermissionDenied("TLS_REQUIRED", "Plain HTTP is not served here; use the address with https.")
        return await handler(request)

    return (refuse,)


def _surrounding(metrics: HttpMetrics, peers: Peers) -> Middleware:
    """Gives each request its ids, a span, a line in the log and a place in the metrics."""

    @web.middleware
    async def surround(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        protocol = request.protocol
        connection = protocol.connection if isinstance(protocol, HttpHandler) else None
        if connection is not None:
            connection.begun()
        resource = request.match_info.route.resource
        # The pattern, not the path: a path may hold a connection's key.
        route = resource.canonical if resource is not None else _astray(request)
        # A method that nobody knows is somebody's invention, and would be a series of its own.
        method = request.method if request.method in METH_ALL else "OTHER"
        correlation_id, trace_parent = identify(request)
        if not route.startswith("/webhooks/"):
            # A proxy may add a line of its own behind the one that its caller sent.
            forwarded = ",".join(request.headers.getall(_FORWARDED_FOR, ()))
            client = peers.client(request.remote, forwarded)
            client_network.set(network_of(client))
        with scoped(correlation_id, trace_parent), span(f"{method} {route}"):
            response = await handler(request)
            seconds = time.monotonic() - started
            if connection is not None and response.status < 400 and route.startswith(_PROVING_ROUTES):
                connection.proven = True
            # Webhooks come by the thousand: of those that went well the metrics tell enough.
            if response.status >= 400 or seconds >= SLOW_SECONDS or not route.startswith(_WEBHOOK_ROUTES):
                duration_ms = round(seconds * 1000, 2)
                log.info("request", method=method, route=route, status=response.status, duration_ms=duration_ms)
            metrics.observe(method, route, response.status, seconds)
        return response

    return surround


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Adds the headers that every answer carries, just before it leaves."""
    headers = response.headers
    headers.merge(_SECURITY_HEADERS)
    # Says nothing of versions.
    headers[SERVER] = "prosa"
    headers[_CORRELATION_ID] = request.get(correlation_id_key, "")
    if isinstance(request.protocol, HttpHandler) and not isinstance(response, web.Response):
        request.protocol.connection.streaming()


def _astray(request: web.Request) -> str:
    """The route that is meant by a path which is none; empty where it is no webhook's."""
    address = read_address(request.path) if request.method == METH_POST else None
    if address is None:
        return ""
    request[_ADDRESS] = address
    return address.route


@web.middleware
def _forgiving_copies(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Takes webhooks whose address was copied with something around it: who gets a 404 does not send again.

    It chooses who answers and waits for nothing itself: nearly every request passes by.
    """
    if request.match_info.route.resource is not None:
        return handler(request)
    address = request.get(_ADDRESS)
    receiver = request.app.get(_RECEIVER)
    if address is None or receiver is None:
        return handler(request)
    return receiver.astray(request, address)


@web.middleware
async def _tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every error into problem+json; what was not expected is logged with its trace and told without."""
    try:
        if request.version not in (HttpVersion10, HttpVersion11):
            # The parser takes any two numbers; 0.9 has no headers, and 2.0 is spoken otherwise.
            raise web.HTTPVersionNotSupported
        refuse_unknown(request)
        return await handler(request)
    except ProsaError as error:
        problem = problems.from_error(error)
    except grpc.aio.AioRpcError as error:
        problem = problems.from_call(error)
        if problem.status >= 500:
            log.warning("call failed", code=error.code().name, details=error.details())
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = problems.from_http(error)
    except (aiohttp.ClientError, ConnectionError):
        # The caller went away or sent a body that breaks off; this answer will hardly be read.
        problem = problems.Problem(400, "Bad request", "BODY_INCOMPLETE", "The body broke off.")
    except Exception:
        log.exception("unexpected error")
        problem = problems.unexpected()
    response = problems.response(problem, request[correlation_id_key])
    if problem.status in (408, 413, 417, 505):
        # The rest of the body is not worth reading.
        response.force_close()
    return response
