"""What people write where they have nothing to write: it counts as absent, and joins nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable

ALIKE_DIGITS = 8
"""So many last digits of a phone that are one digit are nobody's, whatever its area code."""
EXTRA_MAX = 1_000
"""How many values an installation may block besides those that stand here."""


def _listed(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


PLACEHOLDERS = _listed("undefined null none unknown anonymous naotem nãotem sememail semtelefone notem")
WORDS = PLACEHOLDERS | _listed("nil nan n/a na nao não sem no false true test teste - 0") | {"[object object]"}
EMAILS = _listed(
    "nao@tem.com nao@tem.com.br naotem@gmail.com nao@possui.com naopossui@gmail.com naopossui@email.com nao@nao.com",
    "sem@email.com no@email.com noemail@email.com noemail@gmail.com no@no.com na@na.com email@email.com",
    "teste@teste.com teste@teste.com.br test@test.com teste@gmail.com test@gmail.com cliente@cliente.com",
    "a@a.com aa@aa.com aaa@aaa.com abc@abc.com x@x.com xx@xx.com xxx@xxx.com noreply@noreply.com",
)
EMAIL_HOSTS = frozenset(
    # The first is what older flows made up because the old API demanded an address.
    ["chat.local", "undefined", "null", "localhost.localdomain"]
)
_ONE_DIGIT = re.compile(r"(\d)\1*", re.ASCII)
_ONE_DIGIT_ABROAD = re.compile(r"[0-9]{1,3}(\d)\1{7,}", re.ASCII)


class Blocked:
    """The values that count as absent: those that stand here, and those that an installation adds."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        added = [value.strip().lower() for value in extra]
        self._values = frozenset(value for value in added if value)
        self._phones = frozenset(digits for value in self._values if (digits := _digits(value)) and "@" not in value)
        if len(self._values) > EXTRA_MAX:
            raise ValueError(f"PROSA_BLOCKED_IDENTIFIERS names more than {EXTRA_MAX} values.")

    def word(self, text: str) -> bool:
        """Whether a text is only a word for nothing."""
        lowered = text.strip().lower()
        return lowered in WORDS or lowered in self._values or bool(_ONE_DIGIT.fullmatch(lowered) and len(lowered) > 3)

    def email(self, email: str) -> bool:
        """Whether an e-mail, in small letters, is nobody's."""
        name, _, host = email.rpartition("@")
        listed = email in EMAILS or email in self._values or f"@{host}" in self._values
        return listed or host in EMAIL_HOSTS or name in PLACEHOLDERS

    def phone(self, phone: str) -> bool:
        """Whether a phone, in E.164, is nobody's: no evidence of whom it stands beside."""
        digits = phone.removeprefix("+")
        return bool(_ONE_DIGIT.fullmatch(digits[-ALIKE_DIGITS:])) or self.number(phone)

    def number(self, phone: str) -> bool:
        """Whether a number, in E.164, is one that nobody writes from, whoever typed it."""
        digits = phone.removeprefix("+")
        return digits in self._phones or bool(_ONE_DIGIT_ABROAD.fullmatch(digits))


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())
