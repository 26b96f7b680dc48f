"""Organizations, API keys, sign-in and what was revoked."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest

from chassis.process import Host
from prosa.identity.v1 import access_service_pb2 as pb
from prosa.identity.v1 import access_service_pb2_grpc as pb_grpc
from prosa.identity.v1.events_pb2 import OrganizationCreated, OrganizationUpdated, PrincipalRevoked
from prosa.v1 import options_pb2
from services.targets import TARGETS as TARGETS_OF_THE_PRODUCT
from tests.integration.identity.cast import given_organization
from tests.world import ADMIN, World, error_info

TARGETS = ("identity",)
PASSWORD = "um bom segredo"


def cli(world: World, organization_id: UUID | None = None) -> Any:
    """AccessService as the command line calls it."""
    return world.as_service("cli", organization_id).stub(pb_grpc.AccessServiceStub)


def nobody(world: World) -> Any:
    """AccessService for whom has no token yet."""
    return world.as_nobody().stub(pb_grpc.AccessServiceStub)


def admin(world: World, organization_id: UUID) -> Any:
    """AccessService as an administrator calls it."""
    return world.as_user(organization_id, ADMIN).stub(pb_grpc.AccessServiceStub)


def new_email() -> str:
    """An e-mail nobody has."""
    return f"{uuid4().hex}@example.com"


async def create(world: World, name: str, email: str, password: str = PASSWORD) -> pb.CreateOrganizationResponse:
    """Creates an organization."""
    request = pb.CreateOrganizationRequest(name=name, admin_email=email, admin_password=password)
    answer: pb.CreateOrganizationResponse = await cli(world).CreateOrganization(request)
    return answer


async def reason_of(call: Any) -> str:
    """Why a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return error_info(refused.value).reason


@pytest.mark.req("ID-20")
async def test_an_organization_is_created_once_with_its_first_owner(world: World) -> None:
    email = new_email()
    answers = await asyncio.gather(*(create(world, "Padaria Aurora", email, "") for _ in range(3)))
    assert sorted(answer.created for answer in answers) == [False, False, True]
    assert len({answer.organization.organization_id for answer in answers}) == 1
    (made,) = [answer for answer in answers if answer.created]
    assert len(made.admin_password) == 20
    assert {answer.admin_password for answer in answers if not answer.created} == {""}
    organization_id = UUID(made.organization.organization_id)
    assert (made.organization.region, made.organization.time_zone) == ("BR", "America/Sao_Paulo")
    owners = await world.rows(
        "select email, role from identity.users join identity.members using (user_id) where organization_id = %s",
        organization_id,
    )
    assert owners == [{"email": email, "role": "OWNER"}]
    assert [fact.name for fact in await world.announced(OrganizationCreated, organization_id)] == ["Padaria Aurora"]
    token = await nobody(world).CreateSession(pb.CreateSessionRequest(email=email, password=made.admin_password))
    caller = world.host.verifier.verify(token.access_token)
    assert (caller.organization_id, caller.role, caller.kind) == (organization_id, options_pb2.ROLE_OWNER, "user")


async def test_where_an_organization_is_at_home_is_changed_and_announced_once(world: World) -> None:
    made = await create(world, "Padaria Aurora", new_email())
    organization_id = UUID(made.organization.organization_id)
    assert (made.organization.locale, made.organization.etag) == ("pt-BR", "1")
    (created,) = await world.announced(OrganizationCreated, organization_id)
    assert (created.organization, created.version) == (made.organization, 1)
    request = pb.UpdateOrganizationRequest(region="PT", time_zone="Europe/Lisbon", etag="1", request_id=str(uuid4()))
    answers = await asyncio.gather(*(admin(world, organization_id).UpdateOrganization(request) for _ in range(3)))
    assert {(one.region, one.time_zone, one.locale, one.etag) for one in answers} == {
        ("PT", "Europe/Lisbon", "pt-BR", "2")
    }
    assert await admin(world, organization_id).GetOrganization(pb.GetOrganizationRequest()) == answers[0]
    # What is so already is no change.
    await admin(world, organization_id).UpdateOrganization(pb.UpdateOrganizationRequest(region="PT"))
    facts = await world.announced(OrganizationUpdated, organization_id)
    assert [(fact.organization, fact.version) for fact in facts] == [(answers[0], 2)]


