"""Outreach's limits, by name."""

from __future__ import annotations

RESERVATION_START_MS = 700
"""A message that may be sent is begun within so long of the moment it was asked for, or asked for again."""
RESERVATION_START_SLACK_MS = 200
"""For the way between the look at the deadline and the first byte to the provider."""
