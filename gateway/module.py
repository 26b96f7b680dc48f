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
from gateway.acceptance import Acceptance
from gateway.app import Parts, make_app, make_runner
from gateway.gate import TokenGate
from gateway.limits import ROOM_CHECK_TIMEOUT_SECONDS
from gateway.listening.connections import ConnectionLimits, Connections
from gateway.listening.listener import Listener
from gateway.listening.peers import Peers, is_loopback
from gateway.listening.tls import server_context
from gateway.routes.dashboard import built_dashboard
from gateway.transcoding.contracts import ROOMS

log = structlog.get_logger("gateway.http")


async def start(process: Process) -> None:
    """Serves HTTP before all rooms, and hears of revoked keys for the live stream."""
    # Unsigned: a caller without credentials must not act as the gateway. Where it acts itself, it says so by a token.
    channels = {room: process.channel(room, signed=False) for room in ROOMS}
    # A call for a batch of webhooks is nobody's, has its deadline, and is made hundreds of times a second.
    channels["ingest_accept"] = process.channel("ingest_accept", bare=True)
    settings = process.settings
    peers = Peers.trusting(settings.trusted_proxies)
    tls = server_context(settings.tls_certificate, settings.tls_key)
    acceptance = Acceptance()
    process.readiness.add("webhooks", acceptance.check)
    for room, channel in channels.items():
        process.readiness.add(f"room.{room}", room_check(channel))
    app = make_app(
        Parts(
            channels=channels,
            tokens=process.signer,
            gate=TokenGate(process.verifier, process.revocations),
            clock=process.clock,
            look=process.readiness.look,
            registry=process.metrics.registry,
            peers=peers,
            acceptance=acceptance,
            dashboard=built_dashboard(),
        )
    )
    limits = ConnectionLimits.within(open_files.raise_open_files())
    connections = Connections(limits, peers, process.metrics.registry)

    def open_site(runner: web.AppRunner, sockets: Sequence[socket.socket]) -> Listener:
        if tls is None and not peers.proxies:
            _warn_of_plain_http([listening.getsockname()[0] for listening in sockets])
        return Listener(runner, sockets, connections, tls)

    await process.serve_http(make_runner(app), open_site)


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


def room_check(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
    """Answers a check that raises where a room does not serve."""
    ask = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )

    async def check() -> None:
        answer = await ask(health_pb2.HealthCheckRequest(), timeout=ROOM_CHECK_TIMEOUT_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("ROOM_UNAVAILABLE", "The room does not serve yet, or no longer.")

    return check
