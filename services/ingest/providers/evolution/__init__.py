"""Evolution, as far as acceptance knows it: no parser reads its own webhooks yet, so no connection to it is made.

Connections that are there all the same are served as Chatwoot's are.
"""

from __future__ import annotations

from dataclasses import replace

from chassis.outgoing import Outgoing
from services.ingest.connections.check import Checked, Kept, check_kept
from services.ingest.providers.blanking import EVOLUTION_SECRETS
from services.ingest.providers.chatwoot.provider import CHATWOOT

BODY_BYTES_MAX = 32 * 1024 * 1024
# A new connection would take webhooks in and let them wait for nobody.
UNSUPPORTED = (
    "This release reads Chatwoot's webhooks. Connect Evolution to Chatwoot and declare its inbox as a channel."
)


def account_id(given: int) -> int | None:
    """None where none was given: Evolution has no accounts."""
    return given or None


async def check_connection(_outgoing: Outgoing, kept: Kept) -> Checked:
    """Asks nobody."""
    return Checked(check_kept(kept), account_proved=False)


EVOLUTION = replace(
    CHATWOOT,
    name="EVOLUTION",
    number=2,
    body_bytes_max=BODY_BYTES_MAX,
    secret_fields=EVOLUTION_SECRETS,
    connection_rules=replace(CHATWOOT.connection_rules, account_id=account_id, unsupported=UNSUPPORTED),
    check=check_connection,
)
