"""Batches that one bad item must not spoil."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from chassis.errors import Aborted, DeadlineExceeded, InvalidArgument, ProsaError, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

ABORT_RETRIES = 3
"""How often a batch that met another in the way is tried again before its caller is told."""

logger = structlog.get_logger(__name__)


async def halving(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]
) -> list[Result | ProsaError]:
    """Runs all items as one; what fails as a whole is run again in halves until the bad item stands alone.

    Answers a result or the item's own error, in the order of the items. ``run`` opens one transaction per call.
    Unavailable, DeadlineExceeded and, after some tries, Aborted say nothing of the items: they are raised, and the
    caller tries the whole batch again.
    """
    try:
        return list(await _run_patiently(items, run))
    except (Unavailable, DeadlineExceeded, Aborted):
        raise
    except ProsaError as error:
        if len(items) == 1:
            return [error]
    except Exception as error:
        if len(items) == 1:
            logger.exception("batch_item_failed")
            refused = InvalidArgument("ITEM_REFUSED", f"The item cannot be stored: {type(error).__name__}.")
            return [refused]
    middle = len(items) // 2
    return [*await halving(items[:middle], run), *await halving(items[middle:], run)]


async def _run_patiently(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]
) -> Sequence[Result]:
    for _ in range(ABORT_RETRIES):
        try:
            return await run(items)
        except Aborted as error:
            if error.reason == "LEASE_LOST":
                raise
            logger.info("batch_met_another", reason=error.reason, items=len(items))
    return await run(items)
