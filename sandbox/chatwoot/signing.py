"""How Chatwoot signs a webhook. Pure: tests, benchmarks and the smoke command sign with the same lines."""

import hashlib
import hmac

SIGNATURE_HEADER = "X-Chatwoot-Signature"
TIMESTAMP_HEADER = "X-Chatwoot-Timestamp"
DELIVERY_HEADER = "X-Chatwoot-Delivery"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The signature header's value: `sha256=` and the hex HMAC over timestamp, a dot and the raw body."""
    signed = str(timestamp).encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def signed_request(body: bytes, secret: str | None, delivery_id: str, timestamp: int) -> dict[str, str]:
    """All headers of one webhook request; timestamp in Unix seconds.

    Without a secret there is neither signature nor timestamp, as Chatwoot does before 4.11.2.
    """
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        DELIVERY_HEADER: delivery_id,
    }
    if secret is not None:
        headers[TIMESTAMP_HEADER] = str(timestamp)
        headers[SIGNATURE_HEADER] = signature(secret, timestamp, body)
    return headers
