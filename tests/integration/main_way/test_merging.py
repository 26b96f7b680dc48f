"""Two people who wrote become one and two again: whatever is asked by either's id is answered as the survivor's."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from prosa.outreach.v1 import outreach_service_pb2 as outreach_pb
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from prosa.v1 import options_pb2
from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_people import ensured, until_tasks
from tests.world import AGENT

KEEPERS = ("crm", "conversation", "ingest", "outreach")
LISTS = {
    "/api/v1/deals": "deals",
    "/api/v1/conversations": "conversations",
    "/api/v1/webhook-events": "webhook_events",
    "/api/v1/suppressions": "suppressions",
}


async def as_person(harness: Harness, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """An agent who has just shown a second factor writes."""
    world = harness.world
    token, _ = world.host.signer("identity").person_token(
        kind="user",
        principal=f"user:{uuid4()}",
        organization_id=harness.organization_id,
        role=AGENT,
        mfa_time=world.clock.now(),
        mfa_set_up=True,
    )
    headers = {"Authorization": f"Bearer {token}"}
    async with harness.session.post(harness.url + path, json=body, headers=headers) as response:
        answer: dict[str, Any] = await response.json(content_type=None)
        assert response.status == 200, answer
        return answer


async def listed(harness: Harness, contact_id: str) -> dict[str, list[tuple[str, str]]]:
    """What lists answer for a contact: the id and the contact of each row."""
    found = {}
    for path, name in LISTS.items():
        status, answer = await harness.get(path, contact_id=contact_id)
        assert status == 200, answer
        own = {"webhook_events": "webhook_event_id"}.get(name, f"{name.removesuffix('s')}_id")
        found[name] = sorted((row[own], row["contact_id"]) for row in answer[name])
    return found


async def until_everybody_knows(harness: Harness, version: int) -> None:
    for service in KEEPERS:
        await harness.world.until(
            f"select 1 from {service}.contact_redirects where organization_id = %s and version = %s",
            *(harness.organization_id, version),
        )


async def test_lists_read_through_a_merge_and_are_as_before_once_it_is_undone(harness: Harness) -> None:
    ids = []
    for name in ("conversation_created.instagram_login", "message_created.whatsapp_cloud.incoming"):
        event = await harness.deliver(sample(name))
        assert event["state"] == "PROCESSED", event
        ids.append(str(event["contact_id"]))
    survivor, loser = ids
    await (
        harness.world.as_key(harness.organization_id, "*")
        .stub(OutreachServiceStub)
        .CreateSuppression(
            outreach_pb.CreateSuppressionRequest(
                source=options_pb2.SOURCE_WHATSAPP,
                external_id="+5511900009999",
                contact_id=loser,
                reason="Pediu",
                request_id=str(uuid4()),
            )
        )
    )
    before = {contact_id: await listed(harness, contact_id) for contact_id in ids}
    assert [len(rows) for rows in before[loser].values()] == [1, 1, 1, 1]

    merged = await as_person(harness, f"/api/v1/contacts/{survivor}:merge", {"losing_contact_id": loser})
    await until_everybody_knows(harness, 1)
    together = {
        name: sorted((row_id, survivor) for contact_id in ids for row_id, _ in before[contact_id][name])
        for name in LISTS.values()
    }
    assert [await listed(harness, contact_id) for contact_id in ids] == [together, together]
    for path, name in LISTS.items():
        _, answer = await harness.get(path)
        assert {row["contact_id"] for row in answer[name]} <= {survivor, ""}, name
    for deal_id, _ in together["deals"]:
        _, deal = await harness.get(f"/api/v1/deals/{deal_id}")
        assert deal["contact_id"] == survivor

    # Who writes with the loser's number is the survivor, and has a deal that is open.
    event = await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
    assert (event["state"], str(event["contact_id"])) == ("PROCESSED", survivor)
    assert (await listed(harness, survivor))["deals"] == together["deals"]

    await as_person(harness, f"/api/v1/contact-merges/{merged['contact_merge_id']}:undo", {})
    await until_everybody_knows(harness, 2)
    for contact_id in ids:
        after = await listed(harness, contact_id)
        # What was processed while they were one stays where it was.
        meanwhile = (str(event["id"]), survivor)
        after["webhook_events"] = [row for row in after["webhook_events"] if row != meanwhile]
        assert after == before[contact_id]


async def test_an_open_deal_of_the_one_who_was_merged_serves_the_survivor_and_is_its_own_again(
    harness: Harness,
) -> None:
    event = await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
    loser, deal_id = str(event["contact_id"]), str(event["deal_id"])
    _, survivor = await harness.send("/api/v1/contacts", {"name": "Ana"})
    merged = await as_person(harness, f"/api/v1/contacts/{survivor['contact_id']}:merge", {"losing_contact_id": loser})
    await until_everybody_knows(harness, 1)
    event = await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
    assert (str(event["contact_id"]), str(event["deal_id"])) == (survivor["contact_id"], deal_id)
    assert await harness.count("crm.deals") == 1

    await as_person(harness, f"/api/v1/contact-merges/{merged['contact_merge_id']}:undo", {})
    await until_everybody_knows(harness, 2)
    event = await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
    assert (str(event["contact_id"]), str(event["deal_id"])) == (loser, deal_id)
    assert await harness.count("crm.deals") == 1


async def test_a_copy_in_the_next_conversation_of_who_was_merged_is_no_second_message(harness: Harness) -> None:
    body = sample("message_created.whatsapp_cloud.incoming")
    first = await harness.deliver(body)
    _, survivor = await harness.send("/api/v1/contacts", {"name": "Ana"})
    path = f"/api/v1/contacts/{survivor['contact_id']}:merge"
    await as_person(harness, path, {"losing_contact_id": str(first["contact_id"])})
    await until_everybody_knows(harness, 1)
    # The provider tells the network's message once more, in the conversation that the person has now.
    copy = changed(body, id=body["id"] + 1, conversation__id=777)
    second = await harness.deliver(copy)
    assert (second["state"], str(second["contact_id"])) == ("PROCESSED", survivor["contact_id"])
    assert second["message_id"] == first["message_id"]
    assert await harness.count("conversation.messages") == 1


@pytest.mark.req("CR-08")
async def test_a_task_shows_both_contacts_and_people_accept_or_reject_it(harness: Harness) -> None:
    pairs = []
    for number, email in enumerate(("recepcao@oficina-aurora.example", "caixa@padaria-lua.example")):
        pair = [
            await ensured(harness, f"+5511900008{number}{place}0", email=email, name=name)
            for place, name in enumerate(("Ana", "Rui"))
        ]
        pairs.append({answer["contact_id"] for answer in pair})
    await until_tasks(harness, 2)
    _, listed = await harness.get("/api/v1/reconciliation-tasks", state="OPEN")
    tasks = {frozenset({task["contact_id"], *task["candidate_contact_ids"]}): task for task in listed["tasks"]}
    assert set(tasks) == {frozenset(pair) for pair in pairs}
    accepted, rejected = (tasks[frozenset(pair)] for pair in pairs)
    # What speaks for each stands beside them.
    _, conflict = await harness.get(f"/api/v1/identity-conflicts/{accepted['identity_conflict_id']}")
    assert {each["contact"]["contact_id"] for each in conflict["candidates"]} == pairs[0]

    path = "/api/v1/reconciliation-tasks/{}:{}"
    survivor, other = accepted["contact_id"], next(iter(pairs[0] - {accepted["contact_id"]}))
    body = {"surviving_contact_id": survivor, "merge": True}
    done = await as_person(harness, path.format(accepted["reconciliation_task_id"], "accept"), body)
    assert (done["state"], done["merged"], done["surviving_contact_id"]) == ("ACCEPTED", True, survivor)
    _, shown = await harness.get(f"/api/v1/contacts/{other}")
    assert shown["contact_id"] == survivor
    done = await as_person(harness, path.format(rejected["reconciliation_task_id"], "reject"), {})
    assert done["state"] == "REJECTED"
    for contact_id in pairs[1]:
        _, shown = await harness.get(f"/api/v1/contacts/{contact_id}")
        assert shown["contact_id"] == contact_id
    _, listed = await harness.get("/api/v1/reconciliation-tasks", state="OPEN")
    assert listed["tasks"] == []
