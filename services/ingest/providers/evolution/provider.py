"""Evolution as the registry lists it."""

from __future__ import annotations

from chassis.outgoing import Outgoing
from services.ingest.connections.check import Checked, Kept, events_arriving, secret_set
from services.ingest.providers.blanking import EVOLUTION_SECRETS
from services.ingest.providers.evolution.parse import MESSAGE_EVENT, event_name, ordering_key, parse
from services.ingest.providers.evolution.verify import delivery_key, verify
from services.ingest.providers.provider import ConnectionRules, Provider

BODY_BYTES_MAX = 32 * 1024 * 1024
# It needs an instance, with a key and a secret that are made together.
UNSUPPORTED = "A number is connected through Evolution with POST /api/v1/instances, which makes its connection too."


def account_id(given: int) -> int | None:
    """None where none was given: Evolution has no accounts."""
    return given or None


async def check_connection(_outgoing: Outgoing, kept: Kept) -> Checked:
    """What is kept and what came: how the number itself is, its instance tells."""
    items = [secret_set(kept), events_arriving(kept, advice="Have somebody write to the number and check again.")]
    return Checked(items, account_proved=False)


EVOLUTION = Provider(
    name="EVOLUTION",
    number=2,
    body_bytes_max=BODY_BYTES_MAX,
    secret_fields=EVOLUTION_SECRETS,
    verify=verify,
    delivery_key=delivery_key,
    event_name=event_name,
    ordering_key=ordering_key,
    parse=parse,
    connection_rules=ConnectionRules(
        account_id=account_id, message_event=MESSAGE_EVENT, unsupported=UNSUPPORTED, by_instance=True
    ),
    check=check_connection,
)
