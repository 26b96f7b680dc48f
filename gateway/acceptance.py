"""Whether webhooks can be stored, by what the last calls for it showed.

A database that answers a ping may still take no row: its disk is full, it is read-only, a partition is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chassis.inner import NotReady
from gateway.limits import NOT_STORED_SECONDS


class Acceptance:
    """Remembers whether the last call stored its webhooks, for as long as that says something about the next."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failed_at: float | None = None

    def stored(self) -> None:
        """A call has stored what it brought."""
        self._failed_at = None

    def not_stored(self) -> None:
        """A call has failed."""
        self._failed_at = self._monotonic()

    async def check(self) -> None:
        """Raises NotReady while the last call had failed a short time ago; then the next webhook is let try again."""
        if self._failed_at is not None and self._monotonic() - self._failed_at < NOT_STORED_SECONDS:
            raise NotReady(
                "The last webhooks could not be stored and were answered 503. The log of the process with the target "
                "ingest-accept says why; a full disk is the most common reason."
            )
