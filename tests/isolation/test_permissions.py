"""Every RPC, called by everybody there is: who may is what its contract says, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis import auth, interceptors, process
from chassis.auth import (
    ALL_SCOPES,
    PERSON_TOKEN_SECONDS,
    SERVICE_TOKEN_SECONDS,
    STEP_UP_SECONDS,
    TokenSigner,
)
from chassis.clock import Clock, SettableClock
from chassis.system import ISSUERS, SERVICES
from prosa.v1 import options_pb2
from tests.isolation.contracts import Rpc, all_rpcs, all_scopes
from tests.world import ADMIN, AGENT, OWNER, VIEWER, World, error_info

RPCS = all_rpcs()
ROLES = {"viewer": VIEWER, "agent": AGENT, "admin": ADMIN, "owner": OWNER}
ALLOWED, UNAUTHENTICATED, DENIED = "allowed", "UNAUTHENTICATED", "PERMISSION_DENIED"
UNBOUND = "ORGANIZATION_MISSING"
"""A service may call, but must say for whom."""
EVERYBODY = options_pb2.Permission(anonymous=True)


@dataclass(frozen=True)
class Somebody:
    """One kind of caller."""

    name: str
    token: str | None
    """None for nobody, and for a service, which has one for each service it calls."""
    role: int = 0
    scopes: frozenset[str] = frozenset()
    service: str = ""
    factor: str = ""
    """Of a person, the second factor that was shown: "fresh", "old" or none."""
    bound: bool = True
    """False for a service that names no organization."""

    def expected(self, permission: options_pb2.Permission) -> str:
        """What the contract says, read anew and not by the code under test."""
        if permission.anonymous:
            return ALLOWED
        if self.token is None and not self.service:
            return UNAUTHENTICATED
        if self.service:
            if self.service not in permission.services:
                return DENIED
            of_one = (
                permission.role != options_pb2.ROLE_UNSPECIFIED or permission.scope != "" or permission.one_organization
            )
            return UNBOUND if of_one and not self.bound and not permission.across_organizations else ALLOWED
        if permission.across_organizations:
            return DENIED
        if self.role:
            if not 0 < permission.role <= self.role:
                return DENIED
            asked = permission.step_up or permission.role >= ADMIN
            return DENIED if (asked and self.factor == "") or (permission.step_up and self.factor == "old") else ALLOWED
        if permission.step_up:
            return DENIED
        return ALLOWED if permission.scope and self.scopes & {permission.scope, ALL_SCOPES} else DENIED


class Tokens:
    """Signs for everybody."""

    def __init__(self, world: World, organization_id: UUID) -> None:
        self._world = world
        self.organization_id = organization_id

    def person(
        self,
        *,
        role: int = 0,
        scopes: tuple[str, ...] = (),
        signer: TokenSigner | None = None,
        factor: str = "fresh",
    ) -> str:
        """A token as identity signs it for a person, or for a key where there is no role."""
        kind = "user" if role else "key"
        age = timedelta(seconds=0 if factor == "fresh" else STEP_UP_SECONDS + 1)
        token, _ = (signer or self._world.host.signer("identity")).person_token(
            kind="user" if role else "key",
            principal=f"{kind}:{uuid4()}",
            organization_id=self.organization_id,
            role=role,
            scopes=scopes,
            mfa_time=self._world.clock.now() - age if role and factor else None,
            mfa_set_up=bool(role and factor),
        )
        return token

    def everybody(self) -> list[Somebody]:
        """Nobody, each role, each scope, all scopes, no scope, and each service with and without an organization."""
        people = [
            Somebody(f"{name} {factor}", self.person(role=role, factor=factor), role=role, factor=factor)
            for name, role in ROLES.items()
            for factor in ("fresh", "old", "")
        ]
        scopes = [(scope,) for scope in (*all_scopes(), ALL_SCOPES)]
        keys = [Somebody(f"key {given}", self.person(scopes=given), scopes=frozenset(given)) for given in [*scopes, ()]]
        services = [
            Somebody(f"service {issuer}{'' if bound else ' for nobody'}", None, service=issuer, bound=bound)
            for issuer in ISSUERS
            for bound in (True, False)
        ]
        return [Somebody("nobody", None), *people, *keys, *services]

    def token_of(self, somebody: Somebody, rpc: Rpc) -> str | None:
        """What they call an RPC with."""
        if not somebody.service:
            return somebody.token
        signer = self._world.host.signer(somebody.service)
        return signer.service_token(rpc.service, self.organization_id if somebody.bound else None)


class Server:
    """The real services, whose permissions can be taken away one at a time."""

    def __init__(self, channel: grpc.aio.Channel, interceptor: interceptors.ServerInterceptor) -> None:
        self._channel = channel
        self._interceptor = interceptor

    async def outcome(self, rpc: Rpc, token: str | None) -> str:
        """How an empty request ends: it is allowed where it fails for what it lacks, or not at all."""
        error = await self._failure(rpc, token)
        if error is None:
            return ALLOWED
        code = error.code()
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return code.name
        return UNBOUND if error_info(error).reason == UNBOUND else ALLOWED

    async def refusal(self, rpc: Rpc, token: str) -> tuple[str, str] | None:
        """Why an empty request is not permitted, and the role that would do; None where it is."""
        error = await self._failure(rpc, token)
        if error is None or error.code() is not grpc.StatusCode.PERMISSION_DENIED:
            return None
        info = error_info(error)
        return info.reason, info.metadata.get("role", "")

    async def _failure(self, rpc: Rpc, token: str | None) -> grpc.aio.AioRpcError | None:
        metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        try:
            if rpc.streaming:
                await self._read_one(rpc, metadata)
            else:
                call = self._channel.unary_unary(
                    rpc.name, rpc.request_type.SerializeToString, rpc.answer_type.FromString
                )
                await call(rpc.request_type(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error
        return None

    async def _read_one(self, rpc: Rpc, metadata: Any) -> None:
        stream = self._channel.unary_stream(rpc.name, rpc.request_type.SerializeToString, rpc.answer_type.FromString)(
            rpc.request_type(), metadata=metadata
        )
        try:
            await stream.read()
        finally:
            stream.cancel()

    async def deviations(self, rpc: Rpc, everybody: list[Somebody], tokens: Tokens) -> list[str]:
        """Where the answer is not what the contract says; empty where it is."""
        outcomes = await asyncio.gather(*(self.outcome(rpc, tokens.token_of(who, rpc)) for who in everybody))
        return [
            f"{somebody.name}: {outcome} instead of {somebody.expected(rpc.permission)}"
            for somebody, outcome in zip(everybody, outcomes, strict=True)
            if outcome != somebody.expected(rpc.permission)
        ]

    async def deviates(self, rpc: Rpc, everybody: list[Somebody], tokens: Tokens) -> bool:
        """Whether `deviations` would find anything; it asks no further than the first."""
        for somebody in everybody:
            if await self.outcome(rpc, tokens.token_of(somebody, rpc)) != somebody.expected(rpc.permission):
                return True
        return False

    def forget_permissions(self) -> None:
        """The next call of every RPC asks anew what its contract declares."""
        self._interceptor._wrapped.clear()


_built: list[interceptors.ServerInterceptor] = []


class _KeptInterceptor(interceptors.ServerInterceptor):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _built.append(self)


@pytest.fixture(scope="module")
def _kept_interceptor() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "ServerInterceptor", _KeptInterceptor)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(_kept_interceptor: None, world: World) -> AsyncIterator[Server]:
    """The real services."""
    async with grpc.aio.insecure_channel(world.host.grpc_address) as channel:
        yield Server(channel, _built[-1])


@pytest.fixture(scope="module")
def tokens(world: World) -> Tokens:
    """Everybody's tokens, for an organization that nobody has heard of."""
    return Tokens(world, uuid4())


