"""Batches that one bad item must not spoil."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

import structlog

from chassis.errors import Aborted, DeadlineExceeded, InvalidArgument, ProsaError, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

SAYS_NOTHING = (Unavailable, DeadlineExceeded, Aborted)
EARLIER_ITEM_FAILED = "EARLIER_ITEM_FAILED"
ABORT_RETRIES = 3
"""How often a batch that met another in the way is tried again before its caller is told."""

logger = structlog.get_logger(__name__)


def _is_error(result: object) -> bool:
    return isinstance(result, ProsaError)


async def bisect(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
    key_of: Callable[[Item], Hashable] | None = None,
    *,
    holds_back: Callable[[Result | ProsaError], bool] = _is_error,
    says_nothing: tuple[type[ProsaError], ...] = SAYS_NOTHING,
) -> list[Result | ProsaError]:
    """Runs all items as one; what fails as a whole is run again in halves until the bad item stands alone.

    Answers a result or the item's own error, in the order of the items. ``run`` opens one transaction per call.
    With ``key_of``, items of the later half after one of their own key whose result holds them back are not run: each
    answers Aborted EARLIER_ITEM_FAILED. ``says_nothing`` are the errors that say nothing of the items: they are raised,
    and the caller tries the whole batch again.
    """
    if not items:
        return []
    try:
        return list(await run(items))
    except says_nothing:
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

    async def half(part: Sequence[Item]) -> list[Result | ProsaError]:
        return await bisect(part, run, key_of, holds_back=holds_back, says_nothing=says_nothing)

    first, later = await half(items[:middle]), items[middle:]
    if key_of is None:
        return [*first, *await half(later)]
    failed = {key_of(item) for item, result in zip(items, first, strict=False) if holds_back(result)}
    going = iter(await half([item for item in later if key_of(item) not in failed]))
    return [*first, *(held_back() if key_of(item) in failed else next(going) for item in later)]


def held_back() -> Aborted:
    """What an item answers that waits for an earlier one of its own key, which failed."""
    return Aborted("EARLIER_ITEM_FAILED", "An earlier item of the same key failed. Send this one again after it.")


def patiently(
    run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]:
    """``run``, and run anew where somebody else was in the way."""

    async def trying(items: Sequence[Item]) -> Sequence[Result]:
        for _ in range(ABORT_RETRIES):
            try:
                return await run(items)
            except Aborted as error:
                if error.reason == "LEASE_LOST":
                    raise
                logger.info("batch_met_another", reason=error.reason, items=len(items))
        return await run(items)

    return trying
