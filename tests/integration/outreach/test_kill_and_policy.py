"""Stopping everything that is sent, and changing how much is: over REST and by the command line."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import grpc
import pytest

from prosa.outreach.v1 import send_service_pb2 as pb
from prosa.outreach.v1.events_pb2 import KillSwitchChanged, SendPolicyChanged
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from tests.integration.cli.operator import Operator
from tests.integration.identity.cast import given_organization
from tests.world import ADMIN, AGENT, VIEWER, World, error_info

TARGETS = ("identity", "outreach", "gateway")
NIGHT = {"weekdays": [], "start_minute": 1260, "end_minute": 480}


class Rest:
    """Calls the gateway as somebody of one organization."""

    def __init__(self, world: World, organization_id: UUID, role: int, since_code: timedelta = timedelta()) -> None:
        token, _ = world.host.signer("identity").person_token(
            kind="user",
            principal=f"user:{uuid4()}",
            organization_id=organization_id,
            role=role,
            name="ana@example.com",
            mfa_time=world.clock.now() - since_code,
            mfa_set_up=True,
        )
        self._headers = {"Authorization": f"Bearer {token}"}
        self._url = f"http://127.0.0.1:{world.host.http_port}/api/v1"

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the answer."""
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.request(method, self._url + path, json=body) as response,
        ):
            return response.status, await response.json()


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization that no other test knows."""
    return await given_organization(world)


@pytest.fixture
def operator(world: World, keys_dir: Path, tmp_path: Path) -> Operator:
    """Somebody at the world's command line."""
    environment = {
        "PROSA_HOME": str(tmp_path / "no-home"),
        "PROSA_GRPC_ADDRESS": world.host.grpc_address,
        "PROSA_KEYS_DIR": str(keys_dir),
    }
    return Operator(environment, tmp_path)


async def test_an_agent_stops_sending_and_an_admin_lets_it_go_on(world: World, organization_id: UUID) -> None:
    agent, admin = Rest(world, organization_id, AGENT), Rest(world, organization_id, ADMIN)
    status, off = await agent.call("GET", "/kill-switch")
    assert (status, off["engaged"], off["organization_id"]) == (200, False, str(organization_id))
    status, on = await agent.call("POST", "/kill-switch:engage", {"reason": " o fluxo\nrepete "})
    assert (status, on["engaged"], on["reason"], on["actor"]["name"]) == (
        200,
        True,
        "o fluxo repete",
        "ana@example.com",
    )
    # Whoever was first stays named.
    assert await admin.call("POST", "/kill-switch:engage", {"reason": "eu também"}) == (200, on)
    assert await agent.call("GET", "/kill-switch") == (200, on)
    status, refused = await agent.call("POST", "/kill-switch:lift", {})
    assert (status, refused["reason"]) == (403, "ROLE_TOO_LOW")
    # Stopping is everybody's; letting go takes a code of just now.
    stale = Rest(world, organization_id, ADMIN, since_code=timedelta(seconds=901))
    status, refused = await stale.call("POST", "/kill-switch:lift", {})
    assert (status, refused["reason"]) == (403, "MFA_REQUIRED")
    status, lifted = await admin.call("POST", "/kill-switch:lift", {"reason": "consertado"})
    assert (status, lifted["engaged"], lifted["reason"]) == (200, False, "consertado")
    assert await admin.call("POST", "/kill-switch:lift", {"reason": "de novo"}) == (200, lifted)
    told = await world.announced(KillSwitchChanged, organization_id)
    assert [(fact.kill_switch.engaged, fact.kill_switch.reason) for fact in told] == [
        (True, "o fluxo repete"),
        (False, "consertado"),
    ]
    # Both are in the audit log, with who it was and why.
    await world.until(
        "select 1 from identity.audit_entries where organization_id = %s having count(*) = 2", organization_id
    )
    status, listed = await admin.call("GET", "/audit-entries?target_type=kill_switch")
    assert status == 200, listed
    assert [
        (entry["action"].rpartition(".")[2], entry["actor"]["name"], entry["reason"])
        for entry in listed["audit_entries"][::-1]
    ] == [
        ("EngageKillSwitch", "ana@example.com", "o fluxo repete"),
        ("LiftKillSwitch", "ana@example.com", "consertado"),
    ]


async def test_two_who_stop_sending_at_once_stop_it_once(world: World, organization_id: UUID) -> None:
    stub = world.as_user(organization_id).stub(SendServiceStub)
    async with await world.admin() as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute(
                "insert into outreach.kill_switches values (%s, true, 'x', 'x', 'x', now())", [organization_id]
            )
            calls = [
                asyncio.ensure_future(stub.EngageKillSwitch(pb.EngageKillSwitchRequest(reason=f"{place}")))
                for place in range(4)
            ]
            await world.until_waiting_on_locks(4)
        answers = await asyncio.gather(*calls)
    assert len({answer.SerializeToString() for answer in answers}) == 1
    assert len(await world.announced(KillSwitchChanged, organization_id)) == 1


async def test_one_organizations_switch_is_nobody_elses(world: World, organization_id: UUID) -> None:
    await world.as_user(organization_id).stub(SendServiceStub).EngageKillSwitch(pb.EngageKillSwitchRequest(reason="x"))
    other = await world.as_user(uuid4()).stub(SendServiceStub).GetKillSwitch(pb.GetKillSwitchRequest())
    assert not other.engaged
    assert not other.engaged_globally