@pytest.fixture(scope="module")
def everybody(tokens: Tokens) -> list[Somebody]:
    """Every kind of caller."""
    return tokens.everybody()


def test_every_rpc_declares_who_may_call_it() -> None:
    assert [rpc.name for rpc in RPCS if not rpc.declared] == []
    assert len(RPCS) > 40


@pytest.mark.parametrize("rpc", RPCS, ids=str)
async def test_who_may_call_is_what_the_contract_declares(
    server: Server, everybody: list[Somebody], tokens: Tokens, rpc: Rpc
) -> None:
    assert await server.deviations(rpc, everybody, tokens) == []


@pytest.mark.parametrize("rpc", [rpc for rpc in RPCS if not rpc.permission.anonymous], ids=str)
async def test_a_key_with_every_scope_is_told_what_else_it_takes(server: Server, tokens: Tokens, rpc: Rpc) -> None:
    refusal = await server.refusal(rpc, tokens.person(scopes=(ALL_SCOPES,)))
    permission = rpc.permission
    if permission.across_organizations or not (permission.role or permission.scope):
        assert refusal == ("SERVICES_ONLY", "")
    elif permission.step_up or not permission.scope:
        least = {role: name for name, role in ROLES.items()}[permission.role]
        assert refusal == ("PEOPLE_ONLY", least)
    else:
        assert refusal is None


