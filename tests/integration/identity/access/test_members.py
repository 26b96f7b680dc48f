"""Members by invitation, over HTTP: a link works once, takes no account over, and gives no more than its maker has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import member_service_pb2 as pb
from prosa.identity.v1.events_pb2 import MemberChanged
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.v1 import options_pb2
from services.identity.access.session_domain import INVITATIONS_OPEN_MAX
from tests.browser import Browser, browser_session
from tests.integration.identity.access.test_access import cli, reason_of
from tests.integration.identity.access.test_sessions import PASSWORD, SESSION, owner
from tests.world import ADMIN, AGENT, OWNER, World

TARGETS = ("identity", "gateway")
INVITATIONS, CHECK, ACCEPT = "/api/v1/invitations", "/api/v1/invitations:check", "/api/v1/invitations:accept"
MEMBERS = "/api/v1/members"


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


async def inviting(world: World, http: aiohttp.ClientSession) -> tuple[Browser, UUID, str]:
    """An owner with a second factor, in a browser; the organization and the e-mail."""
    browser = Browser.at(world, http)
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    await browser.set_up_mfa(world.clock)
    return browser, organization_id, email


def new_email() -> str:
    """An e-mail nobody has."""
    return f"{uuid4().hex}@example.com"


async def invited(browser: Browser, email: str, role: str = "AGENT") -> str:
    """The secret of a new invitation's link."""
    status, made = await browser.call("POST", INVITATIONS, {"email": email, "role": role})
    assert status == 200, made
    return str(made["secret"])


def reason(answered: tuple[int, dict[str, Any]]) -> tuple[int, Any]:
    """Status and reason of an answer."""
    return answered[0], answered[1].get("reason")


