"""A connection or channel that was mistyped is mended: the next webhook already goes by it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.harness import EVOLUTION_INBOX, WHATSAPP_INBOX, Harness, changed, sample

MESSAGE = "message_created.whatsapp_cloud.incoming"
OTHER_INBOX = 78


async def patch(harness: Harness, path: str, body: dict[str, Any], key: str = "") -> tuple[int, dict[str, Any]]:
    """Changes something through the REST interface with the API key."""
    headers = {"X-Api-Key": harness.api_key} | ({"Idempotency-Key": key} if key else {})
    async with harness.session.patch(harness.url + path, json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def channel_path(harness: Harness, inbox_id: int) -> str:
    """Where the channel of an inbox is changed."""
    path = f"/api/v1/connections/{harness.connection.connection_id}"
    status, found = await harness.get(path)
    assert status == 200
    return next(
        f"{path}/channels/{channel['channel_id']}" for channel in found["channels"] if channel["inbox_id"] == inbox_id
    )


def from_inbox(inbox_id: int, number: int) -> dict[str, Any]:
    """A message of somebody new, in an inbox."""
    body = changed(sample(MESSAGE), inbox__id=inbox_id, conversation__inbox_id=inbox_id, id=6_000_000 + number)
    person = changed(body["sender"], id=600 + number, phone_number=f"+55119000{number:05d}")
    return changed(
        body,
        sender=person,
        conversation__id=600 + number,
        conversation__meta__sender=person,
        conversation__contact_inbox__source_id=f"55119000{number:05d}",
    )


async def test_the_next_message_goes_by_the_channel_as_it_is_now(harness: Harness) -> None:
    row = await harness.deliver(from_inbox(OTHER_INBOX, 1))
    assert (row["state"], row["reason"]) == ("IGNORED", "FOREIGN_INBOX"), row
    path = await channel_path(harness, WHATSAPP_INBOX)
    _, board = await harness.send("/api/v1/boards", {"name": "Vendas"})
    change = {"inbox_id": OTHER_INBOX, "board_id": board["board_id"], "name": None}
    status, first = await patch(harness, path, change, key="mend-1")
    assert (status, first["inbox_id"], first["board_id"]) == (200, OTHER_INBOX, board["board_id"]), first
    assert await patch(harness, path, change, key="mend-1") == (200, first)

    row = await harness.deliver(from_inbox(OTHER_INBOX, 2))
    assert row["state"] == "PROCESSED", row
    _, deal = await harness.get(f"/api/v1/deals/{row['deal_id']}")
    assert deal["board_id"] == board["board_id"]
    row = await harness.deliver(from_inbox(WHATSAPP_INBOX, 3))
    assert (row["state"], row["reason"]) == ("IGNORED", "FOREIGN_INBOX"), row

    status, closed = await patch(harness, path, {"active": False})
    assert (status, closed["active"]) == (200, False)
    row = await harness.deliver(from_inbox(OTHER_INBOX, 4))
    assert (row["state"], row["reason"]) == ("IGNORED", "FOREIGN_INBOX"), row


async def test_a_mistyped_account_is_mended_until_its_messages_were_taken_in(harness: Harness) -> None:
    path = f"/api/v1/connections/{harness.connection.connection_id}"
    status, wrong = await patch(harness, path, {"account_id": harness.account_id + 500_000})
    assert status == 200, wrong
    # Conversations of older releases name no account, so some came in all the same.
    silent = sample("conversation_created.whatsapp_cloud")
    silent.pop("account")
    row = await harness.deliver(silent)
    assert row["state"] == "PROCESSED", row
    row = await harness.deliver(sample(MESSAGE))
    assert (row["state"], row["reason"]) == ("IGNORED", "FOREIGN_ACCOUNT"), row

    status, right = await patch(harness, path, {"account_id": harness.account_id})
    assert (status, right["account_id"]) == (200, harness.account_id), right
    status, _ = await harness.send(f"/api/v1/webhook-events/{row['id']}:replay", {})
    assert status == 200
    row = await harness.done(str(row["id"]))
    assert row["state"] == "PROCESSED", row

    status, refused = await patch(harness, path, {"account_id": harness.account_id + 1})
    assert (status, refused["reason"]) == (400, "ACCOUNT_IN_USE"), refused
    status, renamed = await patch(harness, path, {"account_id": harness.account_id, "name": "Principal"})
    assert (status, renamed["name"]) == (200, "Principal")


@pytest.mark.parametrize("thing", ["connection", "channel"])
async def test_what_is_not_there_answers_404_and_nothing_to_change_400(harness: Harness, thing: str) -> None:
    path = f"/api/v1/connections/{harness.connection.connection_id}"
    if thing == "channel":
        path = await channel_path(harness, EVOLUTION_INBOX)
    missing = f"{path.rpartition('/')[0]}/{uuid4()}"
    status, refused = await patch(harness, missing, {"name": "Outro"})
    assert (status, refused["reason"]) == (404, f"{thing.upper()}_NOT_FOUND")
    status, refused = await patch(harness, path, {})
    assert (status, refused["reason"]) == (400, "NOTHING_TO_CHANGE")
    status, refused = await patch(harness, path, {"connection_key": str(UUID(int=1))})
    assert (status, refused["reason"]) == (400, "FIELD_UNKNOWN")
