"""The second factor over HTTP, by a clock that is moved: set-up, step-up, codes that count once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import aiohttp
import grpc
import pytest
import pytest_asyncio

from chassis.auth import STEP_UP_SECONDS
from chassis.clock import SettableClock, SystemClock
from embedded.servers import EmbeddedServers
from gateway.sessions import PLAIN_COOKIE
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import session_service_pb2 as pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub
from services.identity.access import totp
from services.identity.access.domain import SIGN_IN_WINDOW
from services.identity.access.session_domain import SECRET_OVERLAP
from tests.browser import Authenticator, Browser, browser_session
from tests.integration.identity.access.test_access import nobody, reason_of
from tests.integration.identity.access.test_sessions import KEYS, PASSWORD, SESSION, owner, sessions_of
from tests.world import World, error_info, settings_for, start_world

TARGETS = ("identity", "gateway")
KEY = {"name": "n8n", "scopes": ["contacts.read"]}
BEGIN, CONFIRM, VERIFY = "/api/v1/session/mfa:begin", "/api/v1/session/mfa:confirm", "/api/v1/session:verify"
SWITCH = "/api/v1/session:switchOrganization"
STEP = timedelta(seconds=totp.STEP_SECONDS)


@pytest.fixture(scope="module")
def clock() -> SettableClock:
    """Time, as these tests let it pass."""
    return SettableClock(SystemClock().now())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, clock: SettableClock
) -> AsyncIterator[World]:
    """A process that lives by that clock."""
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    running = await start_world(settings, database_url, TARGETS, clock)
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's HTTP."""
    async with browser_session() as session:
        yield session


@pytest.fixture
def browser(world: World, http: aiohttp.ClientSession) -> Browser:
    """A browser without a session."""
    return Browser.at(world, http)


async def signed_in(world: World, browser: Browser) -> str:
    """The e-mail of a new owner, who has signed in with the password alone."""
    email, _ = await owner(world)
    status, answer = await browser.sign_in(email, PASSWORD)
    assert status == 200, answer
    return email


async def pass_by(clock: SettableClock, browser: Browser, span: timedelta) -> None:
    """Lets time pass; what a gateway remembers by its own monotonic clock is forgotten, as it would be by then."""
    clock.advance(span)
    await browser.call("GET", SESSION)


def reason(answered: tuple[int, dict[str, object]]) -> tuple[int, object]:
    """Status and reason of an answer."""
    return answered[0], answered[1].get("reason")


