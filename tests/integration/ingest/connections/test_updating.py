"""Changing connections and channels, through the stub: what is named changes, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.crypto import Vault
from chassis.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ProsaError
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1 import ingest_service_pb2 as acceptance_pb
from prosa.ingest.v1.events_pb2 import ChannelUpdated, ConnectionUpdated
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from sandbox.chatwoot.signing import signed_request
from services.ingest.connections.store import ACCESS_TOKEN_COLUMN
from tests.integration.crm.deals import given_board
from tests.integration.ingest.connections.making import (
    INSTAGRAM,
    WHATSAPP,
    connections,
    given_channel,
    given_connection,
)
from tests.world import World, error_info

TARGETS = ("identity", "crm", "ingest")
SECRET = "segredo-do-teste"


async def update(world: World, connection: pb.Connection, **fields: Any) -> pb.Connection:
    """The connection after an update of these fields."""
    return await connections(world, UUID(connection.organization_id)).UpdateConnection(
        pb.UpdateConnectionRequest(connection_id=connection.connection_id, **fields)
    )


async def update_channel(world: World, channel: pb.Channel, **fields: Any) -> pb.Channel:
    """The channel after an update of these fields."""
    values = {"connection_id": channel.connection_id, "channel_id": channel.channel_id} | fields
    stub = connections(world, UUID(channel.organization_id))
    return await stub.UpdateChannel(pb.UpdateChannelRequest(**values))


async def refusal(world: World, what: pb.Connection | pb.Channel, **fields: Any) -> ProsaError:
    """Why an update of these fields is refused."""
    call: Awaitable[Any] = (
        update(world, what, **fields) if isinstance(what, pb.Connection) else update_channel(world, what, **fields)
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return error_info(refused.value)


async def read(world: World, connection: pb.Connection) -> pb.Connection:
    return await connections(world, UUID(connection.organization_id)).GetConnection(
        pb.GetConnectionRequest(connection_id=connection.connection_id)
    )


async def kept_token(world: World, connection: pb.Connection) -> str:
    """The access token, opened as a check opens it."""
    (row,) = await world.rows("select * from ingest.connections where id = %s", UUID(connection.connection_id))
    return (
        Vault.load(world.settings.keys_dir)
        .open(row["access_token_sealed"], organization_id=row["organization_id"], column=ACCESS_TOKEN_COLUMN)
        .decode()
    )


async def test_what_is_named_changes_and_all_else_stays(world: World, organization_id: UUID) -> None:
    made = await given_connection(
        world, organization_id, "Chatwoot", base_url="https://chat.example.com", access_token="um-token"
    )
    channel = await given_channel(world, made, 1)
    changed = await update(
        world, made, name=" Escola ", account_id=8, legacy_static_secret_end_time=Timestamp(seconds=1_800_000_000)
    )
    expected = pb.Connection()
    expected.CopyFrom(made)
    expected.name, expected.account_id, expected.etag = "Escola", 8, changed.etag
    expected.legacy_static_secret_end_time.seconds = 1_800_000_000
    expected.channels.append(channel)
    assert changed == expected
    assert changed.etag not in ("", made.etag)
    assert await read(world, made) == changed
    assert await kept_token(world, made) == "um-token"
    assert await world.announced(ConnectionUpdated, organization_id) == [
        ConnectionUpdated(
            organization_id=str(organization_id),
            connection_id=made.connection_id,
            name="Escola",
            changed_fields=["name", "account_id", "legacy_static_secret_end_time"],
            version=2,
        )
    ]


async def test_a_new_token_takes_the_old_ones_place_and_is_never_answered(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, access_token="token-antigo")
    changed = await update(world, made, access_token=" token-novo\n")
    assert await kept_token(world, made) == "token-novo"
    assert changed.access_token_set
    (fact,) = await world.announced(ConnectionUpdated, organization_id)
    assert list(fact.changed_fields) == ["access_token"]
    assert b"token-novo" not in changed.SerializeToString() + fact.SerializeToString()
    # Empty means unchanged, and the same one is no change.
    assert await update(world, made, access_token="", account_id=7) == changed
    assert await update(world, made, access_token="token-novo") == changed
    assert await kept_token(world, made) == "token-novo"
    assert len(await world.announced(ConnectionUpdated, organization_id)) == 1


async def test_webhooks_and_their_secret_are_taken_as_before(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, webhook_secret=SECRET)
    acceptor = world.as_service("gateway").stub(IngestServiceStub)

    async def send(body: bytes, secret: str | None) -> int:
        now = Timestamp(seconds=int(world.clock.now().timestamp()))
        headers = signed_request(body, secret, str(uuid4()), now.seconds)
        webhook = acceptance_pb.Webhook(
            provider=acceptance_pb.PROVIDER_CHATWOOT,
            connection_key=made.connection_key,
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
            receive_time=now,
        )
        answer = await acceptor.AcceptWebhooks(acceptance_pb.AcceptWebhooksRequest(webhooks=[webhook]))
        return answer.results[0].outcome

    changed = await update(world, made, name="Outro nome", access_token="token-novo")
    assert (changed.webhook_path, changed.secret_count) == (made.webhook_path, 1)
    assert await send(b'{"event":"webwidget_triggered","id":1}', SECRET) == acceptance_pb.ACCEPT_OUTCOME_ACCEPTED
    assert await send(b'{"event":"webwidget_triggered","id":2}', None) == acceptance_pb.ACCEPT_OUTCOME_UNAUTHENTICATED


async def test_a_token_does_not_follow_an_address_to_another_server(world: World, organization_id: UUID) -> None:
    made = await given_connection(
        world, organization_id, base_url="https://chat.example.com", access_token="token-antigo"
    )
    for elsewhere in ("https://evil.example.com", "http://chat.example.com", "https://chat.example.com:8443"):
        error = await refusal(world, made, base_url=elsewhere)
        assert isinstance(error, FailedPrecondition)
        assert error.reason == "ACCESS_TOKEN_NEEDED"
    # Nor on a way round: with no address in between.
    away = await update(world, made, base_url="")
    assert (away.base_url, away.access_token_set) == ("", True)
    assert (await refusal(world, made, base_url="https://evil.example.com")).reason == "ACCESS_TOKEN_NEEDED"
    moved = await update(world, made, base_url="https://novo.example.com", access_token="token-novo")
    assert moved.base_url == "https://novo.example.com"
    assert (await update(world, made, base_url="https://NOVO.example.com:443/chat/")).base_url.endswith("/chat")
    assert await kept_token(world, made) == "token-novo"


async def test_an_address_without_a_token_changes_freely(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, base_url="https://chat.exmaple.com")
    assert (await update(world, made, base_url="https://chat.example.com/")).base_url == "https://chat.example.com"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "NOTHING_TO_CHANGE"),
        ({"etag": "1", "request_id": str(UUID(int=1)), "access_token": ""}, "NOTHING_TO_CHANGE"),
        ({"name": ""}, "REQUEST_INVALID"),
        ({"name": "  "}, "NAME_INVALID"),
        ({"account_id": 0}, "ACCOUNT_ID_MISSING"),
        ({"account_id": -1}, "REQUEST_INVALID"),
        ({"base_url": "chat.example.com"}, "BASE_URL_INVALID"),
        ({"name": "Outro", "request_id": "retry-1"}, "REQUEST_ID_INVALID"),
    ],
)
async def test_what_cannot_be_is_refused(
    world: World, organization_id: UUID, fields: dict[str, Any], reason: str
) -> None:
    made = await given_connection(world, organization_id)
    error = await refusal(world, made, **fields)
    assert isinstance(error, InvalidArgument)
    assert error.reason == reason
    assert await read(world, made) == made
    assert await world.announced(ConnectionUpdated, organization_id) == []


async def test_what_is_the_same_already_is_no_change(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, "Chatwoot", base_url="https://chat.example.com")
    again = await update(world, made, name="Chatwoot ", account_id=7, base_url="https://chat.example.com/")
    assert again == made
    channel = await given_channel(world, made, 1)
    assert await update_channel(world, channel, name=channel.name, inbox_id=1, board_id="", active=True) == channel
    assert await world.announced(ConnectionUpdated, organization_id) == []
    assert await world.announced(ChannelUpdated, organization_id) == []


async def test_what_is_not_there_cannot_be_changed(world: World, organization_id: UUID) -> None:
    made, other = [await given_connection(world, organization_id) for _ in range(2)]
    channel = await given_channel(world, other, 1)
    missing = pb.Connection(organization_id=str(organization_id), connection_id=str(uuid4()))
    for what, fields, reason in (
        (missing, {}, "CONNECTION_NOT_FOUND"),
        (channel, {"connection_id": missing.connection_id}, "CONNECTION_NOT_FOUND"),
        (channel, {"connection_id": made.connection_id}, "CHANNEL_NOT_FOUND"),
        (channel, {"channel_id": str(uuid4())}, "CHANNEL_NOT_FOUND"),
    ):
        error = await refusal(world, what, **{"name": "Outro", **fields})
        assert isinstance(error, NotFound)
        assert error.reason == reason


async def test_a_name_that_another_connection_has_is_refused(world: World, organization_id: UUID) -> None:
    await given_connection(world, organization_id, "Escola")
    made = await given_connection(world, organization_id, "Chatwoot")
    error = await refusal(world, made, name="Escola")
    assert isinstance(error, AlreadyExists)
    assert error.reason == "CONNECTION_NAME_TAKEN"
    assert await read(world, made) == made


async def test_a_retry_answers_as_the_first_call_did(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, "Chatwoot")
    channel = await given_channel(world, made, 1)
    ids = [str(uuid4()) for _ in range(2)]
    first = await update(world, made, name="Escola", request_id=ids[0])
    first_channel = await update_channel(world, channel, name="Recepção", request_id=ids[1])
    await update(world, made, name="Colégio")
    await update_channel(world, channel, name="Portaria")
    assert await update(world, made, name="Escola", request_id=ids[0]) == first
    assert await update_channel(world, channel, name="Recepção", request_id=ids[1]) == first_channel
    now = await read(world, made)
    assert (now.name, now.channels[0].name) == ("Colégio", "Portaria")
    assert (await refusal(world, made, name="Outro", request_id=ids[0])).reason == "REQUEST_ID_REUSED"
    assert (await refusal(world, channel, name="Outro", request_id=ids[1])).reason == "REQUEST_ID_REUSED"
    assert len(await world.announced(ConnectionUpdated, organization_id)) == 2
    assert len(await world.announced(ChannelUpdated, organization_id)) == 2


async def test_an_etag_of_before_is_refused(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    channel = await given_channel(world, made, 1)
    changed = await update(world, made, name="Escola", etag=made.etag)
    changed_channel = await update_channel(world, channel, name="Recepção", etag=channel.etag)
    for what, etag in ((made, made.etag), (channel, channel.etag)):
        error = await refusal(world, what, name="Outro", etag=etag)
        assert isinstance(error, Aborted)
        assert error.reason == "ETAG_STALE"
    now = await read(world, made)
    assert (now.name, now.etag, list(now.channels)) == ("Escola", changed.etag, [changed_channel])


async def test_two_changes_at_the_same_moment_both_hold(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    async with await world.admin() as holder, holder.transaction():
        await holder.execute("select from ingest.connections where id = %s for update", [UUID(made.connection_id)])
        changes: list[dict[str, Any]] = [{"name": "Escola"}, {"base_url": "https://chat.example.com"}]
        calls = [asyncio.ensure_future(update(world, made, **change)) for change in changes]
        await world.until_waiting_on_locks(2)
    answers = await asyncio.gather(*calls)
    now = await read(world, made)
    assert (now.name, now.base_url) == ("Escola", "https://chat.example.com")
    assert len({made.etag, *(answer.etag for answer in answers)}) == 3


async def test_a_channel_changes_in_what_is_named(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    channel = await given_channel(world, made, 1, name="Vendas")
    board_id = (await given_board(world, organization_id)).board_id
    changed = await update_channel(
        world, channel, source=INSTAGRAM, inbox_id=4, board_id=board_id, evolution_instance=" vendas-01 "
    )
    expected = pb.Channel()
    expected.CopyFrom(channel)
    expected.source, expected.inbox_id, expected.board_id, expected.etag = INSTAGRAM, 4, board_id, changed.etag
    expected.evolution_instance = "vendas-01"
    assert changed == expected
    assert changed.etag != channel.etag
    closed = await update_channel(world, channel, active=False, board_id="")
    assert (closed.active, closed.board_id, closed.inbox_id) == (False, "", 4)
    assert list((await read(world, made)).channels) == [closed]
    assert await world.announced(ChannelUpdated, organization_id) == [
        ChannelUpdated(
            organization_id=str(organization_id),
            channel=changed,
            changed_fields=["source", "inbox_id", "board_id", "evolution_instance"],
            version=2,
        ),
        ChannelUpdated(
            organization_id=str(organization_id), channel=closed, changed_fields=["board_id", "active"], version=3
        ),
    ]


async def test_a_channel_does_not_take_the_inbox_of_another(world: World, organization_id: UUID) -> None:
    made, other = [await given_connection(world, organization_id) for _ in range(2)]
    await given_channel(world, made, 1, name="Vendas")
    channel = await given_channel(world, made, 2)
    await given_channel(world, other, 3)
    error = await refusal(world, channel, inbox_id=1)
    assert isinstance(error, AlreadyExists)
    assert error.reason == "INBOX_TAKEN"
    assert '"Vendas"' in error.message
    assert (await update_channel(world, channel, inbox_id=3)).inbox_id == 3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "NOTHING_TO_CHANGE"),
        ({"name": " "}, "NAME_INVALID"),
        ({"source": 0}, "REQUEST_INVALID"),
        ({"source": 9}, "REQUEST_INVALID"),
        ({"inbox_id": 0}, "REQUEST_INVALID"),
        ({"board_id": "vendas"}, "ID_INVALID"),
    ],
)
async def test_what_a_channel_cannot_be_is_refused(
    world: World, organization_id: UUID, fields: dict[str, Any], reason: str
) -> None:
    channel = await given_channel(world, await given_connection(world, organization_id), 1, WHATSAPP)
    error = await refusal(world, channel, **fields)
    assert isinstance(error, InvalidArgument)
    assert error.reason == reason
    assert await world.announced(ChannelUpdated, organization_id) == []
