"""What one organization has, no other reads: tables as the service's role, and every RPC."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio
from psycopg import ProgrammingError

from chassis.errors import from_status
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import access_service_pb2_grpc as access_grpc
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1 import member_service_pb2 as member_pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.v1 import options_pb2
from tests.integration.identity.cast import (
    INSTAGRAM,
    WHATSAPP,
    alias,
    batches,
    contacts_of,
    given_organization,
    new_lid,
    new_phone,
    person,
    resolve,
)
from tests.world import World, error_info

TARGETS = ("identity",)
PASSWORD = "um bom segredo"

LOOK_UPS = {
    "organization_by_name",
    "organization_page",
    "user_by_email",
    "organizations_of_user",
    "api_key_by_hash",
    "session_by_secret",
    "invitation_by_secret",
    "revoked_since",
    "outbox_pending",
    "outbox_requeue",
    "maintain",
    "upkeep",
    "upkeep_refused",
    "make_partitions",
    "drop_expired",
    "sweep",
    "installation_id",
}
"""All that may look before an organization is known."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def rich(world: World) -> UUID:
    """An organization with a row in every table of identity."""
    cli = world.as_service("cli").stub(access_grpc.AccessServiceStub)
    made = await cli.CreateOrganization(
        access_pb.CreateOrganizationRequest(
            name="Rica", admin_email=f"{uuid4().hex}@example.com", admin_password=PASSWORD
        )
    )
    organization_id = UUID(made.organization.organization_id)
    phone = new_phone()
    for name in ("Ana", "Rui"):
        await contacts_of(world, organization_id).CreateContact(
            pb.CreateContactRequest(name=name, phone=phone, tags=["vip"], request_id=str(uuid4()))
        )
    await resolve(
        world,
        person(organization_id, source=INSTAGRAM, external_id="17841400000000001", phone=phone),
        person(
            organization_id,
            source=WHATSAPP,
            external_id=new_phone(),
            aliases=[alias(pb.ALIAS_KIND_WHATSAPP_LID, new_lid())],
        ),
    )
    access = world.as_user(organization_id).stub(access_grpc.AccessServiceStub)
    key = await access.CreateApiKey(access_pb.CreateApiKeyRequest(name="n8n", scopes=["*"]))
    await access.RevokeApiKey(access_pb.RevokeApiKeyRequest(api_key_id=key.api_key.api_key_id))
    invited = (
        await world.as_user(organization_id)
        .stub(MemberServiceStub)
        .CreateInvitation(
            member_pb.CreateInvitationRequest(
                email=f"{uuid4().hex}@example.com", role=options_pb2.ROLE_AGENT, request_id=str(uuid4())
            )
        )
    )
    await (
        world.as_nobody()
        .stub(MemberServiceStub)
        .AcceptInvitation(member_pb.AcceptInvitationRequest(secret=invited.secret, password=PASSWORD))
    )
    return organization_id


async def bound_tables(world: World) -> list[str]:
    """Every table that has an organization."""
    rows = await world.rows(
        "select relname from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'organization_id'"
        " where relnamespace = 'identity'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1"
    )
    return [row["relname"] for row in rows]


@pytest.mark.req("ID-12", "ID-16")
async def test_every_table_hides_an_organization_from_all_others(world: World, rich: UUID) -> None:
    other = await given_organization(world)
    database = world.database("identity")
    seen: dict[str, list[int]] = {}
    for scope in ((rich,), (other,), ()):
        async with database.transaction(*scope) as tx:
            for table in [*await bound_tables(world), "users"]:
                column = "organization_id" if table != "users" else "user_id"
                mine = "organization_id = %(rich)s" if table != "users" else "true"
                found = await tx.execute(f"select count({column}) from identity.{table} where {mine}", {"rich": rich})
                seen.setdefault(table, []).append(found.scalar_one())
    # Filled by the relay and by consumers only, of which identity has none; tests/isolation fills all the others.
    for table in (
        "outbox_queue",
        "consumed_events",
        "contact_redirects",
        "contact_merges",
        "organization_profiles",
        "former_usernames",
    ):
        del seen[table]
    for table, (own, foreign, nobodys) in seen.items():
        assert own > 0, f"the control case: {table} must have rows"
        assert (foreign, nobodys) == (0, 0), table
    assert len(seen) >= 13


@pytest.mark.req("ID-01", "ID-16")
async def test_every_table_of_an_organization_forces_row_level_security(world: World) -> None:
    rows = await world.rows(
        "select relname from pg_class where relnamespace = 'identity'::regnamespace and relkind in ('r', 'p')"
        " and not relispartition and not (relrowsecurity and relforcerowsecurity) order by 1"
    )
    bare = {row["relname"] for row in rows}
    assert bare.isdisjoint(await bound_tables(world))
    assert bare <= {
        "alembic_version",
        "chassis_version",
        "consumer_cursors",
        "expiring_tables",
        "key_fingerprints",
        "leases",
        "partitioned_tables",
        "relay_state",
        "sign_in_attempts",
        "sign_in_failures",
    }


