"""What ingest must know of a provider: a value, made in the provider's own folder and listed in the registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.ingest.connections.check import Checked, Kept
from services.ingest.normal_form import ConnectionContext, ParsedEvent
from services.ingest.providers.authenticity import Credentials, Verdict
from services.ingest.providers.blanking import SecretFields

if TYPE_CHECKING:
    from chassis.outgoing import Outgoing
    from prosa.ingest.v1 import ingest_service_pb2 as pb
    from services.ingest.connections.cache import ConnectionCache
    from services.ingest.providers.proof import Proof, Refusal


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """What a provider asks of its connections, beyond what all have to be."""

    account_id: Callable[[int], int | None]
    """The account as it is kept, from the number that was given or 0. Raises InvalidArgument."""
    message_event: str
    """What the event is called that a message of its account came in."""
    unsupported: str = ""
    """Why no new connection may be made, and what to do instead; empty where one may."""
    by_instance: bool = False
    """Whether its address and key were handed to an instance when it was begun, which keeps and sends with its own."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. All but ``check`` and ``prove`` are pure functions of what they are given."""

    name: str
    """As it is stored, and as the contract calls it behind PROVIDER_."""
    number: int
    """Its number in the contract."""
    body_bytes_max: int
    """What is larger is refused; the gateway's limit for its addresses is the same."""
    secret_fields: SecretFields
    """What is blanked before a body is stored."""
    verify: Callable[[bytes, Mapping[str, str], Credentials, datetime], Verdict]
    """Whether a webhook is its connection's, by its raw bytes, its headers (small letters) and the time."""
    delivery_key: Callable[[Mapping[str, str], bytes], str]
    """What a second copy of the same webhook has too."""
    event_name: Callable[[Any], object]
    """What the event is called in the JSON that was read, which may be any value and None; kept where it is a text."""
    ordering_key: Callable[[Any], str]
    """What must be processed in order within a connection, from the same; empty for what belongs to nothing."""
    parse: Callable[[bytes, ConnectionContext], ParsedEvent]
    """The normal form of a stored body; never raises."""
    connection_rules: ConnectionRules
    check: Callable[[Outgoing, Kept], Awaitable[Checked]]
    """Whether a connection is as it should be; may ask the provider."""
    prove: (
        Callable[
            [ConnectionCache, Mapping[int, pb.Webhook], Sequence[bytes], datetime],
            Awaitable[dict[int, Proof | Refusal]],
        ]
        | None
    ) = None
    """Whose webhooks are that name no connection, by their places among the bodies; None where all name one."""
