"""JSON that was damaged without anybody meaning it is taken, through every entry that reads it."""

from __future__ import annotations

import orjson
import pytest

from tests.harness import Harness, sample
from tests.integration.main_way.test_ensure import ENSURE

INCOMING = "message_created.whatsapp_cloud.incoming"
BOM = b"\xef\xbb\xbf"

pytestmark = pytest.mark.case("F01")


async def raw_ensure(harness: Harness, body: bytes) -> tuple[int, dict[str, object]]:
    """Calls ensure with these very bytes."""
    headers = {"X-Api-Key": harness.api_key, "Content-Type": "application/json"}
    async with harness.session.post(harness.url + ENSURE, data=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (rb'"Noemi Prates \ud83d"', "Noemi Prates \ufffd"),
        (rb'"Noemi \ude00 Prates"', "Noemi \ufffd Prates"),
        (b'"Noemi Prates \xf0\x9f\x98"', "Noemi Prates \ufffd"),
        (rb'"Noemi\u0000 Prates"', "Noemi Prates"),
        (b'"Noemi\nPrates"', "Noemi\nPrates"),
    ],
)
@pytest.mark.parametrize("mark", [b"", BOM])
async def test_ensure_takes_a_name_with_half_a_character(
    harness: Harness, written: bytes, name: str, mark: bytes
) -> None:
    body = mark + b'{"source":"WHATSAPP","external_id":"+5548991110101","name":' + written + b"}"
    status, answer = await raw_ensure(harness, body)
    assert status == 200, answer
    _, contact = await harness.get(f"/api/v1/contacts/{answer['contact_id']}")
    assert contact["name"] == name


async def test_a_body_that_was_cut_off_is_still_refused_with_its_place(harness: Harness) -> None:
    status, answer = await raw_ensure(harness, BOM + b'{"source":"WHATSAPP","name":"No')
    assert (status, answer["reason"]) == (400, "JSON_MALFORMED")
    assert await harness.count("identity.contacts") == 0


@pytest.mark.parametrize("written", [b"NaN", b"1e400", b"-Infinity", b"9" * 40])
async def test_a_number_that_is_none_is_refused_by_its_field(harness: Harness, written: bytes) -> None:
    body = (
        b'{"source":"WHATSAPP","external_id":"+5548991110101","conversation":{"account_id":1,"inbox_id":21,'
        b'"conversation_id":' + written + b"}}"
    )
    status, answer = await raw_ensure(harness, body)
    assert (status, answer["reason"]) == (400, "FIELD_INVALID")
    assert "conversation.conversation_id" in str(answer)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb'"bom dia \ud83d"', "bom dia \ufffd"),
        (b'"bom dia \xf0\x9f\x98"', "bom dia \ufffd"),
        (b'"bom dia \xed\xa0\xbd\xed\xb8\x80"', "bom dia \U0001f600"),
    ],
)
@pytest.mark.parametrize("mark", [b"", BOM])
async def test_a_webhook_with_half_a_character_is_a_message(
    harness: Harness, written: bytes, text: str, mark: bytes
) -> None:
    whole = orjson.dumps(sample(INCOMING)["content"])
    body = mark + harness.encoded(sample(INCOMING)).replace(b'"content":' + whole, b'"content":' + written)
    event = await harness.deliver(body)
    assert event["state"] == "PROCESSED", event
    # Told apart by what the body says, so that it is kept in order with its conversation.
    assert event["ordering_key"].endswith("/c:391")
    _, messages = await harness.get(f"/api/v1/conversations/{event['conversation_id']}/messages")
    assert [message["text"] for message in messages["messages"]] == [text]
    assert b"cwExPubSub" not in event["body"], "the secret of the conversation was kept"


async def test_a_webhook_in_utf_16_is_kept_without_its_secrets(harness: Harness) -> None:
    event = await harness.deliver(harness.encoded(sample(INCOMING)).decode().encode("utf-16"))
    assert event["state"] == "PROCESSED", event
    assert b"cwExPubSub" not in event["body"].replace(b"\0", b"")


async def test_the_legacy_address_reads_what_is_damaged(harness: Harness) -> None:
    body = harness.encoded(sample(INCOMING)).replace(b"bom dia", rb"\ud83d")
    assert rb"\ud83d" in body
    async with harness.session.post(f"{harness.url}/api/chatwoot/webhook", data=body) as response:
        # Whose it is was read, so it lacks nothing but a signature.
        assert response.status == 401
