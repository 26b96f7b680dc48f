"""Accepting webhooks: who may send, what is answered, and that nobody's body breaks it."""

from __future__ import annotations

import asyncio
import io
import random
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.limits import CHATWOOT_BODY_BYTES_MAX
from sandbox.chatwoot.signing import signed_request
from services.ingest.connections.cache import CHANGED_SUBJECT
from services.ingest.limits import UNSIGNED_DAYS, UNSIGNED_DAYS_MAX
from services.ingest.providers import PROVIDERS
from tests.harness import SAMPLES, SECRET, Harness, changed, open_harness, sample
from tests.world import World

INCOMING = "message_created.whatsapp_cloud.incoming"


@pytest.mark.req("IN-02")
async def test_a_changed_byte_an_old_time_and_no_signature_are_refused(harness: Harness) -> None:
    body = orjson.dumps(sample(INCOMING))
    now = int(harness.world.clock.now().timestamp())
    cases = {
        "SIGNATURE_MISMATCH": (body.replace(b"bom dia", b"bom fim"), signed_request(body, SECRET, "d1", now)),
        "TIMESTAMP_STALE": (body, signed_request(body, SECRET, "d2", now - 301)),
        "SIGNATURE_MISSING": (body, {"Content-Type": "application/json"}),
    }
    for reason, (sent, headers) in cases.items():
        async with harness.session.post(harness.webhook_url, data=sent, headers=headers) as response:
            answer = await response.json(content_type=None)
            assert (response.status, answer["reason"]) == (401, reason)
    assert await harness.count("ingest.webhook_events") == 0


