"""The cases of one RPC: what it tells B of A, and what it does to A's rows.

The same cases run twice: on the services as they are, where they must find nothing, and on services that take A for
the caller's organization, where they must find something.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2

from tests.isolation.builders import BUILDERS, TOLD
from tests.isolation.catalogue import Connection, Table, rows
from tests.isolation.contracts import OF_THE_PERSON, TAKING_CODES, Rpc
from tests.isolation.parties import Filled, Party
from tests.isolation.requests import RequestMaker
from tests.world import OWNER, World

TEXT_LENGTH_MIN = 6
"""Shorter texts say nothing: they are words of the suite's own."""
REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
TOLD_BYTES = 200
OUR_SENTENCES = {("conversation.instances", "cause"), ("conversation.instances", "advice")}
"""What the product says in the same words to whoever has the same trouble."""
"""How much of an answer is shown that should have been another."""
PASSED = (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED)
"""ABORTED: of the caller's own row something was expected that is not so."""
NONE_OF = b"SURVIVOR_INVALID"
"""Said alike of what is another organization's and of what nobody has: it is none of those to choose from."""


class Cases:
    """Both organizations' rows, and everybody who may call in the name of one of them."""

    def __init__(self, world: World, admin: Connection, tables: list[Table], filled: Filled) -> None:
        self._world, self._admin, self._tables, self._filled = world, admin, tables, filled
        found = self._rows()
        self.maker = self._maker(found)
        texts = {owner: set(_texts(of_owner)) for owner, of_owner in found.items()}
        self._only_a = texts["a"] - texts["b"]
        self._echoed: set[str] = set()
        assert len(self._only_a) > 100, "A and B hardly differ: nothing could be told apart"

    def _rows(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """What A and B have now, by table."""
        # All in one round trip: there are hundreds, and each test asks for them.
        with self._admin.pipeline():
            asked = {
                owner: {
                    str(table): self._admin.execute(
                        f"select * from {table} where {getattr(table, f'of_{owner}')} order by 1".encode()
                    )
                    for table in self._tables
                }
                for owner in ("a", "b")
            }
        return {
            owner: {name: cursor.fetchall() for name, cursor in of_owner.items()} for owner, of_owner in asked.items()
        }

    def _maker(self, found: dict[str, dict[str, list[dict[str, Any]]]]) -> RequestMaker:
        return RequestMaker(found, {"a": self._filled.a, "b": self._filled.b})

    def snapshot(self) -> dict[str, str]:
        """A fingerprint of A's rows, by table."""
        parts = [
            f"select '{table}' as name, md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as hash"
            f" from {table} t where {table.of_a}"
            for table in self._tables
            if not table.view
        ]
        return {row["name"]: row["hash"] for row in rows(self._admin, " union all ".join(parts))}

    async def leaks(self, rpc: Rpc) -> list[str]:
        """What B gets at by calling with A's ids; empty where the two are kept apart."""
        return [sentence async for sentence in self._leaks(rpc)]

    async def leaks_at_all(self, rpc: Rpc) -> bool:
        """Whether `leaks` would find anything; it looks no further than the first."""
        async with aclosing(self._leaks(rpc)) as found:
            async for _ in found:
                return True
        return False

    async def _leaks(self, rpc: Rpc) -> AsyncGenerator[str, None]:
        requests = self.maker.requests(rpc, "b")
        if (token := await self._page_token_of_a(rpc)) is not None:
            requests["A's page token"] = paged = type(requests["everything"])()
            paged.CopyFrom(requests["everything"])
            paged.page_size, paged.page_token = 1, token  # type: ignore[attr-defined]
        # After A's own call for its token, which may be audited.
        before = self.snapshot()
        twins = {kind: self._elsewhere(request) for kind, request in self.maker.requests(rpc, "b").items()}
        for kind, request in requests.items():
            codes = {}
            for who, channel, sent in self._callers(rpc, request):
                codes[who], sentences = await self._told(rpc, who, channel, sent)
                for sentence in sentences:
                    yield f"{who}, {kind}: {sentence}"
            if (twin := twins.get(kind)) is None:
                continue
            for who, channel, sent in self._callers(rpc, twin):
                code, _ = await _outcome(rpc, channel, sent)
                if code is not codes[who]:
                    yield f"{who}, {kind}: {codes[who].name}, but {code.name} for ids that nobody has"
        after = self.snapshot()
        for name in before:
            if before[name] != after[name]:
                yield f"changes A's {name}"

    async def _told(
        self, rpc: Rpc, who: str, channel: grpc.aio.Channel, sent: Message
    ) -> tuple[grpc.StatusCode, list[str]]:
        found = []
        code, told = await _outcome(rpc, channel, sent)
        allowed = PASSED if _open(rpc, who) else REFUSED
        proving = rpc.permission.anonymous or rpc.name in OF_THE_PERSON
        none_of = code is grpc.StatusCode.INVALID_ARGUMENT and NONE_OF in told and allowed is PASSED
        if not none_of and code not in ((*PASSED, *REFUSED) if proving else allowed):
            found.append(f"answered {code.name} {told[:TOLD_BYTES]!r}")
        given = set(_leaves(sent)) & self._only_a
        if who.startswith("service") and (answer := TOLD.get(sent.DESCRIPTOR.full_name)):
            given.add(answer(self._filled.a))
        mentioned = {value for value in self._only_a - given - self._echoed if value.encode() in told}
        if mentioned:
            found.append(f"tells {sorted(mentioned)[:3]}")
        if not rpc.reads and code is grpc.StatusCode.OK:
            # From here on these are B's as well: it has written them into rows of its own.
            self._echoed |= given
        return code, found

    def _elsewhere(self, request: Message) -> Message | None:
        """The request with ids that nobody has in place of A's; None where it names none."""
        organization_id = str(self._filled.a.organization_id)
        ids = [value for value in set(_leaves(request)) & self._only_a - {organization_id} if _is_id(value)]
        raw = request.SerializeToString()
        for value in ids:
            raw = raw.replace(value.encode(), str(uuid4()).encode())
        return type(request).FromString(raw) if ids else None

    async def own_call(self, rpc: Rpc) -> list[str]:
        """The control: the same calls in A's name succeed, and where they read, they answer what is A's."""
        missing = []
        # By what there is now: A has changed its own rows by the calls of other tests, in whatever order they came.
        for kind, request in self._maker(self._rows()).requests(rpc, "a").items():
            try:
                answers = await rpc.call(self._channel_of_a(rpc), request)
            except grpc.aio.AioRpcError as error:
                if rpc.name in TAKING_CODES and error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    continue
                missing.append(f"{kind}: A is refused: {error.code().name} {error.details()}")
                continue
            told = b"\n".join(_blob(answer) for answer in answers)
            if any(_has_error(answer) for answer in answers):
                missing.append(f"{kind}: A's item failed: {answers}")
            if rpc.reads and rpc.of_one and not any(value.encode() in told for value in self._only_a):
                missing.append(f"{kind}: A reads nothing of its own")
        if _pages(rpc) and rpc.of_one and await self._page_token_of_a(rpc) is None:
            missing.append("A has no second page; fill more in tests/isolation/filling*.py")
        return missing

    async def _page_token_of_a(self, rpc: Rpc) -> str | None:
        if not _pages(rpc) or not rpc.of_one:
            return None
        request = self.maker.requests(rpc, "a")["everything"]
        request.page_size = 1  # type: ignore[attr-defined]
        (answer,) = await rpc.call(self._channel_of_a(rpc), request)
        token: str = answer.next_page_token  # type: ignore[attr-defined]
        return token or None

    def _callers(self, rpc: Rpc, request: Message) -> Iterator[tuple[str, grpc.aio.Channel, Message]]:
        """Everybody who may speak for B, as the contract lets them, and the request as they send it."""
        organization_id = self._filled.b.organization_id
        if rpc.permission.anonymous:
            yield "nobody", self._world.as_nobody().channel, request
            return
        yield "owner", self._owner(rpc, self._filled.b), request
        yield "key", self._world.as_key(organization_id, "*").channel, request
        services = list(rpc.permission.services)[:1]
        if rpc.permission.across_organizations:
            own = _swapped(request, str(self._filled.a.organization_id), str(organization_id))
            if own is not None:
                for service in services:
                    yield f"service {service}", self._world.as_service(service).channel, own
        elif rpc.of_one:
            for service in services:
                yield f"service {service}", self._world.as_service(service, organization_id).channel, request

    def _owner(self, rpc: Rpc, party: Party) -> grpc.aio.Channel:
        """Acts as an owner: of what is a person's own as the one that there is, in their session."""
        if rpc.name not in OF_THE_PERSON:
            return self._world.as_user(party.organization_id).channel
        token, _ = self._world.host.signer("identity").person_token(
            kind="user",
            principal=f"user:{party.owner_id}",
            organization_id=party.organization_id,
            role=OWNER,
            session_id=party.session_id,
        )
        return self._world.with_token(token).channel

    def _channel_of_a(self, rpc: Rpc) -> grpc.aio.Channel:
        organization_id = self._filled.a.organization_id
        if rpc.permission.anonymous:
            return self._world.as_nobody().channel
        if rpc.permission.role:
            return self._owner(rpc, self._filled.a)
        service = rpc.permission.services[0]
        bound = None if rpc.permission.across_organizations or not rpc.of_one else organization_id
        return self._world.as_service(service, bound).channel


def _pages(rpc: Rpc) -> bool:
    return "page_token" in rpc.request_type.DESCRIPTOR.fields_by_name


def _is_id(value: str) -> bool:
    try:
        return str(UUID(value)) == value
    except ValueError:
        return False


def _open(rpc: Rpc, who: str) -> bool:
    if who == "owner":
        return bool(rpc.permission.role)
    return who.startswith("service") or bool(rpc.permission.scope)


def _swapped(request: Message, theirs: str, mine: str) -> Message | None:
    """The request with its organization replaced, and everything else as it was; None where it names none.

    A request by a builder is the caller's own already."""
    raw = request.SerializeToString()
    if theirs.encode() in raw:
        # Ids are of one length, so the encoding stays sound.
        return type(request).FromString(raw.replace(theirs.encode(), mine.encode()))
    return request if request.DESCRIPTOR.full_name in BUILDERS else None


async def _outcome(rpc: Rpc, channel: grpc.aio.Channel, request: Message) -> tuple[grpc.StatusCode, bytes]:
    """The code and every text of the answer or the refusal."""
    try:
        answers = await rpc.call(channel, request)
    except grpc.aio.AioRpcError as error:
        details = b"".join(
            value if isinstance(value, bytes) else value.encode() for _, value in error.trailing_metadata() or ()
        )
        return error.code(), (error.details() or "").encode() + details
    return grpc.StatusCode.OK, b"\n".join(_blob(answer) for answer in answers)


def _blob(message: Message) -> bytes:
    return message.SerializeToString()


def _leaves(message: Message) -> Iterator[str]:
    field: Any
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.message_type.GetOptions().map_entry:
                continue
            for part in values:
                yield from _leaves(part)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield from values


def _has_error(message: Message) -> bool:
    if isinstance(message, status_pb2.Status):
        return bool(message.code)
    field: Any
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE and not field.message_type.GetOptions().map_entry:
            parts = value if field.is_repeated else [value]
            if any(_has_error(part) for part in parts):
                return True
    return False


def _texts(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Every id and every longer text of some rows."""
    for table, table_rows in found.items():
        for row in table_rows:
            for value in (value for column, value in row.items() if (table, column) not in OUR_SENTENCES):
                for part in value if isinstance(value, list) else [value]:
                    if isinstance(part, UUID):
                        yield str(part)
                    elif isinstance(part, str) and len(part) >= TEXT_LENGTH_MIN:
                        yield part