@pytest.mark.req("ID-01")
async def test_the_store_of_identities_has_its_unique_key_and_two_indexes(world: World, rich: UUID) -> None:
    rows = await world.rows("select indexdef from pg_indexes where tablename = 'contact_identities'")
    keys = {row["indexdef"].partition(" USING btree ")[2]: "UNIQUE" in row["indexdef"] for row in rows}
    assert keys == {
        "(organization_id, contact_identity_id)": True,
        "(organization_id, source, external_id)": True,
        "(organization_id, contact_id, contact_identity_id)": False,
        "(organization_id, source, contact_identity_id)": False,
    }
    (row, *_) = await world.rows("select * from identity.messaging_contact_identities where organization_id = %s", rich)
    columns = ["id", "organization_id", "contact_id", "source", "external_id", "created_at", "updated_at"]
    assert list(row) == columns


async def test_a_row_of_another_organization_cannot_be_written(world: World, rich: UUID) -> None:
    other = await given_organization(world)
    insert = (
        "insert into identity.revocations (organization_id, principal, revoke_time) values (%(id)s, 'key:1', %(now)s)"
    )
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with world.database("identity").transaction(other) as tx:
            await tx.execute(insert, {"id": rich, "now": world.clock.now()})


async def test_only_the_named_functions_look_across_organizations(world: World) -> None:
    rows = await world.rows(
        "select proname, prosecdef, proconfig from pg_proc where pronamespace = 'identity'::regnamespace"
    )
    assert {row["proname"] for row in rows if row["prosecdef"]} == LOOK_UPS
    assert all(row["proconfig"] == ["search_path=pg_catalog"] for row in rows)


@pytest.mark.req("ID-12", "ID-22")
async def test_no_rpc_answers_what_belongs_to_another_organization(world: World, rich: UUID) -> None:
    other = await given_organization(world)
    own, foreign = contacts_of(world, rich), contacts_of(world, other)
    contact_id = (await own.ListContacts(pb.ListContactsRequest())).contacts[0].contact_id
    lists: list[tuple[str, str, Any]] = [
        ("ListContacts", "contacts", pb.ListContactsRequest()),
        ("ListContactIdentities", "identities", pb.ListContactIdentitiesRequest()),
        ("ListIdentityResolutions", "resolutions", pb.ListIdentityResolutionsRequest()),
    ]
    for method, field, request in lists:
        assert len(getattr(await getattr(own, method)(request), field)) > 0, method
        assert len(getattr(await getattr(foreign, method)(request), field)) == 0, method
    by_contact = await foreign.ListContactIdentities(pb.ListContactIdentitiesRequest(contact_id=contact_id))
    assert by_contact.identities == []
    await own.GetContact(pb.GetContactRequest(contact_id=contact_id))
    refused: list[Any] = [
        foreign.GetContact(pb.GetContactRequest(contact_id=contact_id)),
        foreign.CreateContactIdentity(
            pb.CreateContactIdentityRequest(contact_id=contact_id, source=INSTAGRAM, external_id="17841400000000009")
        ),
    ]
    for call in refused:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error_info(error.value).reason == "CONTACT_NOT_FOUND"
    found = await foreign.ResolveContact(pb.ResolveContactRequest(source=INSTAGRAM, external_id="17841400000000001"))
    assert found.outcome == pb.RESOLUTION_OUTCOME_CREATED
    keys = world.as_user(other).stub(access_grpc.AccessServiceStub)
    assert (await keys.ListApiKeys(access_pb.ListApiKeysRequest())).api_keys == []
    own_keys = world.as_user(rich).stub(access_grpc.AccessServiceStub)
    (key,) = (await own_keys.ListApiKeys(access_pb.ListApiKeysRequest())).api_keys
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await keys.RevokeApiKey(access_pb.RevokeApiKeyRequest(api_key_id=key.api_key_id))
    assert error_info(error.value).reason == "API_KEY_NOT_FOUND"


async def test_people_and_keys_may_not_call_across_organizations(world: World, rich: UUID) -> None:
    request = pb.BatchResolveContactsRequest(people=[person(rich, source=INSTAGRAM, external_id="17841400000000001")])
    for act in (world.as_user(rich), world.as_key(rich, "*"), world.as_nobody()):
        with pytest.raises(grpc.aio.AioRpcError):
            await act.stub(ContactServiceStub).BatchResolveContacts(request)
    answer = await batches(world).BatchResolveContacts(request)
    assert not answer.results[0].HasField("error"), from_status(answer.results[0].error)
