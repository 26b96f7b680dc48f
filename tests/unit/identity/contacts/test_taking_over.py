"""What a survivor takes over from whom it absorbs, and gives back when the merge is undone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.identity.contacts.domain import Contact
from services.identity.contacts.merge_domain import Taken, taken_over, with_taken, without_taken

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PHONE = "+5511900004821"


def contact(number: int, *, name: str = "", phone: str = "", tags: tuple[str, ...] = ()) -> Contact:
    return Contact(UUID(int=number), UUID(int=9), name, phone, "", list(tags), 1, NOW, NOW)


def test_what_the_survivor_lacked_goes_back_and_its_own_stays() -> None:
    survivor = contact(1, tags=("vip",))
    loser = contact(2, name="Rui", phone=PHONE, tags=("lead", "vip"))
    taken = taken_over(survivor, loser)
    assert taken == Taken(name="Rui", phone=PHONE, tags=("lead",))

    merged = with_taken(survivor, taken, NOW)
    assert (merged.name, merged.phone, merged.tags, merged.version) == ("Rui", PHONE, ["lead", "vip"], 2)

    assert without_taken(merged, taken, LATER) == replace(survivor, version=3, update_time=LATER)


def test_what_was_written_on_the_survivor_since_is_its_own() -> None:
    survivor = contact(1)
    taken = taken_over(survivor, contact(2, name="Rui", phone=PHONE))
    written = replace(with_taken(survivor, taken, NOW), name="Ana Prado", tags=["cliente"])

    parted = without_taken(written, taken, LATER)

    assert (parted.name, parted.phone, parted.tags) == ("Ana Prado", "", ["cliente"])


def test_who_took_nothing_over_is_the_very_same() -> None:
    survivor = contact(1, name="Ana")
    taken = taken_over(survivor, contact(2))
    assert with_taken(survivor, taken, NOW) is survivor
    assert without_taken(survivor, taken, LATER) is survivor
