"""The switchboard of what goes wrong: on the REST side, and between the fake and the webhook's receiver."""

from collections import Counter
from dataclasses import dataclass

from sandbox.chatwoot.draws import Draws

REST_KINDS = (
    "rest.slow",  # answers after `seconds`
    "rest.timeout",  # holds the request for `seconds` and then answers 504
    "rest.error",  # answers `status` and does nothing
    "rest.rate_limit",  # answers 429 as Rack::Attack does
    "rest.reset",  # resets the connection and does nothing
    "rest.lost_answer",  # does what was asked, then resets the connection
    "rest.late_answer",  # does what was asked, and answers `seconds` later
)
WEBHOOK_KINDS = (
    "webhook.lost",  # never sent: Chatwoot was stopped, or a job was discarded
    "webhook.duplicate",  # sent twice under the same delivery id
    "webhook.redeliver",  # sent twice under two delivery ids
    "webhook.reorder",  # sent after the delivery that follows it
    "webhook.delay",  # sent `seconds` later
    "webhook.wrong_secret",  # signed with another secret
    "webhook.stale",  # signed, with a timestamp `seconds` in the past
    "webhook.unsigned",  # neither signature nor timestamp
)
KINDS = REST_KINDS + WEBHOOK_KINDS
FAULT_COUNT_MAX = 100
HOLD_SECONDS = 60.0


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong: `count` times (None: until cleared), for a `share` of what it could hit.

    `only` limits it to REST paths or event names that contain the text. `seconds` and `status` mean what the
    kind says.
    """

    kind: str
    count: int | None = None
    share: float = 1.0
    seconds: float = 0.0
    status: int = 503
    only: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown kind {self.kind!r}; known are {', '.join(KINDS)}.")
        if not 0.0 <= self.share <= 1.0:
            raise ValueError("share lies between 0 and 1.")
        if not 0.0 <= self.seconds <= 3600.0:
            raise ValueError("seconds lies between 0 and 3600.")
        if not 400 <= self.status <= 599:
            raise ValueError("status is a failure: 400 to 599.")
        if self.count is not None and self.count < 1:
            raise ValueError("count is at least 1, or null for until cleared.")


class Faults:
    """The faults that are switched on, and how often each kind has struck."""

    def __init__(self, seed: int = 0) -> None:
        self.struck: Counter[str] = Counter()
        self._draws = Draws(seed)
        self._active: list[Fault] = []

    def set(self, fault: Fault) -> None:
        """Switches one more fault on."""
        if len(self._active) >= FAULT_COUNT_MAX:
            raise ValueError(f"At most {FAULT_COUNT_MAX} faults can be on.")
        self._active.append(fault)

    def clear(self, kind: str | None = None) -> None:
        """Switches off the faults of one kind, or all of them."""
        self._active = [fault for fault in self._active if kind is not None and fault.kind != kind]

    def active(self) -> list[Fault]:
        """What is on, in the order it was set."""
        return list(self._active)

    def draw(self, kind: str, subject: str) -> Fault | None:
        """The fault of this kind that strikes the subject now, used up by one; usually none."""
        for fault in self._active:
            if fault.kind != kind or fault.only not in subject:
                continue
            if fault.share < 1.0 and self._draws.share() >= fault.share:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self._active.remove(fault)
            self.struck[kind] += 1
            return fault
        return None
