"""Members who get another role or leave, over HTTP: what they were signed in with ends here, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import member_service_pb2 as pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.events_pb2 import MemberChanged, MemberRemoved, PrincipalRevoked
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from tests.browser import Browser, browser_session
from tests.integration.identity.access.test_access import reason_of
from tests.integration.identity.access.test_members import ACCEPT, CHECK, MEMBERS, invited, inviting, new_email, reason
from tests.integration.identity.access.test_sessions import PASSWORD, SESSION, owner
from tests.world import ADMIN, AGENT, OWNER, VIEWER, World

TARGETS = ("identity", "ingest", "gateway")
PATIENCE_SECONDS = 10.0
"""Less than the stream's signs of life are apart: what ends it is the removal itself."""


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's HTTP."""
    async with browser_session() as session:
        yield session


@pytest.fixture
async def other_http() -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody else's."""
    async with browser_session() as session:
        yield session


async def joined(
    world: World, browser: Browser, http: aiohttp.ClientSession, email: str = "", role: str = "AGENT"
) -> tuple[Browser, dict[str, Any]]:
    """A colleague who came by a link, in a browser of their own; and their session."""
    secret = await invited(browser, email or new_email(), role)
    colleague = Browser.at(world, http)
    status, session = colleague.kept(await colleague.call("POST", ACCEPT, {"secret": secret, "password": PASSWORD}))
    assert status == 200, session
    return colleague, session


async def member(world: World, organization_id: UUID, role: int) -> str:
    """The id of one more member."""
    stub, email = world.as_user(organization_id).stub(MemberServiceStub), new_email()
    made = await stub.CreateInvitation(pb.CreateInvitationRequest(email=email, role=role))  # type: ignore[arg-type]
    accept = world.as_nobody().stub(MemberServiceStub).AcceptInvitation
    return (await accept(pb.AcceptInvitationRequest(secret=made.secret, password=PASSWORD))).user_id


async def owner_id(world: World, organization_id: UUID) -> str:
    """The id of the organization's first owner."""
    found = await world.rows(
        "select user_id from identity.members where organization_id = %s and role = 'OWNER'", organization_id
    )
    return str(found[0]["user_id"])


