"""Giving the contacts of an organization their WhatsApp identities at the terminal."""

from __future__ import annotations

import asyncio
import signal
from typing import Any
from uuid import UUID, uuid4

import pytest

from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from tests.integration.cli.operator import COMMAND_SECONDS, Operator
from tests.world import World

TARGETS = ("identity", "crm")
TASKS = "select candidate_contact_ids from crm.reconciliation_tasks where organization_id = %s"


async def given_organization(operator: Operator) -> tuple[str, str]:
    """A new organization's name and id."""
    name = f"Padaria {uuid4().hex[:6]}"
    made = await operator.prosa("org", "create", "--name", name, "--admin", "ana@padaria.example", "--json")
    return name, made.document["organization_id"]


async def given_contact(world: World, organization_id: str, phone: str) -> str:
    """A contact made by hand, without an identity."""
    stub: Any = world.as_user(UUID(organization_id)).stub(ContactServiceStub)
    return str((await stub.CreateContact(pb.CreateContactRequest(name="Ana", phone=phone))).contact_id)


@pytest.mark.req("ID-10")
@pytest.mark.case("O15")
async def test_a_dry_run_counts_the_first_run_creates_and_the_second_creates_none(
    operator: Operator, world: World
) -> None:
    name, organization_id = await given_organization(operator)
    for number in range(4):
        await given_contact(world, organization_id, f"(11) 90000-10{number:02d}")
    twins = [await given_contact(world, organization_id, "+5511900001099") for _ in range(2)]
    words = ("backfill", "whatsapp", "--org", name, "--batch", "500")

    counted = await operator.prosa(*words, "--dry-run")
    assert counted.code == 0
    assert counted.err == "6 examined: created 4, existing 0, conflicting 2, unreadable 0, without phone 0\n"
    assert "created 4" in counted.out
    assert "nothing changed" in counted.out
    linked = "select from identity.contact_identities where organization_id = %s"
    assert await world.rows(linked, organization_id) == []

    first = await operator.prosa(*words)
    assert first.code == 0
    assert "created 4" in first.out
    assert f"whatsapp:+5511900001099  the phone of {', '.join(twins)}" in first.out
    assert "GET /api/v1/reconciliation-tasks" in first.out
    assert len(await world.rows(linked, organization_id)) == 4

    second = await operator.prosa(*words)
    assert second.code == 0
    assert "created 0" in second.out
    assert "existing 4" in second.out
    assert len(await world.rows(linked, organization_id)) == 4
    (task,) = await world.until(TASKS, organization_id)
    assert [str(each) for each in task["candidate_contact_ids"]] == twins


@pytest.mark.req("ID-10")
async def test_small_batches_come_to_the_same_and_are_told_one_by_one(operator: Operator, world: World) -> None:
    _, organization_id = await given_organization(operator)
    twins = [await given_contact(world, organization_id, "+5511900002001")]
    await given_contact(world, organization_id, "+5511900002002")
    twins.append(await given_contact(world, organization_id, "+5511900002001"))
    words = ("backfill", "whatsapp", "--org", organization_id, "--batch", "1", "--json")
    counted = await operator.prosa(*words, "--dry-run")
    done = await operator.prosa(*words)
    again = await operator.prosa(*words)
    conflict = {
        "conversation_key": "whatsapp:+5511900002001",
        "owner_contact_id": None,
        "candidate_contact_ids": twins,
        "identity_conflict_id": None,
    }
    expected = {
        "organization_id": organization_id,
        "dry_run": True,
        "batches": 3,
        "examined": 3,
        "created": 1,
        "existing": 0,
        "conflicting": 2,
        "unreadable": 0,
        "without_phone": 0,
        "conflicts": [conflict],
        "unreadable_contact_ids": [],
    }
    assert counted.document == expected
    (opened,) = done.document["conflicts"]
    assert opened["identity_conflict_id"] is not None
    assert done.document == expected | {"dry_run": False, "conflicts": [opened]}
    assert again.document == done.document | {"created": 0, "existing": 1}
    assert len(done.err.splitlines()) == 3


async def test_who_stops_it_is_told_that_it_can_go_on(operator: Operator, world: World) -> None:
    _, organization_id = await given_organization(operator)
    for number in range(2):
        await given_contact(world, organization_id, f"+551190000300{number}")
    words = ("backfill", "whatsapp", "--org", organization_id, "--batch", "1")
    async with await world.admin() as holder, holder.transaction():
        await holder.execute("lock table identity.contact_identities in share row exclusive mode")
        process = await operator.start(*words)
        try:
            await world.until_waiting_on_locks(1)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(COMMAND_SECONDS):
                _, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 130
    assert "Stopped after 0 contacts. What is done stays; run the same command again, and it does the rest." in (
        err.decode()
    )
    rest = await operator.prosa(*words, "--json")
    assert rest.document["created"] + rest.document["existing"] == 2


async def test_a_batch_that_is_too_large_or_an_unknown_organization_is_refused(operator: Operator) -> None:
    name, _ = await given_organization(operator)
    assert (await operator.prosa("backfill", "whatsapp", "--org", name, "--batch", "501")).code == 2
    unknown = await operator.prosa("backfill", "whatsapp", "--org", f"{name} II")
    assert unknown.code == 1
    assert f"'{name} II'" in unknown.err
