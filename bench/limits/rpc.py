"""A unary RPC that answers a constant, bare on one port and behind the chassis' interceptors on another.

`python -m bench.limits.rpc KEYS_DIR` prints both ports, the bare one first.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from chassis import auth, rpc, telemetry
from chassis.clock import SystemClock
from chassis.interceptors import ServerInterceptor
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceServicer, add_ContactServiceServicer_to_server

CONTACT = pb.Contact(
    contact_id="0198c0de-7a11-7cc3-98c4-dc0c0c073901",
    organization_id="0198c0de-7a11-7cc3-98c4-dc0c0c073902",
    name="Marina Teles",
    phone="+5511900004821",
    email="marina@example.com",
    tags=["vip", "retorno"],
)


class Servicer(ContactServiceServicer):
    """Answers one contact, whoever is asked for."""

    async def GetContact(self, request: pb.GetContactRequest, context: Any) -> pb.Contact:
        return CONTACT


async def serve(keys_dir: Path) -> None:
    """Serves both until it is killed."""
    telemetry.configure_logging("warning", stream=sys.stderr)
    clock = SystemClock()
    chain = ServerInterceptor(
        auth.TokenVerifier(auth.load_public_keys(keys_dir), clock), auth.Revocations(clock), telemetry.Metrics()
    )
    servers = [grpc.aio.server(), grpc.aio.server(interceptors=[chain], options=rpc.CHANNEL_OPTIONS)]
    ports = []
    for server in servers:
        add_ContactServiceServicer_to_server(Servicer(), server)  # type: ignore[abstract]  # the others answer UNIMPLEMENTED
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
    print(*ports, flush=True)
    await asyncio.gather(*(server.wait_for_termination() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
