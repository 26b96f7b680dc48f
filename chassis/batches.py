"""Batches that one bad item must not spoil."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

import structlog

from chassis.errors import Aborted, DeadlineExceeded, InvalidArgument, ProsaError, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

ABORT_RETRIES = 3
"""How often a batch that met another in the way is tried again before its caller is told."""

logger = structlog.get_logger(__name__)


async def halving(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
    key_of: Callable[[Item], Hashable] | None = None,
) -> list[Result | ProsaError]:
    """Runs all items as one; what fails as a whole is run again in halves until the bad item stands alone.

    Answers a result or the item's own error, in the order of the items. ``run`` opens one transaction per call.
    With ``key_of``, items after a failed one of their own key are not run: each answers Aborted EARLIER_ITEM_FAILED.
    Unavailable, DeadlineExceeded and, after some tries, Aborted say nothing of the items: they are raised, and the
    caller tries the whole batch again.
    """
    if not items:
        return []
    try:
        return list(await run_patiently(items, run))
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
    first, later = await halving(items[:middle], run, key_of), items[middle:]
    if key_of is None:
        return [*first, *await halving(later, run)]
    failed = {key_of(item) for item, result in zip(items, first, strict=False) if isinstance(result, ProsaError)}
    going = iter(await halving([item for item in later if key_of(item) not in failed], run, key_of))
    return [*first, *(held_back() if key_of(item) in failed else next(going) for item in later)]


def held_back() -> Aborted:
    """What an item answers that waits for an earlier one of its own key, which failed."""
    return Aborted("EARLIER_ITEM_FAILED", "An earlier item of the same key failed. Send this one again after it.")


async def run_patiently(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]
) -> Sequence[Result]:
    """Runs all items as one, and anew where somebody else was in the way. Raises what it fails with."""
    for _ in range(ABORT_RETRIES):
        try:
            return await run(items)
        except Aborted as error:
            if error.reason == "LEASE_LOST":
                raise
            logger.info("batch_met_another", reason=error.reason, items=len(items))
    return await run(items)
