"""The fake Evolution of the demo: a child process, and two numbers that connect to it by themselves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from uuid import UUID, uuid5

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
NUMBERS = (("WhatsApp da secretaria", "+5511960007001"), ("WhatsApp da coordenação", "+5511960007002"))
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
    """Connects the demo's numbers, and again where the fake has forgotten them, which keeps nothing over a restart."""
    while True:
        try:
            known = await instances_of(calls, state.organization_id)
            for place, (name, phone) in enumerate(NUMBERS):
                # The first as homes made before there were two know it.
                request_id = state.number_request_id if place == 0 else str(uuid5(UUID(state.number_request_id), name))
                await _look(calls, state, port, known, name, phone, request_id)
        except grpc.aio.AioRpcError as error:
            # Whatever is away is started again; the numbers wait for it.
            logger.info("demo_numbers_wait", error=error.details())
        await asyncio.sleep(LOOK_SECONDS)


async def instances_of(calls: Calls, organization_id: str) -> dict[str, instances.Instance]:
    """The organization's numbers behind Evolution, by name."""
    stub, metadata = calls.stub(InstanceServiceStub, "conversation"), calls.organization(organization_id)
    found = await all_pages(stub.ListInstances, instances.ListInstancesRequest(), "instances", metadata=metadata)
    return {instance.name: instance for instance in found}


async def _look(
    calls: Calls,
    state: DemoState,
    port: int,
    known: Mapping[str, instances.Instance],
    name: str,
    phone: str,
    request_id: str,
) -> None:
    metadata = calls.organization(state.organization_id)
    number = known.get(name)
    if number is None:
        await calls.stub(ConnectionServiceStub, "ingest").CreateInstance(
            connections.CreateInstanceRequest(
                name=name,
                base_url=f"http://{LOOPBACK}:{port}",
                access_token=state.evolution_key,
                phone=phone,
                # Asked for again before conversation has it, it is the same one.
                request_id=request_id,
            ),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
    elif number.state in CURABLE:
        await calls.stub(InstanceServiceStub, "conversation").ConnectInstance(
            instances.ConnectInstanceRequest(instance_id=number.instance_id), metadata=metadata, timeout=CALL_SECONDS
        )
