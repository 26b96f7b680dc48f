"""What a check of a connection is given and answers, and what it says of every provider's. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.canonical import Source
from chassis.errors import ResourceExhausted


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One thing that was checked: what was seen and, when it failed, what to do."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A channel that was declared here."""

    name: str
    source: Source
    provider_channel_id: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the connection, and what came of it."""

    account_id: int | None
    base_url: str
    access_token: str
    """Empty where none is kept."""
    webhook_path: str
    secrets: tuple[str, ...]
    unsigned_end_time: datetime
    """Until when unsigned webhooks are accepted where there is no secret."""
    channels: tuple[Declared, ...]
    """The active ones."""
    last_event_time: datetime | None
    """When the last webhook came, of those that are kept."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    items: Sequence[CheckItem]
    """In the order in which to mend them."""
    account_proved: bool
    """Whether the server said that the kept token is an administrator's of the kept account."""


class Checks:
    """The organizations of which a check is under way: each may have one, since it waits for a server of their own."""

    def __init__(self) -> None:
        self._running: set[UUID] = set()

    @contextmanager
    def begun(self, organization_id: UUID) -> Iterator[None]:
        """Runs one. Raises ResourceExhausted CHECK_RUNNING while another of the organization's runs in this process."""
        if organization_id in self._running:
            raise ResourceExhausted(
                "CHECK_RUNNING", "A check of one of your connections is under way; try again in some seconds."
            )
        self._running.add(organization_id)
        try:
            yield
        finally:
            self._running.discard(organization_id)


def check_kept(kept: Kept) -> list[CheckItem]:
    """All that can be said without asking the provider."""
    return [secret_set(kept), events_arriving(kept)]


def secret_set(kept: Kept, *, seen: str = "", passed: bool = True) -> CheckItem:
    """Whether webhooks are signed; ``seen`` says what the provider showed of that, where it showed anything."""
    name = "secret_set"
    if not kept.secrets:
        return CheckItem(
            name,
            False,
            "No webhook secret is kept, so unsigned webhooks are accepted until "
            f"{kept.unsigned_end_time:%Y-%m-%dT%H:%M:%SZ} and refused from then on. Add the secret that the provider "
            "shows for its webhook.",
        )
    count = "One webhook secret is" if len(kept.secrets) == 1 else f"{len(kept.secrets)} webhook secrets are"
    return CheckItem(name, passed, f"{count} kept{seen}.")


def events_arriving(kept: Kept, *, advice: str = "Write to one of the inboxes and check again.") -> CheckItem:
    """Whether anything came in; ``advice`` where nothing did."""
    name = "events_arriving"
    if kept.last_event_time is not None:
        return CheckItem(name, True, f"The last webhook arrived at {kept.last_event_time:%Y-%m-%dT%H:%M:%SZ}.")
    return CheckItem(
        name,
        False,
        f"No webhook of this connection is among those that are kept. {advice}",
    )
