"""A deal moves by its id: over REST, over the address of old, live on the stream, with its history."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.harness import Harness, sample
from tests.integration.gateway.test_stream import read_event

FIRST = "conversation_created.instagram_login"
LABEL = "Direcionado para Canal Oficial"


async def given_deal(harness: Harness) -> dict[str, Any]:
    """The deal of somebody who wrote for the first time, on the standard board."""
    await harness.deliver(sample(FIRST))
    _, deals = await harness.get("/api/v1/deals")
    [deal] = deals["deals"]
    return dict(deal)


async def history(harness: Harness, deal_id: str) -> list[dict[str, Any]]:
    """The deal's moves, the oldest first."""
    status, answer = await harness.get(f"/api/v1/deals/{deal_id}/stage-moves")
    assert status == 200, answer
    return list(reversed(answer["stage_moves"]))


@pytest.mark.req("CR-06")
async def test_a_move_is_in_the_deal_in_its_history_and_on_the_stream(harness: Harness) -> None:
    deal = await given_deal(harness)
    headers = {"X-Api-Key": harness.api_key, "X-Correlation-Id": "flow-7"}
    stream = harness.session.get(f"{harness.url}/api/v1/stream", params={"types": "DealMoved"}, headers=headers)
    async with stream as watching:
        body = {"stage": LABEL, "ai_summary": "Quer orçamento.", "note": "vi no painel"}
        async with harness.session.post(
            f"{harness.url}/api/v1/deals/{deal['deal_id']}:move", json=body, headers=headers
        ) as response:
            moved = await response.json()
            assert response.status == 200, moved
        event = await asyncio.wait_for(read_event(watching), 20)
    assert (moved["stage_label"], moved["ai_summary"], moved["state"]) == (LABEL, "Quer orçamento.", "OPEN")
    assert event.name == "prosa.crm.v1.DealMoved"
    assert event.data["data"]["deal"] == moved
    [move] = await history(harness, deal["deal_id"])
    assert event.data["data"]["stage_move"] == move
    assert (move["from_stage_label"], move["to_stage_label"]) == (deal["stage_label"], LABEL)
    assert (move["source"], move["actor"]["name"], move["correlation_id"]) == ("api", "tests", "flow-7")
    assert move["actor"]["principal"].startswith("key:")
    assert (move["ai_summary"], move["note"]) == ("Quer orçamento.", "vi no painel")


@pytest.mark.req("CR-03")
@pytest.mark.parametrize(
    "written", [LABEL, "direcionado para canal oficial", "DIRECIONADO CANAL OFICIAL", "Canal oficial"]
)
async def test_a_stage_is_found_by_what_people_and_flows_write(harness: Harness, written: str) -> None:
    deal = await given_deal(harness)
    status, moved = await harness.send(f"/api/v1/deals/{deal['deal_id']}:move", {"stage": written})
    assert (status, moved.get("stage_label")) == (200, LABEL), moved


@pytest.mark.req("CR-03")
async def test_an_unknown_label_answers_the_labels_there_are_on_both_addresses(harness: Harness) -> None:
    deal = await given_deal(harness)
    status, refused = await harness.send(f"/api/v1/deals/{deal['deal_id']}:move", {"stage": "Vendido"})
    assert (status, refused["reason"]) == (404, "STAGE_NOT_FOUND")
    assert LABEL in refused["detail"]
    assert LABEL in refused["metadata"]["stages"]
    legacy = {"deal_id": deal["deal_id"], "to_stage_label": "Vendido"}
    status, refused = await harness.send("/api/public/v1/deals/move-stage", legacy)
    assert (status, refused["code"]) == (422, "VALIDATION_ERROR")
    assert refused["error"].startswith("Stage not found for this board.")
    assert LABEL in refused["error"]
    assert await history(harness, deal["deal_id"]) == []


async def test_the_address_of_old_moves_with_a_summary_and_marks(harness: Harness) -> None:
    deal = await given_deal(harness)
    body = {
        "deal_id": deal["deal_id"],
        "to_stage_id": "  ",
        "to_stage_label": "em atendimento",
        "ai_summary": "Pediu o cardápio.",
        "unknown": "is passed over",
    }
    status, answer = await harness.send("/api/public/v1/deals/move-stage", body)
    assert status == 200, answer
    assert answer["data"]["action"] == "moved"
    assert answer["data"]["deal"]["id"] == deal["deal_id"]
    assert answer["data"]["deal"]["ai_summary"] == "Pediu o cardápio."
    status, answer = await harness.send(f"/api/public/v1/deals/{deal['deal_id']}/move-stage", {"mark": "won"})
    assert (status, answer["data"]["deal"]["state"]) == (200, "WON")
    # Closed, it is found there no more.
    status, answer = await harness.send("/api/public/v1/deals/move-stage", body | {"to_stage_label": "Follow-up"})
    assert (status, answer["code"]) == (404, "NOT_FOUND")
    moves = await history(harness, deal["deal_id"])
    assert [(move["to_stage_label"], move["to_state"], move["source"]) for move in moves] == [
        ("Em Atendimento", "OPEN", "legacy"),
        ("Em Atendimento", "WON", "legacy"),
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"to_stage_label": "Follow-up"}, "deal_id"),
        ({"deal_id": "undefined", "to_stage_label": "Follow-up"}, "undefined"),
        ({"deal_id": str(uuid4()), "to_stage_label": "null"}, "null"),
        ({"deal_id": str(uuid4())}, "to_stage_label"),
        ({"deal_id": str(uuid4()), "mark": "maybe"}, "won or lost"),
        ({"deal_id": 7, "to_stage_label": "Follow-up"}, "must be a text"),
    ],
)
async def test_a_flow_that_found_nothing_is_told_which_field(harness: Harness, body: dict[str, Any], told: str) -> None:
    status, answer = await harness.send("/api/public/v1/deals/move-stage", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert told in answer["error"]


async def test_without_a_key_nothing_is_moved_at_the_address_of_old(harness: Harness) -> None:
    deal = await given_deal(harness)
    body = {"deal_id": deal["deal_id"], "to_stage_label": "Follow-up"}
    url = f"{harness.url}/api/public/v1/deals/move-stage"
    async with harness.session.post(url, json=body) as response:
        assert (response.status, (await response.json())["code"]) == (401, "AUTH_MISSING")
    async with harness.session.post(url, json=body, headers={"X-Api-Key": "ncrm_nobody"}) as response:
        assert (response.status, (await response.json())["code"]) == (401, "AUTH_INVALID")
    assert await history(harness, deal["deal_id"]) == []
