"""How much work a stranger can make by claiming an account that many connections have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from services.ingest.connections.cache import Connection
from services.ingest.limits import LARGE_BODY_BYTES, LEGACY_HASHED_BYTES_MAX, LEGACY_SECRETS_TRIED_MIN
from services.ingest.providers.chatwoot import legacy_path, verify
from services.ingest.providers.proof import Proof, Refusal
from tests.unit.ingest.samples import CONTEXT

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
INBOX = 21
OF_NO_INBOX = replace(CONTEXT, channels={})
pytestmark = pytest.mark.case("S1", "S5")


def connection(secret: str, context: Any = OF_NO_INBOX) -> Connection:
    """A connection to the account."""
    return Connection(
        id=uuid4(),
        organization_id=uuid4(),
        provider="CHATWOOT",
        key="key",
        secrets=(secret,),
        legacy_static_secret_end_time=None,
        unsigned_end_time=NOW,
        context=context,
    )


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what was hashed with a secret."""
    sizes: list[int] = []
    really = verify._digest

    def digest(secret: str, signed: bytes) -> str:
        sizes.append(len(signed))
        return really(secret, signed)

    monkeypatch.setattr(verify, "_digest", digest)
    return sizes


def choose(body: bytes, secret: str, candidates: list[Connection]) -> Proof | Refusal:
    """What becomes of a body that was signed with the secret."""
    headers = verify.sign(body, secret, int(NOW.timestamp()))
    claim = verify.read_claim(headers, NOW)
    assert isinstance(claim, verify.Claim)
    root = {"event": "message_created", "account": {"id": 7}, "inbox": {"id": INBOX}}
    return legacy_path.read_target(root, "").choose(claim, body, candidates, NOW)


@pytest.mark.parametrize("byte_count", [10_000, LARGE_BODY_BYTES, 8 * 1024 * 1024])
def test_a_body_is_hashed_only_so_often_however_many_claim_its_account(hashed: list[int], byte_count: int) -> None:
    body = b"x" * byte_count
    crowd = [connection(f"whsec-of-the-crowd-{number}") for number in range(2_000)]
    refused = choose(body, "whsec-of-a-stranger", crowd)
    assert isinstance(refused, Refusal)
    # The first was the stranger's own signing.
    tried = len(hashed) - 1
    assert 0 < tried <= max(LEGACY_SECRETS_TRIED_MIN, LEGACY_HASHED_BYTES_MAX // byte_count)


def test_who_has_the_inbox_is_tried_before_the_crowd(hashed: list[int]) -> None:
    body = b"x" * LARGE_BODY_BYTES
    mine = connection("whsec-of-the-one-meant", CONTEXT)
    crowd = [connection(f"whsec-of-the-crowd-{number}") for number in range(2_000)]
    proof = choose(body, "whsec-of-the-one-meant", [*crowd, mine])
    assert isinstance(proof, Proof)
    assert proof.connection is mine
    assert len(hashed) - 1 == 1
