"""Strangers at the address that all organizations share, with headers that look signed: what they send is dear to read.

Whose a webhook is stands in its body there, so some of it is read before anybody has proved anything.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import uuid4

import orjson
import pytest

from chassis import json_reading
from gateway.routes.webhooks import WebhookLimits
from sandbox.chatwoot.signing import signed_request
from services.ingest.limits import UNPROVEN_MENDED_BYTES_MAX, UNPROVEN_READ_BYTES_MAX
from services.ingest.providers import bodies
from services.ingest.providers.chatwoot import legacy_path
from tests.harness import Harness, changed, sample
from tests.siege.strangers import DEAR_BODIES
from tests.world import PATIENCE_SECONDS

INCOMING = "message_created.whatsapp_cloud.incoming"
WEBHOOK_LIMITS = WebhookLimits(deadline_seconds=PATIENCE_SECONDS, call_timeout_seconds=PATIENCE_SECONDS)
"""Who is answered what is asked here, and not how soon: a 503 of a busy machine says nothing of either."""
OTHER_SECRET = "whsec-of-somebody-else-9876543210"
pytestmark = pytest.mark.case("S5")


def forged(harness: Harness, body: bytes) -> dict[str, str]:
    """Headers as Chatwoot sends them, with a secret that is nobody's."""
    return signed_request(body, OTHER_SECRET, str(uuid4()), int(harness.world.clock.now().timestamp()))


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("place", [b'{"event":%b}', b'{"event":"x","account":%b}', b'{"account":{"id":%b}}', b"%b"])
async def test_what_nests_as_deep_as_it_can_be_read_refuses_itself_and_no_other(
    harness: Harness, opening: bytes, closing: bytes, place: bytes
) -> None:
    """A value that nests deeply can be read and yet not be written as a text: 2 KB of it failed its whole batch."""
    body = place % (opening * 1_020 + b"1" + closing * 1_020)

    async def strange() -> int:
        async with harness.session.post(harness.legacy_url, data=body, headers=forged(harness, body)) as response:
            return response.status

    strangers = [asyncio.create_task(strange()) for _ in range(8)]
    genuine = [await harness.post(changed(sample(INCOMING), id=9_000 + turn), legacy=True) for turn in range(4)]
    assert await asyncio.gather(*strangers) == [401] * 8
    assert genuine == [(200, {"success": True})] * 4


@pytest.mark.parametrize("kind", DEAR_BODIES)
async def test_bodies_that_are_dear_to_read_keep_no_genuine_webhook_waiting(harness: Harness, kind: str) -> None:
    body = DEAR_BODIES[kind]
    headers = forged(harness, body)

    async def strange() -> int:
        async with harness.session.post(harness.legacy_url, data=body, headers=headers) as response:
            return response.status

    strangers = [asyncio.create_task(strange()) for _ in range(40)]
    answers = [
        await harness.post(changed(sample(INCOMING), id=8_000 + turn), legacy=turn % 2 == 0) for turn in range(4)
    ]
    assert [status for status, _ in answers] == [200] * 4
    assert set(await asyncio.gather(*strangers)) <= {401, 503}
    assert await harness.count("ingest.webhook_events") == 4


async def test_beyond_a_small_bound_nothing_of_a_strangers_is_read_on_the_event_loop(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[tuple[int, int | None]] = []
    apart: dict[int, str] = {}
    read_json, parsed = json_reading.read_json, bodies.parsed

    def reading(body: bytes, mended_bytes_max: int | None = None) -> Any:
        at_once.append((len(body), mended_bytes_max))
        return read_json(body, mended_bytes_max)

    def reading_apart(body: bytes, *limits: int) -> Any:
        apart[len(body)] = threading.current_thread().name.partition("_")[0]
        return parsed(body, *limits)

    monkeypatch.setattr(legacy_path, "read_json", reading)
    monkeypatch.setattr(legacy_path, "parsed", reading_apart)
    broken = b'{"event":"\\ud83d","account":{"id":%d}}' % harness.account_id
    large = orjson.dumps({"event": "x" * UNPROVEN_READ_BYTES_MAX})
    for body in (b"{}", broken, large):
        async with harness.session.post(harness.legacy_url, data=body, headers=forged(harness, body)) as response:
            assert response.status == 401
    assert sorted(at_once) == [(2, 0), (len(broken), 0)], "whole, small, and never mended"
    assert apart == {len(broken): "unproven", len(large): "unproven"}


async def test_a_damaged_body_that_is_genuine_is_read_once_that_is_proved(harness: Harness) -> None:
    text = "x" * UNPROVEN_MENDED_BYTES_MAX
    body = harness.encoded(changed(sample(INCOMING), content=text)).replace(b'"xx', b'"\\ud83dxx')
    # The body was not read to find the account, so the header has to name whose it is.
    named = str(harness.organization_id)
    assert await harness.post(body, legacy=True, organization=named) == (200, {"success": True})
    rows = await harness.world.until(
        "select * from conversation.messages where organization_id = %s", harness.organization_id
    )
    assert rows[0]["text"].startswith("\ufffdxx")
