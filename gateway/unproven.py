"""What the legacy path reads of those who have proved nothing: so many bytes of each network, and of all together.

Whose a webhook is stands in its body there, so the body is read first. Who proves to be genuine is given back what its
webhook took; small bodies are read in any case.
"""

from __future__ import annotations

from gateway.byte_budget import ByteBudgets
from gateway.limits import (
    UNPROVEN_BURST_BYTES_OF_ALL,
    UNPROVEN_BYTES_PER_SECOND_OF_ALL,
    UNPROVEN_NETWORKS_MAX,
    UNPROVEN_SMALL_BYTES,
)

_ALL = ""


class Unproven:
    """Keeps count of the bytes."""

    def __init__(self, burst_bytes: int, bytes_per_second: float) -> None:
        self._networks = ByteBudgets(burst_bytes, bytes_per_second, UNPROVEN_NETWORKS_MAX)
        self._all = ByteBudgets(UNPROVEN_BURST_BYTES_OF_ALL, UNPROVEN_BYTES_PER_SECOND_OF_ALL, senders_max=1)

    def admit(self, network: str, size: int | None) -> bool:
        """Whether a body of that size is read, None where it does not say its size; it is charged if so."""
        if size is None:
            # Charged when it has been read.
            return not (self._networks.exhausted(network) or self._all.exhausted(_ALL))
        if size <= UNPROVEN_SMALL_BYTES:
            self.charge(network, size)
            return True
        if not self._networks.take(network, size):
            return False
        if not self._all.take(_ALL, size):
            self._networks.charge(network, -size)
            return False
        return True

    def charge(self, network: str, size: int) -> None:
        """Counts what was read; less than nothing for what was proved to be genuine."""
        self._networks.charge(network, size)
        self._all.charge(_ALL, size)
