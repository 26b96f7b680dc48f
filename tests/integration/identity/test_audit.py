"""Who did what, over HTTP: written with the deed, without secrets, and changed by nobody."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import pytest

from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.v1 import options_pb2
from tests.browser import Browser, browser_session
from tests.integration.identity.access.test_members import ACCEPT, INVITATIONS, inviting, new_email
from tests.integration.identity.access.test_sessions import KEYS, PASSWORD, SESSION
from tests.world import World, role_url

TARGETS = ("identity", "gateway")
ENTRIES = "/api/v1/audit-entries"
PREFIX = "prosa.identity.v1."


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


async def entries(browser: Browser, query: str = "") -> list[dict[str, Any]]:
    """All that is listed, page by page, oldest first."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        status, page = await browser.call("GET", f"{ENTRIES}?page_size=2&page_token={token}{query}")
        assert status == 200, page
        found += page["audit_entries"]
        if not (token := page["next_page_token"]):
            return found[::-1]


async def test_what_people_do_to_access_is_written_down_with_who_and_whence(
    world: World, http: aiohttp.ClientSession, other_http: aiohttp.ClientSession
) -> None:
    browser, organization_id, inviter = await inviting(world, http)
    owner_id = (await browser.call("GET", SESSION))[1]["user_id"]
    email = new_email()
    _, made = await browser.call("POST", INVITATIONS, {"email": email, "role": "AGENT"}, X_Correlation_Id="corr-7")
    colleague = Browser.at(world, other_http)
    _, joined = colleague.kept(await colleague.call("POST", ACCEPT, {"secret": made["secret"], "password": PASSWORD}))
    _, key = await browser.call("POST", KEYS, {"name": "n8n", "scopes": ["*"]})
    await browser.call("POST", f"{KEYS}/{key['api_key']['api_key_id']}:revoke", {})
    await browser.call("POST", f"{KEYS}/{key['api_key']['api_key_id']}:revoke", {})
    _, second = await browser.call("POST", INVITATIONS, {"email": new_email(), "role": "VIEWER"})
    await browser.call("POST", f"{INVITATIONS}/{second['invitation']['invitation_id']}:revoke", {})
    await browser.call("PATCH", "/api/v1/organization", {"locale": "en"})
    await colleague.call("DELETE", SESSION)

    listed = await entries(browser)
    assert [(entry["action"].removeprefix(PREFIX), entry["actor"]["name"]) for entry in listed] == [
        ("SessionService.SignIn", inviter),
        ("SessionService.ConfirmMfaSetup", inviter),
        ("MemberService.CreateInvitation", inviter),
        ("MemberService.AcceptInvitation", email),
        ("AccessService.CreateApiKey", inviter),
        ("AccessService.RevokeApiKey", inviter),
        ("MemberService.CreateInvitation", inviter),
        ("MemberService.RevokeInvitation", inviter),
        ("AccessService.UpdateOrganization", inviter),
        ("SessionService.SignOut", email),
    ]
    assert {entry["network"] for entry in listed} == {"127.0.0.0/24"}
    assert listed[2]["actor"]["principal"] == f"user:{owner_id}"
    assert (listed[2]["correlation_id"], listed[2]["target_type"]) == ("corr-7", "invitation")
    assert json.loads(listed[2]["after_json"])["email"] == email
    assert (listed[3]["target_type"], listed[3]["target_id"]) == ("member", joined["user_id"])
    before, after = (json.loads(listed[5][name]) for name in ("before_json", "after_json"))
    assert ("revoke_time" in before, "revoke_time" in after) == (False, True)
    assert [json.loads(listed[8][name])["locale"] for name in ("before_json", "after_json")] == ["pt-BR", "en"]
    kept = str(await world.rows("select * from identity.audit_entries where organization_id = %s", organization_id))
    for secret in (made["secret"], key["secret"], PASSWORD, *browser.cookies.values()):
        assert secret not in kept

    # By each filter alone.
    of_colleague = f"&principal=user:{joined['user_id']}"
    assert [entry["target_type"] for entry in await entries(browser, of_colleague)] == ["member", "session"]
    assert len(await entries(browser, f"&action={PREFIX}AccessService.CreateApiKey")) == 1
    assert len(await entries(browser, f"&target_type=api_key&target_id={key['api_key']['api_key_id']}")) == 2
    cut = listed[4]["create_time"]
    assert await entries(browser, f"&start_time={cut}") == listed[4:]
    assert await entries(browser, f"&end_time={cut}") == listed[:4]


async def test_the_command_line_and_programs_are_written_down_too(world: World, http: aiohttp.ClientSession) -> None:
    browser, organization_id, email = await inviting(world, http)
    cli = world.as_service("cli", organization_id)
    await cli.stub(AccessServiceStub).CreateApiKey(access_pb.CreateApiKeyRequest(name="n8n", scopes=["*"]))
    backfill = contact_pb.BackfillContactIdentitiesRequest(source=options_pb2.SOURCE_WHATSAPP)
    await cli.stub(ContactServiceStub).BackfillContactIdentities(backfill)
    _, refused = await browser.call("POST", "/api/v1/sessions", {"email": email, "password": PASSWORD})
    assert refused["reason"] == "MFA_CODE_MISSING"
    of_cli = await entries(browser, "&principal=service:cli")
    assert [(entry["action"].removeprefix(PREFIX), entry["actor"]["name"]) for entry in of_cli] == [
        ("AccessService.CreateApiKey", "cli"),
        ("ContactService.BackfillContactIdentities", "cli"),
    ]


async def test_what_was_refused_or_failed_is_not_written(world: World, http: aiohttp.ClientSession) -> None:
    browser, organization_id, email = await inviting(world, http)
    before = await entries(browser)
    await browser.call("POST", KEYS, {"name": "n8n", "scopes": ["no.such"]})
    await browser.call("POST", INVITATIONS, {"email": email, "role": "AGENT"})
    await browser.call("POST", f"{KEYS}/{uuid4()}:revoke", {})
    await browser.call("PATCH", "/api/v1/organization", {"locale": "pt-BR"})
    assert await entries(browser) == before
    assert len(
        await world.rows("select 1 from identity.audit_entries where organization_id = %s", organization_id)
    ) == len(before)


async def test_the_service_itself_changes_and_deletes_no_row(world: World, http: aiohttp.ClientSession) -> None:
    _, organization_id, _ = await inviting(world, http)
    url = role_url(world.database_url, "identity").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"set app.organization_ids = '{organization_id}'".encode())
        found = await connection.execute("select count(*) from identity.audit_entries")
        row = await found.fetchone()
        assert row is not None
        assert row[0] > 0
        for statement in (
            "update identity.audit_entries set name = 'somebody else'",
            "delete from identity.audit_entries",
            "truncate identity.audit_entries",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement.encode())


async def test_no_key_reads_it_whatever_its_scopes(world: World, http: aiohttp.ClientSession) -> None:
    browser, _, _ = await inviting(world, http)
    _, key = await browser.call("POST", KEYS, {"name": "n8n", "scopes": ["*"]})
    async with browser.http.get(browser.url + ENTRIES, headers={"X-Api-Key": key["secret"]}) as refused:
        assert (refused.status, (await refused.json())["reason"]) == (403, "PEOPLE_ONLY")