async def test_the_operator_stops_one_organization_and_everybody(
    world: World, organization_id: UUID, operator: Operator
) -> None:
    org = ("--org", str(organization_id))
    stopped = await operator.prosa_from_the_start("kill", "on", *org, "--reason", "incidente", "--json")
    assert (stopped.code, stopped.document["engaged"], stopped.document["actor"]) == (0, True, "cli")
    person = world.as_user(organization_id).stub(SendServiceStub)
    everybody: dict[str, Any] = {"global": True}
    for asked in (
        person.EngageKillSwitch(pb.EngageKillSwitchRequest(reason="x", **everybody)),
        person.LiftKillSwitch(pb.LiftKillSwitchRequest(**everybody)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asked
        assert error_info(refused.value).reason == "GLOBAL_KILL_OPERATOR_ONLY"
    try:
        everywhere = await operator.prosa("kill", "on", "--global", "--reason", "o provedor caiu")
        assert (everywhere.code, "Sending is stopped: every organization" in everywhere.out) == (0, True)
        elsewhere = await world.as_user(uuid4()).stub(SendServiceStub).GetKillSwitch(pb.GetKillSwitchRequest())
        assert (elsewhere.engaged, elsewhere.engaged_globally) == (False, True)
        # What one organization may undo is its own.
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await person.LiftKillSwitch(pb.LiftKillSwitchRequest())
        assert error_info(refused.value).reason == "KILLED_GLOBALLY"
        assert "o provedor caiu" in str(refused.value.details())
        shown = await operator.prosa("kill", "show", "--global", "--json")
        assert (shown.document["organization_id"], shown.document["reason"]) == (None, "o provedor caiu")
    finally:
        freed = await operator.prosa("kill", "off", "--global", "--json")
    assert (freed.code, freed.document["engaged"], freed.document["engaged_globally"]) == (0, False, False)
    still = await operator.prosa("kill", "show", *org)
    assert "Sending is stopped" in still.out
    freed = await operator.prosa("kill", "off", *org, "--json")
    assert (freed.code, freed.document["engaged"]) == (0, False)


async def test_a_policy_changes_by_what_is_named(world: World, organization_id: UUID) -> None:
    admin = Rest(world, organization_id, ADMIN)
    status, first = await admin.call("GET", "/send-policy")
    assert (status, first["quiet_hours"], first["number_day_limit"], first["etag"]) == (200, [NIGHT], 400, "0")
    assert first["update_time"] is None
    status, changed = await admin.call("PATCH", "/send-policy", {"number_day_limit": 0, "etag": "0"})
    assert (status, changed["number_day_limit"], changed["number_hour_limit"], changed["etag"]) == (200, 0, 60, "1")
    assert changed["quiet_hours"] == [NIGHT]
    status, stale = await admin.call("PATCH", "/send-policy", {"number_day_limit": 9, "etag": "0"})
    assert (status, stale["reason"]) == (409, "ETAG_STALE")
    status, nothing = await admin.call("PATCH", "/send-policy", {"etag": "1"})
    assert (status, nothing["reason"]) == (400, "NOTHING_TO_CHANGE")
    status, wrong = await admin.call(
        "PATCH", "/send-policy", {"quiet_hours": {"quiet_hours": [{"start_minute": 60, "end_minute": 60}]}}
    )
    assert (status, wrong["reason"]) == (400, "QUIET_HOURS_INVALID")
    status, free = await admin.call("PATCH", "/send-policy", {"quiet_hours": {"quiet_hours": []}})
    assert (status, free["quiet_hours"], free["etag"]) == (200, [], "2")
    # The same once more changes nothing, and nobody is told.
    assert await admin.call("PATCH", "/send-policy", {"quiet_hours": {"quiet_hours": []}}) == (200, free)
    assert [fact.version for fact in await world.announced(SendPolicyChanged, organization_id)] == [1, 2]
    assert await Rest(world, organization_id, VIEWER).call("GET", "/send-policy") == (200, free)


async def test_two_first_changes_of_a_policy_both_hold(world: World, organization_id: UUID) -> None:
    stub = world.as_user(organization_id).stub(SendServiceStub)
    await asyncio.gather(
        stub.UpdateSendPolicy(pb.UpdateSendPolicyRequest(number_gap_seconds=9)),
        stub.UpdateSendPolicy(pb.UpdateSendPolicyRequest(contact_gap_seconds=8)),
    )
    policy = await stub.GetSendPolicy(pb.GetSendPolicyRequest())
    assert (policy.number_gap_seconds, policy.contact_gap_seconds, policy.etag) == (9, 8, "2")


async def test_the_operator_changes_a_policy(organization_id: UUID, operator: Operator) -> None:
    org = ("--org", str(organization_id))
    changed = await operator.prosa(
        *(
            "send-policy",
            "set",
            *org,
            "--day",
            "300",
            "--quiet",
            "22:00-7:30",
            "--quiet",
            "sat,sun 00:00-10:00",
            "--json",
        )
    )
    assert changed.code == 0, changed.err
    assert changed.document["quiet_hours"] == ["22:00-07:30", "sat,sun 00:00-10:00"]
    assert (changed.document["number_day_limit"], changed.document["number_hour_limit"]) == (300, 60)
    shown = await operator.prosa_from_the_start("send-policy", "show", *org)
    assert "60 an hour, 300 a day" in shown.out
    for words in (("--quiet", "22h"), ("--quiet", "22:00-8:00", "--no-quiet")):
        assert (await operator.prosa("send-policy", "set", *org, *words)).code == 2
    refused = await operator.prosa("send-policy", "set", *org, "--json")
    assert (refused.code, refused.document["error"]["reason"]) == (2, "NOTHING_TO_CHANGE")
