"""Which lane a webhook event waits in: one pure function, so that the door, the workers and a replay agree."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from uuid import UUID

# Lanes are shared out among workers; changing the number sends waiting events to other lanes than new ones.
LANE_COUNT = 64


def lane_of(connection_id: UUID, ordering_key: str) -> int:
    """The lane, 0 to LANE_COUNT - 1: equal for all events of one connection and ordering key, in every process."""
    return crc32(f"{connection_id}/{ordering_key}".encode()) % LANE_COUNT
