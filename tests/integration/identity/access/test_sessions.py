"""People in browsers, over HTTP: the cookie, what a foreign page cannot do with it, and how a session ends."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from gateway.sessions import PLAIN_COOKIE
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import session_service_pb2 as pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.events_pb2 import PrincipalRevoked
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub
from services.identity.access.session_domain import SESSIONS_PER_USER_MAX
from tests.browser import Browser, browser_session
from tests.integration.identity.access.test_access import reason_of
from tests.world import OWNER, World

TARGETS = ("identity", "ingest", "gateway")
PASSWORD = "um bom segredo"
SESSION = "/api/v1/session"
KEYS = "/api/v1/api-keys"
CONTACTS = "/api/v1/contacts"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's HTTP."""
    async with browser_session() as session:
        yield session


@pytest.fixture
def browser(world: World, http: aiohttp.ClientSession) -> Browser:
    """A browser without a session."""
    return Browser.at(world, http)


async def owner(world: World, email: str = "", name: str = "Padaria") -> tuple[str, UUID]:
    """The e-mail of an owner, and the organization."""
    email = email or f"{uuid4().hex}@example.com"
    request = access_pb.CreateOrganizationRequest(name=name, admin_email=email, admin_password=PASSWORD)
    answer = await world.as_service("cli").stub(AccessServiceStub).CreateOrganization(request)
    return email, UUID(answer.organization.organization_id)


async def sessions_of(world: World, organization_id: UUID) -> list[dict[str, Any]]:
    """The rows of an organization's sessions, oldest first."""
    return await world.rows(
        "select * from identity.sessions where organization_id = %s order by session_id", organization_id
    )


async def test_a_person_signs_in_is_known_by_the_cookie_and_signs_out(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    status, signed_in = await browser.sign_in(email.upper(), PASSWORD)
    assert status == 200, signed_in
    assert "session_secret" not in signed_in
    secret = browser.cookies[PLAIN_COOKIE]
    status, session = await browser.call("GET", SESSION)
    assert (status, session) == (200, signed_in)
    assert (session["email"], session["organization_id"], session["role"]) == (email, str(organization_id), "OWNER")
    assert session["organizations"] == [{"organization_id": str(organization_id), "name": "Padaria", "role": "OWNER"}]
    # Reads by cookie alone, and writes with the session's token.
    assert (await browser.call("GET", CONTACTS))[0] == 200
    assert (await browser.call("POST", CONTACTS, {"name": "Ana"}))[0] == 200
    (row,) = await sessions_of(world, organization_id)
    assert bytes(row["secret_hash"]) == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(row)

    status, ended = await browser.call("DELETE", SESSION)
    assert (status, ended) == (200, {})
    assert PLAIN_COOKIE not in browser.cookies
    assert await browser.call("GET", SESSION, Cookie=f"{PLAIN_COOKIE}={secret}") == (401, _problem("SESSION_ENDED"))
    principal = f"session:{session['session_id']}"
    assert [fact.principal for fact in await world.announced(PrincipalRevoked, organization_id)] == [principal]
    # Again, and with a cookie that opens nothing any more: nothing is left to end.
    assert (await browser.call("DELETE", SESSION))[0] == 200
    assert (await browser.call("DELETE", SESSION, Cookie=f"{PLAIN_COOKIE}={secret}"))[0] == 200


class _problem(dict[str, Any]):  # noqa: N801 equals every problem of a reason
    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and other.get("reason") == self["reason"]

    __hash__ = None


async def test_the_cookie_is_no_script_s_and_no_other_site_s(world: World, browser: Browser) -> None:
    email, _ = await owner(world)
    body = {"email": email, "password": PASSWORD}
    async with browser.http.post(browser.url + SESSION, json=body, headers={"Origin": browser.url}) as response:
        (cookie,) = response.headers.getall("Set-Cookie")
    name, *attributes = [part.strip() for part in cookie.split(";")]
    assert name.startswith(f"{PLAIN_COOKIE}=")
    assert len(name.partition("=")[2]) == 43
    assert set(attributes) == {"HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax"}


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Prosa_Csrf": ""},
        {"X_Prosa_Csrf": "x" * 43},
        {"X_Prosa_Csrf": "ç"},
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"},
    ],
    ids=str,
)
async def test_a_write_that_is_not_the_page_s_own_changes_nothing(
    world: World, browser: Browser, headers: dict[str, str]
) -> None:
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    body = {"name": "Ana"}
    assert await browser.call("POST", CONTACTS, body, **headers) == (403, _problem("CSRF_INVALID"))
    assert await browser.call("DELETE", SESSION, **headers) == (403, _problem("CSRF_INVALID"))
    assert await world.rows("select 1 from identity.contacts where organization_id = %s", organization_id) == []
    (row,) = await sessions_of(world, organization_id)
    assert row["ended_time"] is None
    # Without Origin, but said by the browser to be the page's own.
    assert (await browser.call("POST", CONTACTS, body, Origin="", Sec_Fetch_Site="same-origin"))[0] == 200