async def test_a_colleague_comes_by_a_link_as_agent_and_is_signed_in(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, organization_id, inviter = await inviting(world, http)
    email = new_email()
    status, made = await browser.call("POST", INVITATIONS, {"email": email.upper(), "role": "AGENT"})
    assert status == 200, made
    invitation, secret = made["invitation"], made["secret"]
    assert len(secret) == 43
    assert (invitation["email"], invitation["role"], invitation["invited_by"]["name"]) == (email, "AGENT", inviter)
    assert (await browser.call("GET", INVITATIONS))[1]["invitations"] == [invitation]
    (row,) = await world.rows("select * from identity.invitations where organization_id = %s", organization_id)
    assert secret.encode() not in bytes(row["secret_hash"])
    assert row["sealed_secret"] is None

    colleague = Browser.at(world, other_http)
    status, offer = await colleague.call("POST", CHECK, {"secret": secret})
    assert (status, offer["organization_name"], offer["email"], offer["role"]) == (200, "Padaria", email, "AGENT")
    assert not offer["password_exists"]
    status, session = colleague.kept(await colleague.call("POST", ACCEPT, {"secret": secret, "password": PASSWORD}))
    assert (status, session["organization_id"], session["role"]) == (200, str(organization_id), "AGENT")
    assert not session["mfa_setup_required"]
    assert (await colleague.call("GET", SESSION))[1] == session
    assert reason(await colleague.call("POST", INVITATIONS, {"email": new_email(), "role": "AGENT"})) == (
        403,
        "ROLE_TOO_LOW",
    )
    (fact,) = await world.announced(MemberChanged, organization_id)
    assert (fact.user_id, fact.email, fact.role, fact.version) == (session["user_id"], email, AGENT, 1)

    members = (await browser.call("GET", MEMBERS))[1]["members"]
    assert sorted((member["email"], member["role"], member["mfa_set_up"]) for member in members) == sorted(
        [(inviter, "OWNER", True), (email, "AGENT", False)]
    )
    assert all(member["last_sign_in_time"] for member in members)
    only = (await browser.call("GET", f"{MEMBERS}?role=AGENT"))[1]["members"]
    assert [member["email"] for member in only] == [email]
    # Once.
    for path, body in ((CHECK, {}), (ACCEPT, {"password": PASSWORD})):
        answered = await colleague.call("POST", path, {"secret": secret, **body})
        assert reason(answered) == (404, "INVITATION_NOT_FOUND")
    assert (await browser.call("GET", INVITATIONS))[1]["invitations"] == []
    assert reason(await browser.call("POST", INVITATIONS, {"email": email, "role": "ADMIN"})) == (409, "MEMBER_EXISTS")


async def test_a_link_takes_no_account_over(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, organization_id, _ = await inviting(world, http)
    victim = Browser.at(world, other_http)
    email, own = await owner(world)
    await victim.sign_in(email, PASSWORD)
    _, codes = await victim.set_up_mfa(world.clock)
    secret = await invited(browser, email)
    assert (await victim.call("POST", CHECK, {"secret": secret}))[1]["password_exists"]
    attempts: list[tuple[dict[str, str], int, str]] = [
        ({"password": "chosen by whoever holds the link"}, 401, "CREDENTIALS_INVALID"),
        ({"password": PASSWORD}, 401, "MFA_CODE_MISSING"),
        ({"password": PASSWORD, "mfa_code": "000000"}, 403, "MFA_CODE_INVALID"),
    ]
    for fields, status, told in attempts:
        answered = await victim.call("POST", ACCEPT, {"secret": secret, **fields})
        assert reason(answered) == (status, told)
    foreign = await victim.call(
        "POST", ACCEPT, {"secret": secret, "password": PASSWORD, "mfa_code": codes[0]}, Origin="https://evil.example"
    )
    assert reason(foreign) == (403, "CSRF_INVALID")
    assert len(await world.rows("select 1 from identity.members where organization_id = %s", organization_id)) == 1
    status, session = await victim.call("POST", ACCEPT, {"secret": secret, "password": PASSWORD, "mfa_code": codes[0]})
    assert (status, session["organization_id"]) == (200, str(organization_id))
    assert {item["organization_id"] for item in session["organizations"]} == {str(organization_id), str(own)}


async def test_of_many_who_have_a_link_one_is_let_in(world: World, http: aiohttp.ClientSession) -> None:
    browser, organization_id, _ = await inviting(world, http)
    secret = await invited(browser, new_email())
    accept = world.as_nobody().stub(MemberServiceStub).AcceptInvitation
    request = pb.AcceptInvitationRequest(secret=secret, password=PASSWORD)
    outcomes = await asyncio.gather(*(accept(request) for _ in range(4)), return_exceptions=True)
    assert len([outcome for outcome in outcomes if not isinstance(outcome, BaseException)]) == 1
    assert len(await world.rows("select 1 from identity.members where organization_id = %s", organization_id)) == 2


async def test_a_link_that_is_withdrawn_replaced_or_old_opens_nothing(
    world: World, http: aiohttp.ClientSession
) -> None:
    browser, organization_id, _ = await inviting(world, http)
    email = new_email()
    replaced = await invited(browser, email)
    withdrawn = await invited(browser, email, "VIEWER")
    (open_now,) = (await browser.call("GET", INVITATIONS))[1]["invitations"]
    path = f"{INVITATIONS}/{open_now['invitation_id']}:revoke"
    status, revoked = await browser.call("POST", path, {})
    assert (status, open_now["role"]) == (200, "VIEWER")
    assert (await browser.call("POST", path, {}))[1] == revoked
    unknown = await browser.call("POST", f"{INVITATIONS}/{uuid4()}:revoke", {})
    assert reason(unknown) == (404, "INVITATION_NOT_FOUND")
    old = await invited(browser, email)
    await world.rows(
        "update identity.invitations set expire_time = expire_time - interval '7 days' where organization_id = %s"
        " returning 1",
        organization_id,
    )
    for secret in (replaced, withdrawn, old, "nonsense"):
        answered = await browser.call("POST", ACCEPT, {"secret": secret, "password": PASSWORD})
        assert reason(answered) == (404, "INVITATION_NOT_FOUND")


@pytest.mark.parametrize("password", ["short", "12345678", "Senha123", "aaaaaaaaaaaa"])
async def test_a_password_that_anybody_tries_first_is_refused(
    world: World, http: aiohttp.ClientSession, password: str
) -> None:
    browser, _, _ = await inviting(world, http)
    secret = await invited(browser, new_email())
    answered = await browser.call("POST", ACCEPT, {"secret": secret, "password": password})
    assert reason(answered) == (400, "PASSWORD_INVALID")
    # Nothing was used up by it.
    assert (await browser.call("POST", CHECK, {"secret": secret}))[0] == 200


async def test_nobody_gives_a_role_above_their_own(world: World) -> None:
    _, organization_id = await owner(world)
    admin = world.as_user(organization_id, ADMIN).stub(MemberServiceStub).CreateInvitation
    request = pb.CreateInvitationRequest(email=new_email(), role=OWNER)
    assert await reason_of(admin(request)) == "ROLE_ABOVE_OWN"
    request.role = ADMIN
    assert (await admin(request)).invitation.role == ADMIN
    cli = world.as_service("cli", organization_id).stub(MemberServiceStub).CreateInvitation
    request.role = OWNER
    assert (await cli(request)).invitation.invited_by.principal == "service:cli"
    key = world.as_key(organization_id, "*").stub(MemberServiceStub)
    assert await reason_of(key.CreateInvitation(request)) == "PEOPLE_ONLY"
    assert len((await key.ListMembers(pb.ListMembersRequest())).members) == 1


async def test_a_retry_shows_the_link_again_until_it_is_used(world: World) -> None:
    _, organization_id = await owner(world)
    stub = world.as_user(organization_id).stub(MemberServiceStub)
    request = pb.CreateInvitationRequest(email=new_email(), role=options_pb2.ROLE_AGENT, request_id=str(uuid4()))
    made = await stub.CreateInvitation(request)
    assert await stub.CreateInvitation(request) == made
    kept = await world.rows("select answer from identity.request_answers where organization_id = %s", organization_id)
    assert made.secret.encode() not in bytes(kept[0]["answer"])
    accept = world.as_nobody().stub(MemberServiceStub).AcceptInvitation
    await accept(pb.AcceptInvitationRequest(secret=made.secret, password=PASSWORD))
    assert await reason_of(stub.CreateInvitation(request)) == "SECRET_ALREADY_USED"


async def test_so_many_invitations_are_open_and_no_more(world: World) -> None:
    _, organization_id = await owner(world)
    create = world.as_user(organization_id).stub(MemberServiceStub).CreateInvitation
    for _ in range(INVITATIONS_OPEN_MAX):
        await create(pb.CreateInvitationRequest(email=new_email(), role=AGENT))
    request = pb.CreateInvitationRequest(email=new_email(), role=AGENT)
    assert await reason_of(create(request)) == "RESOURCE_EXHAUSTED"


async def test_an_account_that_came_of_an_invitation_owns_no_new_organization_unless_the_operator_says_so(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, _, _ = await inviting(world, http)
    email = new_email()
    # Who invites sees the link, and may accept it in anybody's name.
    secret = await invited(browser, email, "VIEWER")
    status, _ = await Browser.at(world, other_http).call("POST", ACCEPT, {"secret": secret, "password": PASSWORD})
    assert status == 200

    def wanted(name: str, **fields: Any) -> access_pb.CreateOrganizationRequest:
        return access_pb.CreateOrganizationRequest(name=name, admin_email=email, admin_password=PASSWORD, **fields)

    assert await reason_of(cli(world).CreateOrganization(wanted("Oficina"))) == "ACCOUNT_UNPROVEN"
    assert await world.rows("select 1 from identity.organizations where admin_email = %s", email) == []
    made = await cli(world).CreateOrganization(wanted("Oficina", existing_account=True))
    assert (made.created, made.admin_password) == (True, "")
    # Whom an operator named once is known from then on; and once more the same changes nothing.
    assert (await cli(world).CreateOrganization(wanted("Atelier"))).created
    assert not (await cli(world).CreateOrganization(wanted("Oficina"))).created