@pytest.mark.parametrize("rpc", RPCS, ids=str)
async def test_an_rpc_without_its_permission_is_noticed(
    server: Server, everybody: list[Somebody], tokens: Tokens, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = interceptors.permission_of
    replacements = [None] if rpc.permission.anonymous else [None, EVERYBODY]
    try:
        for replacement in replacements:
            monkeypatch.setattr(
                interceptors,
                "permission_of",
                lambda name, now=replacement: now if name == rpc.name else declared(name),
            )
            server.forget_permissions()
            assert await server.deviates(rpc, everybody, tokens), f"{replacement} went unnoticed"
    finally:
        server.forget_permissions()


def _moved(by: timedelta) -> Clock:
    """A clock that is wrong by so much."""
    return SettableClock(datetime.now(UTC) + by)


def _claims_of_service(clock: Clock) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    return {"iss": "crm", "sub": "service:crm", "kind": "service", "aud": "identity", "iat": now, "exp": now + 60}


@pytest.fixture
def forgeries(world: World, tokens: Tokens) -> dict[str, str]:
    """Tokens that must not be believed."""
    keys_dir = world.settings.keys_dir
    identity, crm = (auth.load_private_key(keys_dir, issuer) for issuer in ("identity", "crm"))
    stranger = Ed25519PrivateKey.generate()
    clock = world.clock
    late, later = (
        _moved(-timedelta(seconds=seconds + auth.CLOCK_SKEW_SECONDS + 1))
        for seconds in (PERSON_TOKEN_SECONDS, SERVICE_TOKEN_SECONDS)
    )
    believed = tokens.person(role=OWNER)
    claims = jwt.decode(believed, options={"verify_signature": False})
    return {
        "an expired person's": tokens.person(role=OWNER, signer=TokenSigner("identity", identity, late)),
        "an expired service's": TokenSigner("crm", crm, later).service_token("ingest", tokens.organization_id),
        "signed by a stranger": tokens.person(role=OWNER, signer=TokenSigner("identity", stranger, clock)),
        "by an unknown issuer": tokens.person(role=OWNER, signer=TokenSigner("nobody", stranger, clock)),
        "a service's for a person": tokens.person(role=OWNER, signer=TokenSigner("crm", crm, clock)),
        "a service's for a key": tokens.person(scopes=("*",), signer=TokenSigner("crm", crm, clock)),
        "a service's for another": jwt.encode(
            claims | {"iss": "crm", "kind": "service", "sub": "service:cli"}, crm, algorithm="EdDSA"
        ),
        "a person's for a service": jwt.encode(claims | {"kind": "service", "sub": "service:cli"}, identity, "EdDSA"),
        "a service's that would live a year": jwt.encode(
            _claims_of_service(clock) | {"exp": int(clock.now().timestamp()) + 365 * 86_400}, crm, algorithm="EdDSA"
        ),
        "a person's that would live a day": jwt.encode(claims | {"exp": claims["iat"] + 86_400}, identity, "EdDSA"),
        "signed by nobody": jwt.encode(claims, "", algorithm="none"),
        "signed by the public half": jwt.encode(claims, identity.public_key().public_bytes_raw(), "HS256"),
        "changed afterwards": believed[:-8] + ("A" * 8 if believed[-8:] != "A" * 8 else "B" * 8),
        "no token at all": "nonsense",
    }


@pytest.mark.case("S13")
async def test_a_token_that_cannot_be_believed_opens_nothing(server: Server, forgeries: dict[str, str]) -> None:
    refused = [rpc for rpc in RPCS if not rpc.permission.anonymous]
    for name, token in forgeries.items():
        outcomes = await asyncio.gather(*(server.outcome(rpc, token) for rpc in refused))
        opened = [rpc.name for rpc, outcome in zip(refused, outcomes, strict=True) if outcome != UNAUTHENTICATED]
        assert opened == [], name


@pytest.mark.case("S13")
async def test_a_service_s_token_for_one_service_opens_no_other(server: Server, world: World) -> None:
    to_services = [rpc for rpc in RPCS if rpc.permission.services]
    for rpc in to_services:
        signer = world.host.signer(rpc.permission.services[0])
        tokens = {name: signer.service_token(name, uuid4()) for name in (*SERVICES, "")}
        outcomes = {name: await server.outcome(rpc, token) for name, token in tokens.items()}
        assert outcomes.pop(rpc.service) != UNAUTHENTICATED, rpc.name
        assert set(outcomes.values()) == {UNAUTHENTICATED}, rpc.name


async def test_a_revoked_principal_is_refused_everywhere(server: Server, world: World, tokens: Tokens) -> None:
    open_to_people = [rpc for rpc in RPCS if rpc.permission.role]
    token = tokens.person(role=OWNER)
    principal = jwt.decode(token, options={"verify_signature": False})["sub"]
    assert {await server.outcome(rpc, token) for rpc in open_to_people} == {ALLOWED}
    world.host.revocations.update([(principal, world.clock.now().timestamp())], complete=False)
    assert {await server.outcome(rpc, token) for rpc in open_to_people} == {UNAUTHENTICATED}