async def test_one_session_s_token_is_no_other_s(world: World, browser: Browser) -> None:
    email, _ = await owner(world)
    _, first = await browser.sign_in(email, PASSWORD)
    _, second = await browser.sign_in(email, PASSWORD)
    assert first["csrf_token"] != second["csrf_token"]
    refused = await browser.call("POST", CONTACTS, {"name": "Ana"}, X_Prosa_Csrf=first["csrf_token"])
    assert refused == (403, _problem("CSRF_INVALID"))


@pytest.mark.parametrize("headers", [{"Origin": ""}, {"Origin": "https://evil.example"}], ids=str)
async def test_nobody_is_signed_in_by_a_page_of_another_site(
    world: World, browser: Browser, headers: dict[str, str]
) -> None:
    email, organization_id = await owner(world)
    body = {"email": email, "password": PASSWORD}
    assert await browser.call("POST", SESSION, body, **headers) == (403, _problem("CSRF_INVALID"))
    assert await sessions_of(world, organization_id) == []


async def test_no_cookie_is_set_where_it_would_travel_in_clear(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    body = {"email": email, "password": PASSWORD}
    for host in ("crm.example.com", "192.0.2.7:8080", "localhost.example.com"):
        refused = await browser.call("POST", SESSION, body, Host=host, Origin=f"http://{host}")
        assert refused == (403, _problem("TLS_REQUIRED")), host
    assert await sessions_of(world, organization_id) == []
    assert (await browser.call("POST", SESSION, body, Host="localhost:80", Origin="http://localhost"))[0] == 200


async def test_a_wrong_password_and_an_unknown_e_mail_are_told_alike(world: World, browser: Browser) -> None:
    email, _ = await owner(world)
    for tried in (email, f"{uuid4().hex}@example.com"):
        assert await browser.sign_in(tried, "x") == (401, _problem("CREDENTIALS_INVALID"))
    assert browser.cookies == {}


async def test_the_secret_is_taken_from_the_cookie_alone(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    secret = browser.cookies[PLAIN_COOKIE]
    query = f"{SESSION}?session_secret={secret}"
    assert await browser.call("DELETE", query) == (400, _problem("FIELD_UNKNOWN"))
    body = {"email": email, "password": PASSWORD, "session_secret": "mine"}
    assert await browser.call("POST", SESSION, body) == (400, _problem("FIELD_UNKNOWN"))
    (row,) = await sessions_of(world, organization_id)
    assert row["ended_time"] is None
    # A secret is no token and no key.
    assert (await browser.call("GET", SESSION, Authorization=f"Bearer {secret}", Cookie=""))[0] == 401


async def test_a_session_that_rested_too_long_or_lasted_too_long_has_ended(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    for column, days in (("last_use_time", 7), ("end_time", 30)):
        browser.http.cookie_jar.clear()
        await browser.sign_in(email, PASSWORD)
        await world.rows(
            f"update identity.sessions set {column} = {column} - make_interval(days => %s)"
            " where organization_id = %s returning 1",
            days,
            organization_id,
        )
        assert await browser.call("GET", SESSION) == (401, _problem("SESSION_ENDED"))


async def test_a_use_puts_the_end_off_but_is_written_down_seldom(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    secret = browser.cookies[PLAIN_COOKIE]
    exchange = world.as_service("gateway").stub(SessionServiceStub).ExchangeSession
    before = await sessions_of(world, organization_id)
    await exchange(pb.ExchangeSessionRequest(session_secret=secret))
    assert await sessions_of(world, organization_id) == before
    await world.rows(
        "update identity.sessions set last_use_time = last_use_time - interval '6 days' where organization_id = %s"
        " returning 1",
        organization_id,
    )
    await exchange(pb.ExchangeSessionRequest(session_secret=secret))
    (row,) = await sessions_of(world, organization_id)
    assert row["last_use_time"] >= before[0]["last_use_time"]


async def test_no_other_than_the_gateway_exchanges_a_cookie(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    request = pb.ExchangeSessionRequest(session_secret=browser.cookies[PLAIN_COOKIE])
    for act in (world.as_nobody(), world.as_user(organization_id, OWNER), world.as_service("cli")):
        assert await reason_of(act.stub(SessionServiceStub).ExchangeSession(request)) in {
            "TOKEN_MISSING",
            "SERVICES_ONLY",
            "SERVICE_NOT_ALLOWED",
        }


async def test_a_session_of_its_own_for_each_sign_in_and_the_oldest_ends(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    for _ in range(SESSIONS_PER_USER_MAX + 1):
        assert (await browser.sign_in(email, PASSWORD))[0] == 200
    rows = await sessions_of(world, organization_id)
    assert [row["ended_time"] is None for row in rows] == [False] + [True] * SESSIONS_PER_USER_MAX
    (fact,) = await world.announced(PrincipalRevoked, organization_id)
    assert fact.principal == f"session:{rows[0]['session_id']}"


async def test_a_person_of_several_organizations_goes_on_where_they_were_last(world: World, browser: Browser) -> None:
    email, first = await owner(world, name="A")
    _, second = await owner(world, email, name="B")
    assert (await browser.sign_in(email, PASSWORD))[1]["organization_id"] == str(first)
    _, chosen = await browser.sign_in(email, PASSWORD, organization_id=str(second))
    assert chosen["organization_id"] == str(second)
    assert [item["name"] for item in chosen["organizations"]] == ["A", "B"]
    assert (await browser.sign_in(email, PASSWORD))[1]["organization_id"] == str(second)
    refused = await browser.sign_in(email, PASSWORD, organization_id=str(uuid4()))
    assert refused == (401, _problem("CREDENTIALS_INVALID"))


async def test_who_is_no_member_any_more_has_no_session(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    await world.rows("delete from identity.members where organization_id = %s returning 1", organization_id)
    assert await browser.call("GET", SESSION) == (401, _problem("SESSION_ENDED"))


async def test_a_token_of_a_program_has_no_session(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    async with browser.http.post(
        f"{browser.url}/api/v1/sessions", json={"email": email, "password": PASSWORD}
    ) as response:
        token = (await response.json())["access_token"]
    # What has a header of its own needs nothing of a browser.
    status, session = await browser.call("GET", SESSION, Authorization=f"Bearer {token}")
    assert (status, session["session_id"], session["csrf_token"]) == (200, "", "")
    assert (session["organization_id"], session["role"]) == (str(organization_id), "OWNER")


async def test_live_updates_come_by_cookie_and_end_with_the_session(world: World, browser: Browser) -> None:
    email, organization_id = await owner(world)
    await browser.sign_in(email, PASSWORD)
    stream = f"{browser.url}/api/v1/stream"
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with browser.http.get(stream, headers=headers) as refused:
            assert (refused.status, (await refused.json())["reason"]) == (403, "CSRF_INVALID")
    async with browser.http.get(stream, headers={"Sec-Fetch-Site": "same-origin"}) as opened:
        assert opened.status == 200
    secret = browser.cookies[PLAIN_COOKIE]
    await browser.call("DELETE", SESSION)
    async with browser.http.get(stream, headers={"Cookie": f"{PLAIN_COOKIE}={secret}"}) as refused:
        assert refused.status == 401
    # And every process that knows a token of the session is told.
    (row,) = await sessions_of(world, organization_id)
    (fact,) = await world.announced(PrincipalRevoked, organization_id)
    assert fact.principal == f"session:{row['session_id']}"
