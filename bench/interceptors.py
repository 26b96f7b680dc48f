"""P15: what everything around an RPC costs: the chassis at both ends, against bare grpc.aio."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc.aio

from bench.accept import Effort
from bench.figures import Figure, at_least
from bench.limits.rpc import CONTACT
from chassis import auth, rpc
from chassis.clock import SystemClock
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub

GOAL = 0.8
IN_FLIGHT = 64
WARM_SECONDS = 0.3


@asynccontextmanager
async def open_calls() -> AsyncIterator[tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]]:
    """Starts the server; gives one call through the chassis and one without it."""
    with tempfile.TemporaryDirectory(prefix="prosa-bench-") as directory:
        keys_dir = Path(directory)
        auth.create_key_files(keys_dir)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.limits.rpc", directory), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        bare_port, port = map(int, (await process.stdout.readline()).split())
        signer = auth.TokenSigner("cli", auth.load_private_key(keys_dir, "cli"), SystemClock())
        channel = rpc.open_channel(f"127.0.0.1:{port}", signer)
        bare_channel = grpc.aio.insecure_channel(f"127.0.0.1:{bare_port}")
        stub, bare_stub = ContactServiceStub(channel), ContactServiceStub(bare_channel)
        request = pb.GetContactRequest(contact_id=CONTACT.contact_id)
        organization_id = UUID(CONTACT.organization_id)
        try:
            yield (
                lambda: stub.GetContact(request, metadata=rpc.for_organization(organization_id), timeout=5.0),
                lambda: bare_stub.GetContact(request, timeout=5.0),
            )
        finally:
            await channel.close()
            await bare_channel.close()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def measure(effort: Effort) -> list[Figure]:
    """Unary calls a second, 64 in flight."""
    mine, theirs = [], []
    async with open_calls() as (call, bare_call):
        for _ in range(effort.runs):
            theirs.append(await rate_of(bare_call, effort.seconds))
            mine.append(await rate_of(call, effort.seconds))
    return [Figure("d unary RPC with all that surrounds it (P15)", "/s", mine, theirs, [at_least(GOAL)])]


async def rate_of(call: Callable[[], Awaitable[Any]], seconds: float, in_flight: int = IN_FLIGHT) -> float:
    """Calls a second in a closed loop."""
    count, measuring, ended = 0, False, False

    async def keep_calling() -> None:
        nonlocal count
        while not ended:
            await call()
            count += measuring

    callers = [asyncio.create_task(keep_calling()) for _ in range(in_flight)]
    await asyncio.sleep(WARM_SECONDS)
    measuring, started = True, time.monotonic()
    await asyncio.sleep(seconds)
    measuring, took = False, time.monotonic() - started
    ended = True
    await asyncio.gather(*callers)
    return count / took
