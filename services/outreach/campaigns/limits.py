"""What bounds campaigns, by name."""

from __future__ import annotations

from datetime import timedelta

PLANNED_AT_ONCE = 500
"""Touches that one transaction plans."""
AHEAD_SECONDS = 300
"""Of so long at most, what the number may send is with conversation; what waits here is held or cancelled at once."""
HANDED_AT_ONCE = 200
"""Touches that one transaction hands over."""
LOOK_AGAIN = timedelta(seconds=20)
"""When a campaign whose touches are all with conversation, or held, is looked at again."""
TELL_SECONDS = 1
"""A fact tells of a campaign's counts at most so often."""
EXAMPLES_SHOWN = 10
TEXT_LENGTH_MAX = 4096