async def test_an_owner_without_a_second_factor_does_no_more_than_an_agent_until_it_is_set_up(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    await signed_in(world, browser)
    _, session = await browser.call("GET", SESSION)
    assert (session["mfa_setup_required"], session["mfa_set_up"], session["step_up_end_time"]) == (True, False, None)
    for method, path, body in (("GET", KEYS, None), ("POST", KEYS, KEY)):
        status, refused = await browser.call(method, path, body)
        assert (status, refused["reason"], refused["metadata"]) == (403, "MFA_REQUIRED", {"setup": "true"})
    assert (await browser.call("POST", "/api/v1/contacts", {"name": "Ana"}))[0] == 200

    secret_before = browser.cookies[PLAIN_COOKIE]
    _, codes = await browser.set_up_mfa(clock)
    assert len(set(codes)) == totp.RECOVERY_CODES
    assert all(re.fullmatch("[A-Z2-7]{10}", code) for code in codes)
    _, session = await browser.call("GET", SESSION)
    assert (session["mfa_setup_required"], session["mfa_set_up"]) == (False, True)
    assert session["step_up_end_time"] is not None
    assert (await browser.call("POST", KEYS, KEY))[0] == 200
    assert browser.cookies[PLAIN_COOKIE] != secret_before
    assert browser.csrf_token == session["csrf_token"]


async def test_the_setup_shows_what_an_authenticator_reads(world: World, browser: Browser) -> None:
    email = await signed_in(world, browser)
    _, begun = await browser.call("POST", BEGIN, {})
    uri = urlsplit(begun["provisioning_uri"])
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", f"/Prosa:{email.replace('@', '%40')}")
    assert {name: value for name, (value,) in parse_qs(uri.query).items()} == {
        "secret": begun["secret"],
        "issuer": "Prosa",
        "algorithm": "SHA1",
        "digits": "6",
        "period": "30",
    }
    assert begun["qr_svg"].startswith("<svg xmlns=")
    (row,) = await world.rows(
        "select sealed_secret from identity.mfa_factors join identity.users using (user_id) where email = %s", email
    )
    assert Authenticator.of(begun["secret"], world.clock).secret not in bytes(row["sealed_secret"])
    # Asked again it draws another, and the one before opens nothing.
    _, again = await browser.call("POST", BEGIN, {})
    assert again["secret"] != begun["secret"]
    stale = Authenticator.of(begun["secret"], world.clock)
    assert reason(await browser.call("POST", CONFIRM, {"mfa_code": stale.code()})) == (403, "MFA_CODE_INVALID")


async def test_a_setup_is_finished_within_a_quarter_of_an_hour_and_once(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    await signed_in(world, browser)
    assert reason(await browser.call("POST", CONFIRM, {"mfa_code": "000000"})) == (400, "MFA_SETUP_NOT_BEGUN")
    _, begun = await browser.call("POST", BEGIN, {})
    await pass_by(clock, browser, totp.MFA_SETUP_LIFE + timedelta(seconds=1))
    late = Authenticator.of(begun["secret"], clock)
    assert reason(await browser.call("POST", CONFIRM, {"mfa_code": late.code()})) == (400, "MFA_SETUP_NOT_BEGUN")
    phone, _ = await browser.set_up_mfa(clock)
    assert reason(await browser.call("POST", BEGIN, {})) == (400, "MFA_ALREADY_SET_UP")
    assert reason(await browser.call("POST", CONFIRM, {"mfa_code": phone.code()})) == (400, "MFA_ALREADY_SET_UP")


async def test_a_step_up_ends_after_a_quarter_of_an_hour_and_a_code_brings_it_back(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    await signed_in(world, browser)
    phone, _ = await browser.set_up_mfa(clock)
    await pass_by(clock, browser, timedelta(seconds=STEP_UP_SECONDS - 1))
    assert (await browser.call("POST", KEYS, KEY))[0] == 200
    await pass_by(clock, browser, timedelta(seconds=2))
    status, refused = await browser.call("POST", KEYS, KEY)
    assert (status, refused["reason"], refused["metadata"]) == (403, "MFA_REQUIRED", {"setup": "false"})
    # What takes an administrator but no step-up goes on.
    assert (await browser.call("GET", KEYS))[0] == 200
    code = phone.code()
    status, session = await browser.call("POST", VERIFY, {"mfa_code": f"{code[:3]} {code[3:]}"})
    assert status == 200, session
    assert (await browser.call("POST", KEYS, KEY))[0] == 200
    # The same code twice, at once and within its time.
    assert reason(await browser.call("POST", VERIFY, {"mfa_code": code})) == (403, "MFA_CODE_INVALID")


async def test_signing_in_takes_a_code_that_was_not_used(world: World, browser: Browser, clock: SettableClock) -> None:
    email = await signed_in(world, browser)
    phone, _ = await browser.set_up_mfa(clock)
    clock.advance(3 * STEP)
    fresh = Authenticator(phone.secret, clock)
    browser.http.cookie_jar.clear()
    assert reason(await browser.sign_in(email, PASSWORD)) == (401, "MFA_CODE_MISSING")
    # A wrong password is told alike, whatever code comes with it.
    assert reason(await browser.sign_in(email, "x", mfa_code=totp.code_of(phone.secret, 1))) == (
        401,
        "CREDENTIALS_INVALID",
    )
    for wrong in ("000000", "12345", "nonsense", totp.code_of(phone.secret, totp.step_at(clock.now()) - 3)):
        assert reason(await browser.sign_in(email, PASSWORD, mfa_code=wrong)) == (403, "MFA_CODE_INVALID")
    code = fresh.code()
    status, session = await browser.sign_in(email, PASSWORD, mfa_code=code)
    assert (status, session["mfa_set_up"]) == (200, True)
    assert session["step_up_end_time"] is not None
    assert reason(await browser.sign_in(email, PASSWORD, mfa_code=code)) == (403, "MFA_CODE_INVALID")
    # One of before counts as used too, though nobody has sent it.
    before = totp.code_of(phone.secret, fresh.last_step - 1)
    assert reason(await browser.sign_in(email, PASSWORD, mfa_code=before)) == (403, "MFA_CODE_INVALID")


async def test_a_recovery_code_opens_once_and_is_no_other_person_s(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    email = await signed_in(world, browser)
    _, codes = await browser.set_up_mfa(clock)
    written = f"{codes[0][:5].lower()}-{codes[0][5:].lower()}"
    assert (await browser.sign_in(email, PASSWORD, mfa_code=written))[0] == 200
    assert reason(await browser.sign_in(email, PASSWORD, mfa_code=codes[0])) == (403, "MFA_CODE_INVALID")
    assert (await browser.call("POST", VERIFY, {"mfa_code": codes[1]}))[0] == 200
    other = await signed_in(world, browser)
    await browser.set_up_mfa(clock)
    assert reason(await browser.sign_in(other, PASSWORD, mfa_code=codes[2])) == (403, "MFA_CODE_INVALID")
    kept = await world.rows(
        "select code_hash from identity.recovery_codes join identity.users using (user_id) where email = %s", email
    )
    assert len(kept) == totp.RECOVERY_CODES
    assert not {bytes(row["code_hash"]) for row in kept} & {code.encode() for code in codes}


async def test_wrong_codes_are_counted_and_never_keep_the_owner_out(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    email = await signed_in(world, browser)
    phone, _ = await browser.set_up_mfa(clock)
    # One more than are answered at once: the last comes half a second late.
    for _ in range(totp.MFA_FAILURES_FREE + 1):
        assert reason(await browser.sign_in(email, PASSWORD, mfa_code="000000")) == (403, "MFA_CODE_INVALID")
    counted = "select attempt_count from identity.sign_in_attempts where attempt_hash = sha256(%s::text::bytea)"
    (user,) = await world.rows("select user_id from identity.users where email = %s", email)
    assert await world.rows(counted, f"mfa/{user['user_id']} ") == [{"attempt_count": totp.MFA_FAILURES_FREE + 1}]
    assert (await browser.sign_in(email, PASSWORD, mfa_code=phone.code()))[0] == 200
    assert await world.rows(counted, f"mfa/{user['user_id']} ") == [{"attempt_count": 0}]


async def of_network(world: World, network: str, email: str, code: str) -> str:
    """Signs in with the right password and a code, from a network; why it was refused, empty where it was not."""
    request = access_pb.CreateSessionRequest(email=email, password=PASSWORD, mfa_code=code)
    call = nobody(world).CreateSession(request, metadata=(("x-client-network", network),))
    try:
        await call
    except grpc.aio.AioRpcError as refused:
        return error_info(refused).reason
    return ""


async def test_wrong_codes_of_many_networks_count_together_and_where_a_right_one_was_shown_apart(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    email = await signed_in(world, browser)
    phone, _ = await browser.set_up_mfa(clock)
    clock.advance(STEP)
    assert await of_network(world, "192.0.2.0/24", email, phone.code()) == ""
    (user,) = await world.rows("select user_id from identity.users where email = %s", email)
    attempt = f"mfa/{user['user_id']} "
    counted = "select attempt_count from identity.sign_in_attempts where attempt_hash = sha256(%s::text::bytea)"
    for place in range(2):
        assert await of_network(world, f"198.51.{place}.0/24", email, "000000") == "MFA_CODE_INVALID"
    assert await world.rows(counted, attempt) == [{"attempt_count": 2}]
    # As if all these had been tried, each from another network.
    await world.rows(
        "update identity.sign_in_attempts set attempt_count = %s where attempt_hash = sha256(%s::text::bytea)"
        " returning attempt_count",
        totp.MFA_FAILURES_MAX,
        attempt,
    )
    clock.advance(STEP)
    right = phone.code()
    assert await of_network(world, "203.0.113.0/24", email, right) == "SIGN_IN_LIMITED"
    assert await of_network(world, "192.0.2.0/24", email, right) == ""
    clock.advance(SIGN_IN_WINDOW + STEP)
    assert await of_network(world, "198.51.100.0/24", email, phone.code()) == ""


async def test_many_networks_take_no_more_places_than_a_person_has_and_none_of_a_known_one(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    email = await signed_in(world, browser)
    phone, _ = await browser.set_up_mfa(clock)
    clock.advance(STEP)
    assert await of_network(world, "192.0.2.0/24", email, phone.code()) == ""
    clock.advance(STEP)
    (user,) = await world.rows("select user_id from identity.users where email = %s", email)
    async with await world.admin() as held:
        await held.execute("begin")
        await held.execute(
            "select from identity.sign_in_attempts where attempt_hash = sha256(%s::text::bytea) for update",
            [f"mfa/{user['user_id']} "],
        )
        async with asyncio.TaskGroup() as group:
            guesses = [
                group.create_task(of_network(world, f"198.51.{place}.0/24", email, "000000"))
                for place in range(totp.MFA_CHECKS_PER_PERSON_MAX)
            ]
            await world.until_waiting_on_locks(totp.MFA_CHECKS_PER_PERSON_MAX)
            # Each would hold a connection of everybody's while it waits.
            assert await of_network(world, "203.0.113.0/24", email, "000000") == "SIGN_IN_LIMITED"
            assert await of_network(world, "192.0.2.0/24", email, phone.code()) == ""
            await held.execute("rollback")
    assert {guess.result() for guess in guesses} == {"MFA_CODE_INVALID"}


async def test_the_secret_of_before_is_taken_a_minute_longer_and_gains_nothing_by_the_step_up(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    await signed_in(world, browser)
    before = browser.cookies[PLAIN_COOKIE]
    await browser.set_up_mfa(clock)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        late = Browser(http, browser.url, browser.csrf_token, {"Cookie": f"{PLAIN_COOKIE}={before}"})
        assert (await late.call("GET", SESSION))[0] == 200
        assert reason(await late.call("POST", KEYS, KEY)) == (403, "MFA_REQUIRED")
        assert (await browser.call("POST", KEYS, KEY))[0] == 200
        exchange = world.as_service("gateway").stub(SessionServiceStub).ExchangeSession
        await exchange(pb.ExchangeSessionRequest(session_secret=before))
        clock.advance(SECRET_OVERLAP)
        assert await reason_of(exchange(pb.ExchangeSessionRequest(session_secret=before))) == "SESSION_ENDED"
    assert (await browser.call("GET", SESSION))[0] == 200


async def test_programs_show_a_second_factor_with_the_password(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    email, _ = await owner(world)
    body = {"email": email, "password": PASSWORD}
    _, token = await browser.call("POST", "/api/v1/sessions", body)
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    for path in (VERIFY, SWITCH):
        asked = {"mfa_code": "000000"} if path == VERIFY else {"organization_id": str(uuid4())}
        assert reason(await browser.call("POST", path, asked, **bearer)) == (401, "SESSION_ENDED")
    _, begun = await browser.call("POST", BEGIN, {}, **bearer)
    phone = Authenticator.of(begun["secret"], clock)
    status, confirmed = await browser.call("POST", CONFIRM, {"mfa_code": phone.code()}, **bearer)
    assert (status, confirmed["session"]["session_id"], confirmed["session"]["mfa_set_up"]) == (200, "", True)
    assert browser.cookies == {}
    assert reason(await browser.call("POST", "/api/v1/sessions", body)) == (401, "MFA_CODE_MISSING")
    clock.advance(STEP)
    status, token = await browser.call("POST", "/api/v1/sessions", body | {"mfa_code": phone.code()})
    assert status == 200, token
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    status, made = await browser.call("POST", KEYS, KEY, **bearer)
    assert status == 200, made
    # A key makes no keys, whatever its scopes; a service that the contract names does.
    assert reason(await browser.call("POST", KEYS, KEY, X_Api_Key=made["secret"])) == (403, "PEOPLE_ONLY")


async def test_the_command_line_passes_without_a_second_factor(world: World) -> None:
    _, organization_id = await owner(world)
    cli = world.as_service("cli", organization_id).stub(AccessServiceStub)
    request = access_pb.CreateApiKeyRequest(name="n8n", scopes=["contacts.read"])
    assert (await cli.CreateApiKey(request)).secret
    stranger = world.as_service("crm", organization_id).stub(AccessServiceStub)
    assert await reason_of(stranger.CreateApiKey(request)) == "SERVICE_NOT_ALLOWED"


async def test_a_session_goes_on_in_another_organization_of_its_person(
    world: World, browser: Browser, clock: SettableClock
) -> None:
    email, first = await owner(world, name="A")
    _, second = await owner(world, email, name="B")
    _, foreign = await owner(world)
    await browser.sign_in(email, PASSWORD)
    await browser.set_up_mfa(clock)
    secret = browser.cookies[PLAIN_COOKIE]
    for stranger in (foreign, uuid4()):
        refused = await browser.call("POST", SWITCH, {"organization_id": str(stranger)})
        assert reason(refused) == (403, "NOT_A_MEMBER")
    status, session = await browser.call("POST", SWITCH, {"organization_id": str(second)})
    assert (status, session["organization_id"]) == (200, str(second))
    assert browser.cookies[PLAIN_COOKIE] != secret
    # The second factor is the person's, and so is the session's token.
    status, made = await browser.call("POST", KEYS, KEY)
    assert status == 200, made
    assert await world.rows("select 1 from identity.api_keys where organization_id = %s", first) == []
    assert [row["organization_id"] for row in await sessions_of(world, second)] == [second]
