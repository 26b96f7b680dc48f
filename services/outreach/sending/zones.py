"""Where people may be: the time zones of a number, and else of the organization that writes to them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone

from chassis.canonical import Source

NUMBERS_CACHED_MAX = 65_536
ZONES_CACHED_MAX = 1_024
_UTC = ZoneInfo("UTC")


def zones_of(addresses: Iterable[tuple[str, str]], home: ZoneInfo) -> tuple[ZoneInfo, ...]:
    """All zones that the numbers among these addresses may lie in; the organization's where they tell of none."""
    found: dict[str, ZoneInfo] = {}
    for source, external_id in addresses:
        if source == Source.WHATSAPP and external_id.startswith("+"):
            found |= {zone.key: zone for zone in _zones_of_number(external_id)}
    return tuple(found.values()) or (home,)


def home_zone(name: str) -> ZoneInfo:
    """An organization's zone; UTC where this machine knows none of its name."""
    return _zone(name) or _UTC


@lru_cache(maxsize=NUMBERS_CACHED_MAX)
def _zones_of_number(number: str) -> tuple[ZoneInfo, ...]:
    try:
        names = timezone.time_zones_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return ()
    return tuple(zone for name in names if (zone := _zone(name)) is not None)


@lru_cache(maxsize=ZONES_CACHED_MAX)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None
