"""The switchboard of what goes wrong at Evolution."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

KINDS = (
    "rest.error",  # answers 500 and does nothing
    "rest.closed",  # the socket to WhatsApp is dead though the state says open: 500 "Connection Closed"
    "rest.lost_answer",  # does what was asked, then breaks the connection off
    "rest.not_saved",  # the message leaves, and a failing database makes the answer a 400
    "rest.refused_connection",  # breaks the connection off and does nothing
    "rest.slow",  # answers `seconds` later
    "webhook.lost",  # never sent
    "webhook.duplicate",  # sent twice
    "webhook.reorder",  # sent after the one that follows
    "webhook.wrong_secret",  # with a token under another key
)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong: ``count`` times (None: until cleared), where the path or event contains ``only``."""

    kind: str
    count: int | None = None
    only: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown kind {self.kind!r}; known are {', '.join(KINDS)}.")
        if self.count is not None and self.count < 1:
            raise ValueError("count is at least 1, or null for until cleared.")
        if not 0.0 <= self.seconds <= 600.0:
            raise ValueError("seconds lies between 0 and 600.")


class Faults:
    """What is switched on, and how often each kind has struck."""

    def __init__(self) -> None:
        self.struck: Counter[str] = Counter()
        self._active: list[Fault] = []

    def set(self, fault: Fault) -> None:
        """Switches one more on."""
        self._active.append(fault)

    def clear(self) -> None:
        """Switches all off."""
        self._active.clear()

    def draw(self, kind: str, subject: str) -> Fault | None:
        """The fault of this kind that strikes now, used up by one; usually none."""
        for fault in self._active:
            if fault.kind != kind or fault.only not in subject:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self._active.remove(fault)
            self.struck[kind] += 1
            return fault
        return None
