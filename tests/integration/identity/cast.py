"""The people of identity's integration tests, and short ways to act as those around them."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID, uuid4

from chassis.errors import from_status
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1 import contact_service_pb2_grpc as contact_grpc
from prosa.v1 import options_pb2
from tests.world import OWNER, World

WHATSAPP, INSTAGRAM = options_pb2.SOURCE_WHATSAPP, options_pb2.SOURCE_INSTAGRAM

_numbers = itertools.count(1)


def new_phone() -> str:
    """A Brazilian mobile that nobody has had in this test module."""
    return f"+55119{next(_numbers):08d}"


def new_igsid() -> str:
    """An Instagram-scoped id that nobody has had in this test module."""
    return f"1784{next(_numbers):013d}"


def new_lid() -> str:
    """The digits of a WhatsApp linked id that nobody has had in this test module."""
    return f"21{next(_numbers):013d}"


def alias(kind: pb.AliasKind.ValueType, value: str) -> pb.Alias:
    """An alias as a provider gives it."""
    return pb.Alias(kind=kind, value=value)


async def given_organization(world: World, region: str = "BR") -> UUID:
    """A new organization without people: as the command line makes it, but for the password's slow hash."""
    organization_id = uuid4()
    async with await world.admin() as connection:
        await connection.execute(
            "insert into identity.organizations (organization_id, name, admin_email, region, time_zone, create_time)"
            " values (%s, %s, 'ana@example.com', %s, 'America/Sao_Paulo', %s)",
            [organization_id, f"Padaria {organization_id}", region, world.clock.now()],
        )
    return organization_id


async def given_contact(world: World, organization_id: UUID, contact_id: UUID) -> UUID:
    """A contact of the organization, under this id."""
    async with await world.admin() as connection:
        await connection.execute(
            "insert into identity.contacts (organization_id, contact_id, name, phone, email, tags, version,"
            " create_time, update_time) values (%s, %s, 'Ana', '', '', '{}', 1, %s, %s) on conflict do nothing",
            [organization_id, contact_id, world.clock.now(), world.clock.now()],
        )
    return contact_id


def contacts_of(world: World, organization_id: UUID) -> Any:
    """ContactService as the organization's owner calls it."""
    return world.as_user(organization_id, OWNER).stub(contact_grpc.ContactServiceStub)


def batches(world: World) -> Any:
    """ContactService as ingest calls it."""
    return world.as_service("ingest").stub(contact_grpc.ContactServiceStub)


def person(organization_id: UUID, **fields: Any) -> pb.Person:
    """A person who wrote to the organization; unknown people are made."""
    values: dict[str, Any] = {"organization_id": str(organization_id), "create_missing": True} | fields
    return pb.Person(**values)


async def resolve(world: World, *people: pb.Person) -> list[pb.ResolvedContact]:
    """Resolves a batch in which everybody can be resolved."""
    answer = await batches(world).BatchResolveContacts(pb.BatchResolveContactsRequest(people=people))
    for result in answer.results:
        assert result.HasField("contact"), from_status(result.error)
    return [result.contact for result in answer.results]


async def resolve_one(world: World, organization_id: UUID, **fields: Any) -> pb.ResolvedContact:
    """Resolves one person."""
    (resolved,) = await resolve(world, person(organization_id, **fields))
    return resolved


async def logged_outcomes(world: World, organization_id: UUID) -> list[str]:
    """The outcomes in the resolution log, oldest first."""
    rows = await world.rows(
        "select action from identity.messaging_identity_resolution_log where organization_id = %s order by id",
        organization_id,
    )
    return [row["action"] for row in rows]
