"""What time it is where somebody is."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone


def local_time(moment: datetime, conversation_key: str, home: str) -> datetime:
    """The time where a number is; the organization's, where it may be there or nowhere that is known."""
    names = _zones(conversation_key.rpartition(":")[2])
    for name in [home] if home in names or not names else names:
        try:
            return moment.astimezone(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return moment


def _zones(number: str) -> list[str]:
    if not number.startswith("+"):
        return []
    try:
        return list(timezone.time_zones_for_number(phonenumbers.parse(number)))
    except phonenumbers.NumberParseException:
        return []
