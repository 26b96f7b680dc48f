"""Everything the gateway needs, serves and runs."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio
import structlog
from aiohttp import web
from grpc_health.v1 import health_pb2

from chassis import open_files
from chassis.errors import Unavailable
from chassis.process import Process
from chassis.system import SERVICES
from gateway.acceptance import Acceptance
from gateway.app import Dependencies, make_app, make_runner
from gateway.authorizer import TokenAuthorizer
from gateway.limits import SERVICE_CHECK_TIMEOUT_SECONDS
from gateway.listening.connections import ConnectionLimits, Connections
from gateway.listening.listener import Listener
from gateway.listening.peers import Peers, is_loopback
from gateway.listening.tls import server_context
from gateway.routes.dashboard import built_dashboard
from gateway.routes.webhooks import WebhookLimits
from gateway.settings import GatewaySettings

log = structlog.get_logger("gateway.http")


async def start(process: Process, *, webhook_limits: WebhookLimits | None = None) -> None:
    """Serves HTTP before all services, and learns of revoked keys for the live stream."""
    # Unsigned: a caller without credentials must not act as the gateway. Where it acts itself, it says so by a token.
    channels = {service: process.channel(service, signed=False) for service in SERVICES}
    # A call for a batch of webhooks is nobody's, has its deadline, and is made hundreds of times a second.
    channels["ingest_accept"] = process.channel("ingest_accept", bare=True)
    settings = GatewaySettings.within(process.settings)
    peers = Peers.trusting(settings.trusted_proxies)
    tls = server_context(settings.tls_certificate, settings.tls_key)
    acceptance = Acceptance()
    process.readiness.add("webhooks", acceptance.check)
    for service, channel in channels.items():
        process.readiness.add(f"service.{service}", service_check(channel))
    app = make_app(
        Dependencies(
            channels=channels,
            tokens=process.signer,
            authorizer=TokenAuthorizer(process.verifier, process.revocations),
            clock=process.clock,
            look=process.readiness.look,
            registry=process.metrics.registry,
            peers=peers,
            acceptance=acceptance,
            webhook_limits=webhook_limits,
            dashboard=built_dashboard(),
        )
    )
    limits = ConnectionLimits.within(open_files.raise_open_files())
    connections = Connections(limits, peers, process.metrics.registry)

    def open_site(runner: web.AppRunner, sockets: Sequence[socket.socket]) -> Listener:
        if tls is None and not peers.proxies:
            _warn_of_plain_http([listening.getsockname()[0] for listening in sockets])
        return Listener(runner, sockets, connections, tls)

    await process.serve_http(make_runner(app), open_site, settings.http_host, settings.http_port)


def _warn_of_plain_http(addresses: Sequence[str]) -> None:
    """Says where keys, passwords and messages would travel for everybody on the way to read."""
    open_to_others = [address for address in addresses if not is_loopback(address)]
    if open_to_others:
        log.warning(
            "plain_http",
            addresses=open_to_others,
            advice="Others than this machine reach the public port, where keys and messages travel in clear. Name the "
            "proxy that ends TLS in PROSA_TRUSTED_PROXIES, or give PROSA_TLS_CERTIFICATE and PROSA_TLS_KEY.",
        )


def service_check(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
    """Answers a check that raises where a service does not serve."""
    ask = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )

    async def check() -> None:
        answer = await ask(health_pb2.HealthCheckRequest(), timeout=SERVICE_CHECK_TIMEOUT_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("SERVICE_NOT_SERVING", "The service does not serve yet, or no longer.")

    return check
