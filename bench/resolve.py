"""Resolving people over gRPC: a hundred a call, known or new, and one a call."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from bench import bodies, interceptors, path
from bench.accept import Effort
from bench.figures import Figure
from bench.house import House
from bench.limits import sql
from chassis import auth, rpc
from chassis.clock import SystemClock
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.v1.options_pb2 import SOURCE_WHATSAPP

BATCH = 100
BATCHES_IN_FLIGHT = 2
UNARY_IN_FLIGHT = 32
NEW_FROM = 80_000_000


async def measure(house: House, effort: Effort) -> list[Figure]:
    """People a second; the limits are the same rows by bare SQL, and a bare unary RPC that touches no database."""
    await path.preload(house, bodies.CONTACTS)
    address = next(f"127.0.0.1:{app.grpc_port}" for app in house.suite.apps if "identity" in app.targets)
    signer = auth.TokenSigner("ingest", auth.load_private_key(house.suite.directory / "keys", "ingest"), SystemClock())
    channel = rpc.open_channel(address, signer)
    known_numbers = itertools.cycle(range(1, bodies.CONTACTS + 1))
    new_numbers = itertools.count(NEW_FROM)
    found: dict[str, tuple[list[float], list[float]]] = {"known": ([], []), "new": ([], []), "unary": ([], [])}
    try:
        async with interceptors.open_calls() as (_, bare_call):
            for _ in range(effort.runs):
                for name, numbers in (("known", known_numbers), ("new", new_numbers)):
                    theirs = await sql.resolve_rate(
                        house.database_url, bodies.CONTACTS, max(1, round(effort.seconds)), new=name == "new"
                    )
                    call = _batch_call(house, ContactServiceStub(channel), numbers)
                    mine = await interceptors.rate_of(call, effort.seconds, BATCHES_IN_FLIGHT)
                    found[name][0].append(mine * BATCH)
                    found[name][1].append(theirs)
                found["unary"][1].append(await interceptors.rate_of(bare_call, effort.seconds, UNARY_IN_FLIGHT))
                unary = _unary_call(house, known_numbers)
                found["unary"][0].append(await interceptors.rate_of(unary, effort.seconds, UNARY_IN_FLIGHT))
    finally:
        await channel.close()
    await house.settle()
    return [
        Figure("c BatchResolveContacts, 100 known a call; limit is bare SQL", "people/s", *found["known"]),
        Figure("c BatchResolveContacts, 100 new a call; limit is bare SQL", "people/s", *found["new"]),
        Figure("c ResolveContact, one known a call; limit is a bare RPC", "/s", *found["unary"]),
    ]


def _batch_call(house: House, stub: Any, numbers: Any) -> Callable[[], Awaitable[Any]]:
    def call() -> Awaitable[Any]:
        people = [_person(house, number) for number in itertools.islice(numbers, BATCH)]
        answer: Awaitable[Any] = stub.BatchResolveContacts(pb.BatchResolveContactsRequest(people=people), timeout=10.0)
        return answer

    return call


def _person(house: House, number: int) -> pb.Person:
    digits = bodies.phone_of(number)
    return pb.Person(
        organization_id=house.organization_id,
        source=SOURCE_WHATSAPP,
        external_id=f"+{digits}",
        address=digits,
        name=f"Marina Teles {number}",
        phone=f"+{digits}",
        aliases=[
            pb.Alias(kind=pb.ALIAS_KIND_CHATWOOT_CONTACT, value=f"{house.connection_id}:{number}"),
            pb.Alias(kind=pb.ALIAS_KIND_CHATWOOT_SOURCE, value=f"{house.connection_id}:{bodies.INBOX_ID}:{digits}"),
        ],
        create_missing=True,
        cause_id=str(UUID(int=number)),
    )


def _unary_call(house: House, numbers: Any) -> Callable[[], Awaitable[Any]]:
    stub = house.calls.stub(ContactServiceStub, "identity")

    def call() -> Awaitable[Any]:
        digits = bodies.phone_of(next(numbers))
        answer: Awaitable[Any] = stub.ResolveContact(
            pb.ResolveContactRequest(
                source=SOURCE_WHATSAPP, external_id=f"+{digits}", phone=f"+{digits}", request_id=str(uuid4())
            ),
            metadata=house.calls.organization(house.organization_id),
            timeout=10.0,
        )
        return answer

    return call
