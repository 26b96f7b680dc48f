"""Chatwoot as the registry lists it."""

from __future__ import annotations

from services.ingest.providers.blanking import CHATWOOT_SECRETS
from services.ingest.providers.chatwoot import rules
from services.ingest.providers.chatwoot.client import check_connection
from services.ingest.providers.chatwoot.legacy_path import prove
from services.ingest.providers.chatwoot.parse import parse
from services.ingest.providers.chatwoot.shape import MESSAGE_CREATED, event_name, ordering_key
from services.ingest.providers.chatwoot.verify import delivery_key, verify_webhook
from services.ingest.providers.provider import ConnectionRules, Provider

BODY_BYTES_MAX = 8 * 1024 * 1024

CHATWOOT = Provider(
    name="CHATWOOT",
    number=1,
    body_bytes_max=BODY_BYTES_MAX,
    secret_fields=CHATWOOT_SECRETS,
    verify=verify_webhook,
    delivery_key=delivery_key,
    event_name=event_name,
    ordering_key=ordering_key,
    parse=parse,
    connection_rules=ConnectionRules(account_id=rules.account_id, message_event=MESSAGE_CREATED),
    check=check_connection,
    prove=prove,
)
