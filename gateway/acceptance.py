"""Whether webhooks can be stored, by what the last calls for it showed: several in a row, since one proves little.

A database that answers a ping may still take no row: its disk is full, it is read-only, a partition is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chassis.inner import NotReady
from gateway.limits import NOT_STORED_CALLS, NOT_STORED_SECONDS


class Acceptance:
    """Remembers whether the last calls stored their webhooks, for as long as that says something about the next."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failed_at = monotonic()
        self._failed = 0

    def stored(self) -> None:
        """A call has stored what it brought."""
        self._failed = 0

    def not_stored(self) -> None:
        """A call has failed."""
        if self._quiet():
            self._failed = 0
        self._failed += 1
        self._failed_at = self._monotonic()

    async def check(self) -> None:
        """Raises NotReady while the last calls had failed a short time ago; then the next webhook is let try again."""
        if self._failed >= NOT_STORED_CALLS and not self._quiet():
            raise NotReady(
                "The last webhooks could not be stored and were answered 503. The log of the process with the target "
                "ingest-accept says why; a full disk is the most common reason."
            )

    def _quiet(self) -> bool:
        return self._monotonic() - self._failed_at >= NOT_STORED_SECONDS
