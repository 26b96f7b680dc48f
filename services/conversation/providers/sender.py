"""What conversation must know of a provider to send through it: a value, listed in the registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Account:
    """Where and with what a connection's messages are sent."""

    organization_id: UUID
    connection_id: UUID
    provider: str
    base_url: str
    provider_account_id: str
    access_token: str

    @property
    def complete(self) -> bool:
        """Whether anything can be sent with it."""
        return bool(self.base_url and self.access_token)


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message as it was typed, and whom it goes to."""

    delivery_id: UUID
    channel_id: UUID
    text: str
    provider_conversation_id: str
    conversation_key: str
    contact_phone: str
    send_time: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """The provider has it."""

    provider_message_id: str
    network_id: str = ""
    told_time: datetime | None = None
    """When it says that it was written."""


@dataclass(frozen=True, slots=True)
class NotBegun:
    """No connection was made, so nothing can have left."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider says for certain that it does not take it."""

    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have left, or not: it is never sent again."""

    detail: str


@dataclass(frozen=True, slots=True)
class Written:
    """It is as it should be at the provider."""

    time: datetime | None
    """By the provider's clock, to the second; None where it did not say."""


Answer = Taken | NotBegun | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Sender:
    """One provider."""

    name: str
    """As it is stored with connections."""
    send: Callable[[Outgoing, Account, Outbound, float], Awaitable[Answer]]
    """Sends once. The connection must be made within so many seconds, else nothing is sent."""
    find: Callable[[Outgoing, Account, Outbound], Awaitable[Taken | None]] | None
    """Looks for what may have left; None where nothing tells. Raises Unavailable PROVIDER_UNAVAILABLE. None in its
    place where the provider cannot be asked."""
    set_label: Callable[[Outgoing, Account, str, str, bool], Awaitable[Written | NotBegun | Refused]] | None = None
    """Puts a label on a conversation of the provider's, by its id there, or takes it off; it may be asked again,
    whatever the answer. None where the provider has no labels."""