async def test_a_home_that_cannot_be_is_refused(world: World) -> None:
    made = await create(world, "Padaria Aurora", new_email())
    organization_id = UUID(made.organization.organization_id)
    for reason, values in (
        ("NOTHING_TO_CHANGE", {"request_id": str(uuid4())}),
        ("REGION_INVALID", {"region": "XX"}),
        ("TIME_ZONE_INVALID", {"time_zone": "Lisbon"}),
        ("LOCALE_INVALID", {"locale": "pt_PT"}),
        ("ETAG_STALE", {"region": "PT", "etag": "7"}),
    ):
        assert (
            await reason_of(admin(world, organization_id).UpdateOrganization(pb.UpdateOrganizationRequest(**values)))
            == reason
        )
    assert await world.announced(OrganizationUpdated, organization_id) == []


async def test_one_user_may_own_several_organizations_and_chooses_at_sign_in(world: World) -> None:
    email = new_email()
    second = await create(world, "B", email)
    first = await create(world, "A", email.upper(), "another password")
    assert first.created
    assert first.admin_password == ""
    sign_in = nobody(world).CreateSession
    by_name = await sign_in(pb.CreateSessionRequest(email=email, password=PASSWORD))
    assert by_name.organization_id == first.organization.organization_id
    chosen = second.organization.organization_id
    named = await sign_in(pb.CreateSessionRequest(email=email, password=PASSWORD, organization_id=chosen))
    assert (named.organization_id, named.token_type, named.expires_in) == (chosen, "Bearer", 600)
    foreign = pb.CreateSessionRequest(email=email, password=PASSWORD, organization_id=str(uuid4()))
    assert await reason_of(sign_in(foreign)) == "CREDENTIALS_INVALID"


async def test_a_wrong_password_and_an_unknown_email_are_told_alike(world: World) -> None:
    email = new_email()
    await create(world, "C", email)
    sign_in = nobody(world).CreateSession
    assert await reason_of(sign_in(pb.CreateSessionRequest(email=email, password="x"))) == "CREDENTIALS_INVALID"
    assert await reason_of(sign_in(pb.CreateSessionRequest(email=new_email(), password="x"))) == "CREDENTIALS_INVALID"


async def test_passwords_are_kept_as_argon2id_only(world: World) -> None:
    host = Host(world.settings, clock=world.clock)
    # As `prosa serve` starts it: the world's own identity hashes at a cost that protects nobody.
    await host.start({"identity": TARGETS_OF_THE_PRODUCT["identity"]})
    product = World(world.database_url, world.settings, host, world.clock)
    try:
        email = new_email()
        await create(product, "E", email)
        signed_in = await nobody(product).CreateSession(pb.CreateSessionRequest(email=email, password=PASSWORD))
        assert signed_in.token_type == "Bearer"
    finally:
        await product.close()
        await host.stop()
    (row,) = await world.rows("select password_hash from identity.users where email = %s", email)
    # What RFC 9106 recommends where memory is scarce: 64 MiB, three passes, four lanes.
    assert row["password_hash"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": " "}, "NAME_INVALID"),
        ({"region": "br"}, "REGION_INVALID"),
        ({"region": "XX"}, "REGION_INVALID"),
        ({"time_zone": "America/Nowhere"}, "TIME_ZONE_INVALID"),
        ({"admin_password": "short"}, "PASSWORD_INVALID"),
    ],
)
async def test_an_organization_that_makes_no_sense_is_refused(
    world: World, fields: dict[str, str], reason: str
) -> None:
    values: dict[str, Any] = {"name": "F", "admin_email": new_email(), "admin_password": PASSWORD} | fields
    assert await reason_of(cli(world).CreateOrganization(pb.CreateOrganizationRequest(**values))) == reason


async def test_organizations_are_listed_by_name_in_pages(world: World) -> None:
    made = [await given_organization(world) for _ in range(5)]
    listed, token = [], ""
    while True:
        page = await cli(world).ListOrganizations(pb.ListOrganizationsRequest(page_size=2, page_token=token))
        listed.extend(page.organizations)
        if not (token := page.next_page_token):
            break
    ids = [each.organization_id for each in listed]
    assert len(ids) == len(set(ids))
    assert set(map(str, made)) <= set(ids)
    assert [each.name for each in listed if UUID(each.organization_id) in made] == sorted(
        f"Padaria {organization_id}" for organization_id in made
    )


async def test_an_organization_is_answered_to_its_own_people(world: World) -> None:
    organization_id = await given_organization(world)
    found = await admin(world, organization_id).GetOrganization(pb.GetOrganizationRequest())
    assert found.organization_id == str(organization_id)
    unknown = admin(world, uuid4()).GetOrganization(pb.GetOrganizationRequest())
    assert await reason_of(unknown) == "ORGANIZATION_NOT_FOUND"