async def test_what_is_larger_than_its_provider_sends_is_refused_and_not_stored(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = harness.encoded(sample(INCOMING))
    monkeypatch.setitem(PROVIDERS, "CHATWOOT", replace(PROVIDERS["CHATWOOT"], body_bytes_max=len(body)))
    status, answer = await harness.post(body + b" ")
    assert (status, answer["reason"]) == (413, "BODY_TOO_LARGE")
    assert await harness.count("ingest.webhook_events") == 0
    assert (await harness.post(body))[0] == 200


@pytest.mark.req("IN-02")
@pytest.mark.case("S2")
async def test_without_a_secret_unsigned_webhooks_come_in_for_a_time_and_are_seen(
    world: World, session: aiohttp.ClientSession
) -> None:
    harness = await open_harness(world, session, secret="")
    counted = _accepted_unsigned(world)
    event = await harness.deliver(sample(INCOMING), secret=None)
    assert (event["state"], event["signed"]) == ("PROCESSED", False)
    assert _accepted_unsigned(world) == counted + 1
    path = f"/api/v1/connections/{harness.connection.connection_id}"
    await world.until(
        "select 1 from ingest.connections where organization_id = %s and last_unsigned_time is not null",
        harness.organization_id,
    )
    _, shown = await harness.get(path)
    now = world.clock.now()
    assert now - timedelta(minutes=2) < datetime.fromisoformat(shown["last_unsigned_time"]) <= now
    end_time = datetime.fromisoformat(shown["unsigned_end_time"])
    assert end_time == datetime.fromisoformat(shown["create_time"]) + timedelta(days=UNSIGNED_DAYS)

    async def until(end_time: datetime) -> tuple[int, dict[str, Any]]:
        body = {"unsigned_end_time": end_time.isoformat()}
        async with session.patch(harness.url + path, json=body, headers={"X-Api-Key": harness.api_key}) as response:
            return response.status, await response.json()

    status, told = await until(now + timedelta(days=UNSIGNED_DAYS_MAX + 1))
    assert (status, told["reason"]) == (400, "UNSIGNED_END_TIME_INVALID")
    assert (await until(now - timedelta(seconds=1)))[0] == 200
    status, told = await harness.post(changed(sample(INCOMING), id=9001), secret=None)
    assert (status, told["reason"]) == (401, "UNSIGNED_ENDED")
    assert (await until(now + timedelta(days=1)))[0] == 200
    assert (await harness.post(changed(sample(INCOMING), id=9001), secret=None))[0] == 200
    # With a secret there is nothing to end: unsigned ones are refused.
    await harness.send(f"{path}:addSecret", {"webhook_secret": SECRET})
    assert (await harness.get(path))[1]["unsigned_end_time"] is None
    assert (await harness.post(sample(INCOMING), secret=None))[0] == 401


def _accepted_unsigned(world: World) -> float:
    labels = {"provider": "chatwoot", "outcome": "accepted", "check": "unsigned_accepted"}
    return world.host.metrics.registry.get_sample_value("prosa_webhooks_total", labels) or 0.0


@pytest.mark.case("S10", "F19")
async def test_one_delivery_id_with_three_bodies_is_three_events(harness: Harness) -> None:
    """Even where they differ behind thousands of bytes that are the same."""
    texts = ["x" * 20_000 + end for end in "abc"]
    bodies = [
        harness.encoded(changed(sample(INCOMING), content=text, id=7000 + turn)) for turn, text in enumerate(texts)
    ]
    ids = set()
    for body in (*bodies, *bodies):
        status, answer = await harness.post(body, delivery_id="the-same")
        assert status == 200
        ids.add(answer["webhook_event_id"])
    assert len(ids) == 3
    assert {(await harness.done(event_id))["state"] for event_id in ids} == {"PROCESSED"}
    assert await harness.count("conversation.messages") == 3


@pytest.mark.case("S6")
async def test_a_secret_that_cannot_be_opened_shuts_out_its_connection_and_no_other(
    world: World, session: aiohttp.ClientSession
) -> None:
    broken, sound = [await open_harness(world, session) for _ in range(2)]
    event = await broken.deliver(sample(INCOMING))
    async with await world.admin() as admin:
        await admin.execute(
            "update ingest.connection_secrets set secret_sealed = 'gone:' where organization_id = %s",
            [broken.organization_id],
        )
    await world.host.nats.publish(CHANGED_SUBJECT, b"")
    await world.host.nats.flush()
    answers = await asyncio.gather(*(harness.post(harness.encoded(sample(INCOMING))) for harness in (broken, sound)))
    assert [status for status, _ in answers] == [503, 200]
    assert answers[0][1]["reason"] == "SECRET_UNREADABLE"
    assert (await sound.done(answers[1][1]["webhook_event_id"]))["state"] == "PROCESSED"
    # The process is as ready as before: nobody else's webhooks are turned away for it.
    async with session.get(f"http://127.0.0.1:{world.host.http_port}/readyz") as ready:
        assert ready.status == 200, await ready.text()
    # What was let in before is processed all the same.
    assert (await broken.send(f"/api/v1/webhook-events/{event['id']}:replay", {}))[0] == 200
    assert (await broken.done(str(event["id"])))["state"] == "PROCESSED"
    # Its own organization mends it: the secret is added again, and what cannot be opened is forgotten.
    path = f"/api/v1/connections/{broken.connection.connection_id}:addSecret"
    status, answer = await broken.send(path, {"webhook_secret": SECRET})
    assert status == 200, answer
    status, answer = await broken.post(broken.encoded(changed(sample(INCOMING), id=7100)))
    assert status == 200, answer
    status, answer = await broken.post(broken.encoded(changed(sample(INCOMING), id=7101)), secret="x" * 20)
    assert (status, answer["reason"]) == (401, "SIGNATURE_MISMATCH")


async def test_an_unknown_key_is_not_found(harness: Harness) -> None:
    async with harness.session.post(harness.url + "/webhooks/chatwoot/nobody-knows-this-key", data=b"{}") as response:
        assert response.status == 404


async def test_a_body_over_the_limit_is_too_large(harness: Harness) -> None:
    body = io.BytesIO(b"x" * (CHATWOOT_BODY_BYTES_MAX + 1))
    async with harness.session.post(harness.webhook_url, data=body) as response:
        assert response.status == 413
        assert (await response.json(content_type=None))["reason"] == "BODY_TOO_LARGE"
    assert await harness.count("ingest.webhook_events") == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "MALFORMED_JSON"),
        (b"{", "MALFORMED_JSON"),
        (b"\xff\xfe{}", "MALFORMED_JSON"),
        (b'"\\ud800"', "UNKNOWN_SHAPE"),
        (b"[" * 100_000, "TOO_DEEP"),
        (b'{"event":"message_created","a":' * 900 + b"1" + b"}" * 900, "TOO_DEEP"),
        (b'{"event":"message_created"}', "NO_INBOX_CONTEXT"),
        (b"[]", "UNKNOWN_SHAPE"),
    ],
)
async def test_what_nobody_can_read_is_accepted_and_becomes_a_dead_letter(
    harness: Harness, body: bytes, reason: str
) -> None:
    event = await harness.deliver(body)
    assert event["state"] == "DEAD_LETTER", event
    assert event["reason"] == reason
    _, listed = await harness.get("/api/v1/webhook-events", state="DEAD_LETTER")
    assert [item["webhook_event_id"] for item in listed["webhook_events"]] == [str(event["id"])]


async def test_nul_characters_reach_no_table(harness: Harness) -> None:
    event = await harness.deliver(changed(sample(INCOMING), content="a\u0000b"))
    assert event["state"] == "PROCESSED"
    _, messages = await harness.get(f"/api/v1/conversations/{event['conversation_id']}/messages")
    assert messages["messages"][0]["text"] == "ab"


@pytest.mark.case("S13")
async def test_secrets_reach_no_stored_body(harness: Harness) -> None:
    secret = "S3CRET-of-somebody"
    names = ("Authorization", "jwt", "access_key", "provider_connection", "provider_config", "pubsub_token", "api_key")
    body = sample(INCOMING) | dict.fromkeys(names, secret)
    body["provider_connection"] = {"qr_data_url": secret, "more": [{"deep": secret}]}
    body["content"] = f"see https://ana:{secret}@example.com/a and mail@example.com"
    event = await harness.deliver(body)
    assert event["state"] == "PROCESSED"
    assert secret.encode() not in event["body"]
    kept = orjson.loads(event["body"])
    assert {kept[name] for name in names} == {"[blanked]"}
    assert kept["content"] == "see https://[blanked]@example.com/a and mail@example.com"


