"""Outreach's limits, by name."""

from __future__ import annotations

RESERVATION_START_MS = 700
"""A message that may be sent is begun within so long of the moment it was asked for, or asked for again."""
RESERVATION_START_SLACK_MS = 200
"""For the way between the look at the deadline and the first byte to the provider."""
OPEN_AFTER_SECONDS = 60
"""A reservation that nobody has settled for so long is looked up by whoever asked for it."""
OPEN_LISTED_MAX = 100
REBUILD_RETRY_SECONDS = 1
"""When to ask again while what was sent is being counted again."""