async def test_who_is_removed_sees_no_more_and_may_be_invited_again(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, organization_id, _ = await inviting(world, http)
    colleague, session = await joined(world, browser, other_http)
    email, path = session["email"], f"{MEMBERS}/{session['user_id']}"
    async with other_http.get(f"{colleague.url}/api/v1/stream") as stream:
        assert stream.status == 200
        status, answer = await browser.call("DELETE", path)
        assert (status, answer) == (200, {})
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = (await stream.content.read()).decode()
    assert '"reason":"TOKEN_REVOKED"' in told.replace(" ", "")
    assert (await colleague.call("GET", MEMBERS))[0] == 401
    assert reason(await colleague.call("GET", SESSION)) == (401, "SESSION_ENDED")
    assert reason(await browser.call("DELETE", path)) == (404, "MEMBER_NOT_FOUND")
    (fact,) = await world.announced(MemberRemoved, organization_id)
    assert (fact.user_id, fact.email, fact.version) == (session["user_id"], email, 2)
    principals = {fact.principal for fact in await world.announced(PrincipalRevoked, organization_id)}
    assert principals == {f"session:{session['session_id']}", f"member:{organization_id}/{session['user_id']}"}
    (entry,) = await world.rows(
        "select target_id, before_json from identity.audit_entries where organization_id = %s and action like %s",
        organization_id,
        "%DeleteMember",
    )
    assert entry["target_id"] == session["user_id"]
    assert email in entry["before_json"]

    # Nobody else's account: whoever holds the next link chooses a password, whoever chose the one before.
    assert reason(await colleague.sign_in(email, PASSWORD)) == (401, "CREDENTIALS_INVALID")
    secret = await invited(browser, email)
    assert not (await colleague.call("POST", CHECK, {"secret": secret}))[1]["password_exists"]
    chosen = {"secret": secret, "password": "um segredo bem melhor"}
    assert colleague.kept(await colleague.call("POST", ACCEPT, chosen))[0] == 200
    assert (await colleague.call("GET", MEMBERS))[0] == 200


async def test_who_is_removed_stays_who_they_are_elsewhere(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, organization_id, _ = await inviting(world, http)
    email, own = await owner(world)
    colleague, session = await joined(world, browser, other_http, email)
    # What is asked for by a program acts for one organization, and is no session.
    create = world.as_nobody().stub(AccessServiceStub).CreateSession
    tokens = {
        chosen: (
            await create(access_pb.CreateSessionRequest(email=email, password=PASSWORD, organization_id=str(chosen)))
        ).access_token
        for chosen in (organization_id, own)
    }
    switched = await colleague.call("POST", f"{SESSION}:switchOrganization", {"organization_id": str(own)})
    assert colleague.kept(switched)[0] == 200
    heard = asyncio.Event()
    world.host.revocations.listen(heard.set)
    await browser.call("DELETE", f"{MEMBERS}/{session['user_id']}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await heard.wait()
    principal = f"member:{organization_id}/{session['user_id']}"
    assert [fact.principal for fact in await world.announced(PrincipalRevoked, organization_id)] == [principal]
    headers = {"Cookie": ""}
    refused = await colleague.call("GET", SESSION, Authorization=f"Bearer {tokens[organization_id]}", **headers)
    assert reason(refused) == (401, "TOKEN_REVOKED")
    assert (await colleague.call("GET", SESSION, Authorization=f"Bearer {tokens[own]}", **headers))[0] == 200
    status, left = await colleague.call("GET", SESSION)
    assert (status, left["organization_id"], len(left["organizations"])) == (200, str(own), 1)
    refused = await colleague.call("POST", f"{SESSION}:switchOrganization", {"organization_id": str(organization_id)})
    assert reason(refused) == (403, "NOT_A_MEMBER")
    assert (await colleague.sign_in(email, PASSWORD))[0] == 200


async def test_a_role_is_changed_by_whoever_holds_it_and_their_session_ends(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, organization_id, _ = await inviting(world, http)
    colleague, session = await joined(world, browser, other_http, role="ADMIN")
    await colleague.set_up_mfa(world.clock)
    link = await invited(colleague, new_email(), "ADMIN")
    path = f"{MEMBERS}/{session['user_id']}"
    body = {"role": "VIEWER", "etag": "1", "request_id": str(uuid4())}
    status, changed = await browser.call("PATCH", path, body)
    assert (status, changed["role"], changed["etag"]) == (200, "VIEWER", "2")
    assert await browser.call("PATCH", path, body) == (200, changed)
    assert reason(await browser.call("PATCH", path, body | {"request_id": ""})) == (409, "ETAG_STALE")
    assert (await browser.call("PATCH", path, {"role": "VIEWER"}))[1] == changed
    assert (await colleague.call("GET", SESSION))[0] == 401
    assert reason(await colleague.call("POST", CHECK, {"secret": link})) == (404, "INVITATION_NOT_FOUND")
    facts = await world.announced(MemberChanged, organization_id)
    assert [(fact.role, fact.version) for fact in facts] == [(ADMIN, 1), (VIEWER, 2)]
    assert reason(await browser.call("PATCH", f"{MEMBERS}/{uuid4()}", body)) == (409, "REQUEST_ID_REUSED")
    body["request_id"] = ""
    assert reason(await browser.call("PATCH", f"{MEMBERS}/{uuid4()}", body)) == (404, "MEMBER_NOT_FOUND")


async def test_nobody_reaches_above_their_own_role_and_an_owner_stays(world: World) -> None:
    _, organization_id = await owner(world)
    first, agent = await owner_id(world, organization_id), await member(world, organization_id, AGENT)
    admin = world.as_user(organization_id, ADMIN).stub(MemberServiceStub)
    attempts: list[tuple[Awaitable[Any], str]] = [
        (admin.UpdateMember(pb.UpdateMemberRequest(user_id=agent, role=OWNER)), "ROLE_ABOVE_OWN"),
        (admin.UpdateMember(pb.UpdateMemberRequest(user_id=first, role=AGENT)), "ROLE_ABOVE_OWN"),
        (admin.DeleteMember(pb.DeleteMemberRequest(user_id=first)), "ROLE_ABOVE_OWN"),
    ]
    for act in (world.as_user(organization_id, OWNER), world.as_service("cli", organization_id)):
        stub = act.stub(MemberServiceStub)
        attempts += [
            (stub.UpdateMember(pb.UpdateMemberRequest(user_id=first, role=ADMIN)), "LAST_OWNER"),
            (stub.DeleteMember(pb.DeleteMemberRequest(user_id=first)), "LAST_OWNER"),
        ]
    for attempt, told in attempts:
        assert await reason_of(attempt) == told
    assert await world.announced(MemberRemoved, organization_id) == []


async def test_of_two_owners_who_are_removed_at_once_one_stays(world: World) -> None:
    _, organization_id = await owner(world)
    ids = [await owner_id(world, organization_id), await member(world, organization_id, OWNER)]
    stub = world.as_user(organization_id).stub(MemberServiceStub)
    async with await world.admin() as held:
        await held.execute("begin")
        await held.execute(
            "select 1 from identity.organizations where organization_id = %s for update", [organization_id]
        )
        calls = asyncio.gather(
            *(stub.DeleteMember(pb.DeleteMemberRequest(user_id=user_id)) for user_id in ids), return_exceptions=True
        )
        await world.until_waiting_on_locks(2)
        await held.execute("commit")
        outcomes = await calls
    assert len([outcome for outcome in outcomes if isinstance(outcome, pb.DeleteMemberResponse)]) == 1
    (left,) = await world.rows("select role from identity.members where organization_id = %s", organization_id)
    assert left["role"] == "OWNER"
