"""When who works on a stream works: alone under a lease, at once when woken, and no more often than it pays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

import structlog
from nats.errors import Error as NatsError
from prometheus_client import Gauge

from chassis.errors import ProsaError
from chassis.installation import Refusals
from chassis.leases import Leases

POLL_SECONDS = 1.0
PACE_SECONDS = 0.25
"""Who is busy looks no more often than this: many facts then share the trips they cost. Who is idle looks at once."""
INSPECT_SECONDS = 5.0
"""How often who is idle looks whether a stream is still the one it knows."""

logger = structlog.get_logger(__name__)


async def take_turns(
    leases: Leases,
    lease: str,
    work: Callable[[Mapping[str, int]], Awaitable[None]],
    *,
    refusals: Refusals,
    held: Gauge,
    poll_seconds: float,
) -> NoReturn:
    """Has the work done whenever the lease is ours, until cancelled; waits out what is away and starts over."""
    while True:
        try:
            async with leases.held(lease) as fences:
                held.set(1)
                await work(fences)
        except (ProsaError, NatsError, TimeoutError, OSError) as error:
            logger.warning("stream_work_interrupted", service=leases.schema, lease=lease, error=repr(error))
            await asyncio.sleep(poll_seconds)
        finally:
            refusals.forget()
            held.set(0)


async def until_next(woken: asyncio.Event, looked: float, poll_seconds: float) -> None:
    """Waits until it pays to look again, after a look that began at ``looked`` by the loop's time and found little."""
    try:
        async with asyncio.timeout(poll_seconds):
            await woken.wait()
    except TimeoutError:
        return
    await asyncio.sleep(looked + PACE_SECONDS - asyncio.get_running_loop().time())
