"""The fake Evolution of the demo: a child process, and a number that connects to it by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial

import grpc.aio
import structlog

from cli.calls import CALL_SECONDS, Calls, all_pages
from cli.demo.fake_chatwoot import answers
from cli.demo.state import DemoState
from embedded.child import ChildSpec
from embedded.ports import LOOPBACK
from embedded.shapes import source_path
from prosa.conversation.v1 import instance_service_pb2 as instances
from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connections
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub

NAME = "evolution"
PORT_NAME = "evolution"
NUMBER = "WhatsApp da secretaria"
PHONE = "+55 11 96000-7001"
SCAN_SECONDS = 8.0
"""Long enough to look at the code."""
PEOPLE_SECONDS = 10.0
LOOK_SECONDS = 2.0
STOP_SECONDS = 5.0
CURABLE = (instances.INSTANCE_STATE_CLOSED, instances.INSTANCE_STATE_FAILED)

logger = structlog.get_logger(__name__)


def child(port: int, needs: Sequence[str], known: Callable[[], DemoState]) -> ChildSpec:
    """The process, once the demo's organization is there and with it the key that it takes."""
    environment: dict[str, str] = {}

    async def prepare() -> None:
        environment.update(
            {
                "PROSA_SANDBOX_EVOLUTION_GLOBAL_KEY": known().evolution_key,
                "PROSA_SANDBOX_EVOLUTION_SCAN_SECONDS": str(SCAN_SECONDS),
                "PROSA_SANDBOX_EVOLUTION_PEOPLE_SECONDS": str(PEOPLE_SECONDS),
                "PYTHONPATH": source_path({}),
                "PYTHONUNBUFFERED": "1",
            }
        )

    return ChildSpec(
        name=NAME,
        command=(sys.executable, "-P", "-m", "sandbox.evolution", "--port", str(port)),
        environment=environment,
        prepare=prepare,
        ready=partial(answers, port),
        needs=tuple(needs),
        stop_timeout_seconds=STOP_SECONDS,
    )


async def keep_connected(calls: Calls, state: DemoState, port: int) -> None:
    """Connects the demo's number, and again where the fake has forgotten it, which keeps nothing over a restart."""
    while True:
        try:
            await _look(calls, state, port)
        except grpc.aio.AioRpcError as error:
            # Whatever is away is started again; the number waits for it.
            logger.info("demo_number_waits", error=error.details())
        await asyncio.sleep(LOOK_SECONDS)


async def _look(calls: Calls, state: DemoState, port: int) -> None:
    stub, metadata = calls.stub(InstanceServiceStub, "conversation"), calls.organization(state.organization_id)
    found = await all_pages(stub.ListInstances, instances.ListInstancesRequest(), "instances", metadata=metadata)
    number = next((item for item in found if item.name == NUMBER), None)
    if number is None:
        await calls.stub(ConnectionServiceStub, "ingest").CreateInstance(
            connections.CreateInstanceRequest(
                name=NUMBER,
                base_url=f"http://{LOOPBACK}:{port}",
                access_token=state.evolution_key,
                phone=PHONE,
                # Asked for again before conversation has it, it is the same one.
                request_id=state.number_request_id,
            ),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
    elif number.state in CURABLE:
        await stub.ConnectInstance(
            instances.ConnectInstanceRequest(instance_id=number.instance_id), metadata=metadata, timeout=CALL_SECONDS
        )
