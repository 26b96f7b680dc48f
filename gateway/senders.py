"""Who sends webhooks: the addresses, headers and bounds of each provider. Ingest's registry says all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multidict import istr

from gateway.limits import CHATWOOT_BODY_BYTES_MAX, EVOLUTION_BODY_BYTES_MAX
from prosa.ingest.v1 import ingest_service_pb2 as pb


def names(*names: str) -> tuple[istr, ...]:
    """Names of headers that know already how they compare: every webhook is asked for all of them."""
    return tuple(map(istr, names))


CHATWOOT_HEADERS = names("x-chatwoot-signature", "x-chatwoot-timestamp", "x-chatwoot-delivery", "content-encoding")
LEGACY_HEADERS = (*CHATWOOT_HEADERS, *names("authorization", "x-organization-id"))
EVOLUTION_HEADERS = names(
    "authorization",
    "apikey",
    "x-api-key",
    "x-webhook-secret",
    "x-webhook-token",
    "x-instance-id",
    "x-instance-name",
    "x-event-type",
    "x-timestamp",
    "content-encoding",
)


@dataclass(frozen=True, slots=True)
class Sender:
    """What the receiver must know of a provider."""

    provider: pb.Provider.ValueType
    headers: tuple[istr, ...]
    """What its check or its delivery key needs; no others travel."""
    body_bytes_max: int
    """The same as in ingest's registry."""
    event_behind: bool = False
    """Whether it appends the event's name to the address it was given."""


SENDERS: Mapping[str, Sender] = {
    "chatwoot": Sender(pb.PROVIDER_CHATWOOT, CHATWOOT_HEADERS, CHATWOOT_BODY_BYTES_MAX),
    "evolution": Sender(pb.PROVIDER_EVOLUTION, EVOLUTION_HEADERS, EVOLUTION_BODY_BYTES_MAX, event_behind=True),
}
"""By the part of the path behind /webhooks/. A new provider is a line here and one in ingest's registry."""