async def test_an_api_key_is_shown_once_kept_as_a_hash_and_exchanged_for_a_token(world: World) -> None:
    organization_id = await given_organization(world)
    stub = admin(world, organization_id)
    made = await stub.CreateApiKey(
        pb.CreateApiKeyRequest(name="n8n", scopes=["deals.write", "contacts.read", "deals.write"])
    )
    assert made.secret.startswith("ncrm_")
    assert len(made.secret) == 37
    assert made.api_key.prefix == made.secret[:12]
    (row,) = await world.rows("select * from identity.api_keys where organization_id = %s", organization_id)
    assert row["secret_hash"] == hashlib.sha256(made.secret.encode()).hexdigest()
    assert row["sealed_secret"] is None
    token = await nobody(world).ExchangeApiKey(pb.ExchangeApiKeyRequest(client_secret=made.secret))
    caller = world.host.verifier.verify(token.access_token)
    assert (caller.principal, caller.organization_id) == (f"key:{made.api_key.api_key_id}", organization_id)
    assert caller.scopes == {"contacts.read", "deals.write"}
    (listed,) = (await stub.ListApiKeys(pb.ListApiKeysRequest())).api_keys
    assert listed.api_key_id == made.api_key.api_key_id
    used = listed.last_use_time.ToDatetime()
    assert (used.second, used.microsecond) == (0, 0)


async def test_a_retry_shows_the_secret_again_until_the_key_is_used(world: World) -> None:
    organization_id = await given_organization(world)
    stub = admin(world, organization_id)
    request = pb.CreateApiKeyRequest(name="n8n", scopes=["*"], request_id=str(uuid4()))
    made = await stub.CreateApiKey(request)
    assert await stub.CreateApiKey(request) == made
    (answer,) = await world.rows(
        "select answer from identity.request_answers where organization_id = %s", organization_id
    )
    (key,) = await world.rows("select sealed_secret from identity.api_keys where organization_id = %s", organization_id)
    assert made.secret.encode() not in answer["answer"] + key["sealed_secret"]
    await nobody(world).ExchangeApiKey(pb.ExchangeApiKeyRequest(client_secret=made.secret))
    assert await reason_of(stub.CreateApiKey(request)) == "SECRET_ALREADY_USED"
    other = pb.CreateApiKeyRequest(name="other", scopes=["*"], request_id=request.request_id)
    assert await reason_of(stub.CreateApiKey(other)) == "REQUEST_ID_REUSED"


async def test_a_revoked_key_is_announced_listed_and_refused(world: World) -> None:
    organization_id = await given_organization(world)
    stub = admin(world, organization_id)
    made = await stub.CreateApiKey(pb.CreateApiKeyRequest(name="n8n", scopes=["*"]))
    revoke = pb.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id)
    revoked = await stub.RevokeApiKey(revoke)
    assert await stub.RevokeApiKey(revoke) == revoked
    (fact,) = await world.announced(PrincipalRevoked, organization_id)
    assert (fact.principal, fact.revoke_time) == (f"key:{made.api_key.api_key_id}", revoked.revoke_time)
    answer = (
        await world.as_service("ingest").stub(pb_grpc.AccessServiceStub).ListRevocations(pb.ListRevocationsRequest())
    )
    assert fact.principal in [each.principal for each in answer.revocations]
    exchange = nobody(world).ExchangeApiKey
    assert await reason_of(exchange(pb.ExchangeApiKeyRequest(client_secret=made.secret))) == "API_KEY_INVALID"
    assert await reason_of(exchange(pb.ExchangeApiKeyRequest(client_secret="ncrm_nobody"))) == "API_KEY_INVALID"
    unknown = stub.RevokeApiKey(pb.RevokeApiKeyRequest(api_key_id=str(uuid4())))
    assert await reason_of(unknown) == "API_KEY_NOT_FOUND"


@pytest.mark.parametrize("scope", ["contacts", "contacts.read.all", "Contacts.Read", "* ", ""])
async def test_a_scope_that_is_none_is_refused(world: World, scope: str) -> None:
    organization_id = await given_organization(world)
    call = admin(world, organization_id).CreateApiKey(pb.CreateApiKeyRequest(name="n8n", scopes=[scope]))
    assert await reason_of(call) == "SCOPE_INVALID"


async def test_a_scope_that_no_rpc_asks_for_is_refused_with_those_that_exist(world: World) -> None:
    create_key = admin(world, await given_organization(world)).CreateApiKey
    for scope, advice in (("contacts.raed", "contacts.read"), ("zzz.qqq", "boards.write, connections.read")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await create_key(pb.CreateApiKeyRequest(name="n8n", scopes=["deals.read", scope]))
        error = error_info(refused.value)
        assert error.reason == "SCOPE_INVALID"
        assert advice in error.message
