"""Which lane a webhook event waits in: one pure function, so that the door, the workers and a replay agree."""

from __future__ import annotations

from zlib import crc32

# Lanes are shared out among workers; changing the number sends waiting events to other lanes than new ones.
LANE_COUNT = 64


def lane_of(ordering_key: str) -> int:
    """The lane, 0 to LANE_COUNT - 1, of an ordering key as it is stored: with its connection's id in front."""
    return crc32(ordering_key.encode()) % LANE_COUNT