@pytest.mark.case("S5")
async def test_what_strangers_send_keeps_no_genuine_webhook_out(harness: Harness) -> None:
    """Bodies of many empty lists take seconds to read: nobody reads them for whoever proves nothing."""
    url = harness.url
    crowd = b"[" + b"[]," * (CHATWOOT_BODY_BYTES_MAX // 3 - 1) + b"1]"
    now = int(harness.world.clock.now().timestamp())
    forged = signed_request(crowd, "somebody else's secret", "x", now)
    targets = {url + "/webhooks/chatwoot/a-key-that-is-nobodys": 404, harness.legacy_url: 401, harness.webhook_url: 401}

    async def attack(target: str) -> int:
        async with harness.session.post(target, data=io.BytesIO(crowd), headers=forged) as response:
            return response.status

    attacks = [asyncio.create_task(attack(target)) for target in targets for _ in range(4)]
    answers = [await harness.post(changed(sample(INCOMING), id=8000 + turn)) for turn in range(20)]
    assert {status for status, _ in answers} == {200}
    told = await asyncio.gather(*attacks, return_exceptions=True)
    # Who sends on after its answer may find the connection closed.
    assert {answer for answer in told if isinstance(answer, int)} <= {401, 404, 503}
    assert await harness.count("ingest.webhook_events") == 20


@pytest.mark.case("S5")
async def test_a_genuine_crowd_is_stored_and_is_a_dead_letter(harness: Harness) -> None:
    body = b'{"event":"message_created","a":[' + b"[]," * 100_001 + b"1]}"
    event = await harness.deliver(body)
    assert (event["state"], event["reason"], event["body"]) == ("DEAD_LETTER", "TOO_LARGE", body)


@pytest.mark.parametrize("seed", range(3))
async def test_mutated_bodies_are_answered_200_and_never_lost(harness: Harness, seed: int) -> None:
    draws = random.Random(seed)
    samples = [path.read_bytes() for path in sorted(SAMPLES.glob("*.json"))]
    bodies = [_mutated(draws, draws.choice(samples)) for _ in range(100)]
    answers = [await harness.post(body) for body in bodies]
    assert {status for status, _ in answers} == {200}
    for _, answer in answers:
        event = await harness.done(answer["webhook_event_id"])
        assert event["state"] in {"PROCESSED", "IGNORED", "DEAD_LETTER"}
        assert event["reason"] or event["state"] == "PROCESSED"


ODD_VALUES = [b"null", b"[]", b"{}", b"-1", b'""', b'"\\u0000"', b"1e400", b"9" * 30, b'"' + b"x" * 5000 + b'"']


def _mutated(draws: random.Random, body: bytes) -> bytes:
    """A body with some bytes changed, a stretch left out, or one of its values replaced by something odd."""
    kind = draws.randrange(3)
    if kind == 0:
        flipped = bytearray(body)
        for _ in range(draws.randrange(1, 4)):
            flipped[draws.randrange(len(body))] = draws.randrange(256)
        return bytes(flipped)
    if kind == 1:
        start = draws.randrange(len(body))
        return body[:start] + body[start + draws.randrange(1, 40) :]
    values = list(re.finditer(rb'(?<=": )("[^"]*"|-?[0-9.]+|true|false|null)', body))
    chosen = draws.choice(values)
    return body[: chosen.start()] + draws.choice(ODD_VALUES) + body[chosen.end() :]


async def test_the_store_away_is_503_within_four_seconds_and_nothing_is_lost(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = await harness.world.admin()
    async with lock, lock.transaction():
        # Held so that the insert waits for longer than any provider does.
        await lock.execute("lock table ingest.delivery_keys in access exclusive mode")
        started = asyncio.get_running_loop().time()
        body = harness.encoded(sample(INCOMING))
        headers = signed_request(body, SECRET, "slow", int(harness.world.clock.now().timestamp()))
        async with harness.session.post(harness.webhook_url, data=body, headers=headers) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
        assert asyncio.get_running_loop().time() - started < 4.5
    event = await harness.deliver(body, delivery_id="slow")
    assert event["state"] == "PROCESSED"


async def test_the_receiver_answers_while_the_rest_of_the_suite_is_away(harness: Harness) -> None:
    """Nothing behind the store is asked before the answer: a locked identity does not hold the 200."""
    lock = await harness.world.admin()
    async with lock, lock.transaction():
        await lock.execute("lock table identity.contact_identities in access exclusive mode")
        status, answer = await harness.post(sample(INCOMING))
        assert status == 200
    assert (await harness.done(answer["webhook_event_id"]))["state"] == "PROCESSED"
