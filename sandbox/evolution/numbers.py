"""How Evolution turns what it is given into WhatsApp ids, right or wrong, and the ids of invented people."""

from __future__ import annotations

import hashlib
import re

PHONE_SERVER, LID_SERVER = "@s.whatsapp.net", "@lid"
_SERVERS = ("@g.us", PHONE_SERVER, LID_SERVER, "@broadcast")
_LID_SPAN = 9 * 10**14


def create_jid(number: str) -> str:
    """The JID that Evolution makes of a number: its rules for Brazil, Mexico and Argentina look at digits alone."""
    number = re.sub(r":\d+", "", number)
    if any(server in number for server in _SERVERS):
        return number
    digits = re.sub(r"\D", "", number)
    if ("-" in number and len(number) >= 24) or len(digits) >= 18:
        return f"{digits}@g.us"
    if digits[:2] in ("52", "54") and len(digits) == 13:
        digits = digits[:2] + digits[3:]
    elif digits.startswith("55") and len(digits) == 13 and int(digits[5]) >= 7 and int(digits[2:4]) >= 31:
        digits = digits[:4] + digits[5:]
    return digits + PHONE_SERVER


def forms(digits: str) -> set[str]:
    """The number with and without the digit that WhatsApp may leave out, if it is of a country that has one."""
    found = {digits}
    for country, extra, length in (("55", "9", 12), ("52", "1", 12), ("54", "9", 12)):
        place = 4 if country == "55" else 2
        if digits.startswith(country) and len(digits) == length:
            found.add(digits[:place] + extra + digits[place:])
        elif digits.startswith(country) and len(digits) == length + 1 and digits[place] == extra:
            found.add(digits[:place] + digits[place + 1 :])
    return found


def lid_of(digits: str) -> str:
    """The privacy id of whoever has a number: always the same, and nothing can be read off it."""
    drawn = int.from_bytes(hashlib.sha256(b"lid:" + digits.encode()).digest()[:8]) % _LID_SPAN
    return f"{10**14 + drawn}{LID_SERVER}"
