"""The people who write: who they are on each channel, and how they come by invented numbers."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass

_NAMED_SPAN = 100_000
_PHONE_SPAN = 10**8
_IGSID_SPAN = 10**13


@dataclass(frozen=True, slots=True)
class Person:
    """Someone outside. A channel uses what it can see: `phone` (`+digits`) on WhatsApp, `igsid` on Instagram.

    A `bsuid` without a phone is a WhatsApp user who hides the number; `identifier` overrides the JID that
    Evolution would store (a group's, or `<digits>@lid`).
    """

    name: str
    phone: str | None = None
    igsid: str | None = None
    username: str | None = None
    bsuid: str | None = None
    identifier: str | None = None

    @classmethod
    def named(cls, name: str) -> "Person":
        """The person of that name: always the same invented number and Instagram id."""
        number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8]) % _NAMED_SPAN
        return cls(name=name, phone=phone_of(number), igsid=igsid_of(number), username=username_of(name))


def phone_of(number: int) -> str:
    """An invented mobile: 1234 gives +55 11 90000-1234. Distinct for numbers below a hundred million."""
    return f"+55119{number % _PHONE_SPAN:08d}"


def igsid_of(number: int) -> str:
    """An invented Instagram-scoped id of 16 digits."""
    return f"773{number % _IGSID_SPAN:013d}"


def username_of(name: str) -> str:
    """An Instagram user name that goes with a person's name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", ".", plain).strip(".") or "perfil"
