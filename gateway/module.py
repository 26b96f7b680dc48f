"""Everything the gateway needs, serves and runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio
from grpc_health.v1 import health_pb2

from chassis import open_files
from chassis.errors import Unavailable
from chassis.process import Process
from gateway.app import Parts, make_app, make_runner
from gateway.gate import TokenGate
from gateway.limits import ROOM_CHECK_TIMEOUT_SECONDS
from gateway.listening.connections import ConnectionLimits, Connections
from gateway.listening.listener import Listener
from gateway.listening.peers import Peers
from gateway.transcoding.contracts import ROOMS


async def start(process: Process) -> None:
    """Serves HTTP before all rooms, and hears of revoked keys for the live stream."""
    # Unsigned: a caller without credentials must not act as the gateway. Where it acts itself, it says so by a token.
    channels = {room: process.channel(room, signed=False) for room in ROOMS}
    # A call for a batch of webhooks is nobody's, has its deadline, and is made hundreds of times a second.
    channels["ingest_accept"] = process.channel("ingest_accept", bare=True)
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
        )
    )
    connections = Connections(
        ConnectionLimits.within(open_files.raise_open_files()),
        Peers.trusting(process.settings.trusted_proxies),
        process.metrics.registry,
    )
    await process.serve_http(make_runner(app), lambda runner, sockets: Listener(runner, sockets, connections))


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
