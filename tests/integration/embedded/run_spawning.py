"""Spawns a program under uvloop while a closed channel of gRPC waits to be collected; the child comes to it first."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os

import grpc.aio
import uvloop

from embedded.forks import collect_nothing_in_forks

THRESHOLD = 50_000
"""More objects than this process makes meanwhile, and fewer than the child does."""


class Cycle:
    """Refers to itself: only the collector frees it, and what it holds."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.me = self
        self.channel = channel


async def main() -> None:
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    with contextlib.suppress(grpc.aio.AioRpcError):
        # Only a channel that was used has threads to wait for.
        await channel.unary_unary("/nobody/answers")(b"", timeout=0.5)  # type: ignore[arg-type]
    await channel.close()
    gc.collect()
    gc.set_threshold(THRESHOLD)
    Cycle(channel)
    del channel
    process = await asyncio.create_subprocess_exec("/bin/true")
    print(f"spawned {await process.wait()}", flush=True)


if __name__ == "__main__":
    collect_nothing_in_forks()
    os.register_at_fork(after_in_child=lambda: [[] for _ in range(2 * THRESHOLD)])
    uvloop.run(main())
