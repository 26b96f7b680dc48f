"""Connections, their secrets and the channels behind them, through the stub."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.crypto import Vault
from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1 import ingest_service_pb2 as acceptance_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.events_pb2 import ChannelCreated, ConnectionCreated
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from services.ingest.connections.cache import SECRET_COLUMN
from services.ingest.connections.store import ACCESS_TOKEN_COLUMN
from tests.integration.crm.deals import given_board
from tests.integration.ingest.connections.making import (
    INSTAGRAM,
    WHATSAPP,
    connections,
    given_channel,
    given_connection,
)
from tests.world import ADMIN, AGENT, VIEWER, World, error_info

TARGETS = ("identity", "crm", "ingest")


async def live_secrets(world: World, connection: pb.Connection) -> list[str]:
    """The connection's webhook secrets, newest first, opened as the acceptor opens them."""
    vault = Vault.load(world.settings.keys_dir)
    rows = await world.rows(
        "select organization_id, secret_sealed from ingest.connection_secrets where connection_id = %s"
        " order by id desc",
        UUID(connection.connection_id),
    )
    return [
        vault.open(row["secret_sealed"], organization_id=row["organization_id"], column=SECRET_COLUMN).decode()
        for row in rows
    ]


async def add_secret(world: World, connection: pb.Connection, secret: str, *, only: bool = False) -> pb.Connection:
    return await connections(world, UUID(connection.organization_id)).AddWebhookSecret(
        pb.AddWebhookSecretRequest(connection_id=connection.connection_id, webhook_secret=secret, only=only)
    )


async def test_a_new_connection_gets_a_key_that_nobody_guesses_and_a_path(world: World, organization_id: UUID) -> None:
    first = await given_connection(world, organization_id, " Escola Ipê ", base_url="https://chat.example.com/")
    second = await given_connection(world, organization_id)
    assert len(first.connection_key) == 32
    assert first.connection_key != second.connection_key
    assert first.webhook_path == f"/webhooks/chatwoot/{first.connection_key}"
    assert (first.name, first.base_url, first.account_id) == ("Escola Ipê", "https://chat.example.com", 7)
    assert (first.provider, first.secret_count, first.access_token_set) == (acceptance_pb.PROVIDER_CHATWOOT, 0, False)
    assert not first.HasField("legacy_static_secret_end_time")
    stub = connections(world, organization_id)
    assert await stub.GetConnection(pb.GetConnectionRequest(connection_id=first.connection_id)) == first
    announced = await world.announced(ConnectionCreated, organization_id)
    assert [fact.connection_id for fact in announced] == [first.connection_id, second.connection_id]


async def test_token_and_secret_are_sealed_and_never_answered(world: World, organization_id: UUID) -> None:
    made = await given_connection(
        world,
        organization_id,
        access_token="token-da-administradora",
        webhook_secret="segredo-do-teste",
        legacy_static_secret_end_time=Timestamp(seconds=1_800_000_000),
    )
    assert (made.secret_count, made.access_token_set) == (1, True)
    assert made.legacy_static_secret_end_time.seconds == 1_800_000_000
    assert b"token-da" not in made.SerializeToString()
    (row,) = await world.rows("select * from ingest.connections where id = %s", UUID(made.connection_id))
    assert b"administradora" not in row["access_token_sealed"]
    vault = Vault.load(world.settings.keys_dir)
    opened = vault.open(row["access_token_sealed"], organization_id=organization_id, column=ACCESS_TOKEN_COLUMN)
    assert opened == b"token-da-administradora"
    assert await live_secrets(world, made) == ["segredo-do-teste"]


async def test_a_name_is_taken_within_its_organization_alone(world: World, organization_id: UUID) -> None:
    await given_connection(world, organization_id, "Chatwoot")
    await given_connection(world, uuid4(), "Chatwoot")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await given_connection(world, organization_id, "Chatwoot ")
    error = error_info(refused.value)
    assert isinstance(error, AlreadyExists)
    assert error.reason == "CONNECTION_NAME_TAKEN"
    assert len(await world.announced(ConnectionCreated, organization_id)) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "  "}, "NAME_INVALID"),
        ({"account_id": 0}, "ACCOUNT_ID_MISSING"),
        ({"base_url": "chat.example.com"}, "BASE_URL_INVALID"),
        ({"base_url": "ftp://chat.example.com"}, "BASE_URL_INVALID"),
        ({"base_url": "https://ana:senha@chat.example.com"}, "BASE_URL_INVALID"),
        ({"base_url": "https://chat.example.com/?x=1"}, "BASE_URL_INVALID"),
        ({"base_url": "https://[chat"}, "BASE_URL_INVALID"),
        ({"webhook_secret": "curto"}, "SECRET_TOO_SHORT"),
        ({"provider": 9}, "PROVIDER_UNKNOWN"),
        ({"provider": 2}, "PROVIDER_UNSUPPORTED"),
        ({"request_id": "retry-1"}, "REQUEST_ID_INVALID"),
    ],
)
async def test_what_cannot_work_is_refused(
    world: World, organization_id: UUID, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await given_connection(world, organization_id, **fields)
    error = error_info(refused.value)
    assert isinstance(error, InvalidArgument)
    assert error.reason == reason
    assert await world.announced(ConnectionCreated, organization_id) == []


async def test_a_retry_answers_the_connection_that_was_made(world: World, organization_id: UUID) -> None:
    request_id = str(uuid4())
    made = await given_connection(world, organization_id, "Chatwoot", request_id=request_id)
    assert await given_connection(world, organization_id, "Chatwoot", request_id=request_id) == made
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await given_connection(world, organization_id, "Outro", request_id=request_id)
    assert error_info(refused.value).reason == "REQUEST_ID_REUSED"
    assert len(await world.announced(ConnectionCreated, organization_id)) == 1


async def test_connections_are_listed_newest_first_with_their_channels(world: World, organization_id: UUID) -> None:
    made = [await given_connection(world, organization_id) for _ in range(3)]
    channels = [await given_channel(world, made[1], inbox_id) for inbox_id in (1, 2)]
    stub = connections(world, organization_id)
    first = await stub.ListConnections(pb.ListConnectionsRequest(page_size=2))
    assert [item.connection_id for item in first.connections] == [made[2].connection_id, made[1].connection_id]
    assert list(first.connections[1].channels) == channels
    rest = await stub.ListConnections(pb.ListConnectionsRequest(page_size=2, page_token=first.next_page_token))
    assert [item.connection_id for item in rest.connections] == [made[0].connection_id]
    assert rest.next_page_token == ""


async def test_another_organization_s_connection_is_not_there(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    channel = await given_channel(world, made, 1)
    connection_id = made.connection_id
    stranger = connections(world, uuid4())
    calls: list[Awaitable[Any]] = [
        stranger.GetConnection(pb.GetConnectionRequest(connection_id=connection_id)),
        stranger.AddWebhookSecret(
            pb.AddWebhookSecretRequest(connection_id=connection_id, webhook_secret="segredo-alheio")
        ),
        stranger.CreateChannel(
            pb.CreateChannelRequest(connection_id=connection_id, name="Caixa", source=WHATSAPP, inbox_id=1)
        ),
        stranger.UpdateConnection(pb.UpdateConnectionRequest(connection_id=connection_id, name="Minha")),
        stranger.UpdateChannel(
            pb.UpdateChannelRequest(connection_id=connection_id, channel_id=channel.channel_id, name="Minha")
        ),
        stranger.CheckConnection(pb.CheckConnectionRequest(connection_id=connection_id)),
        stranger.ListChannels(pb.ListChannelsRequest(connection_id=connection_id)),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        error = error_info(refused.value)
        assert isinstance(error, NotFound)
        assert error.reason == "CONNECTION_NOT_FOUND"
    assert (await stranger.ListConnections(pb.ListConnectionsRequest())).connections == []
    assert await live_secrets(world, made) == []
    (kept,) = (await connections(world, organization_id).ListConnections(pb.ListConnectionsRequest())).connections
    assert (kept.name, list(kept.channels)) == (made.name, [channel])


async def test_two_secrets_are_live_and_the_oldest_gives_way(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, webhook_secret="primeiro-segredo")
    assert (await add_secret(world, made, "segundo-segredo")).secret_count == 2
    assert await live_secrets(world, made) == ["segundo-segredo", "primeiro-segredo"]
    assert (await add_secret(world, made, "terceiro-segredo")).secret_count == 2
    assert await live_secrets(world, made) == ["terceiro-segredo", "segundo-segredo"]
    # Adding a live one again takes no place from the other.
    await add_secret(world, made, "terceiro-segredo")
    assert await live_secrets(world, made) == ["terceiro-segredo", "segundo-segredo"]
    assert (await add_secret(world, made, "quarto-segredo", only=True)).secret_count == 1
    assert await live_secrets(world, made) == ["quarto-segredo"]


async def test_secrets_added_at_the_same_moment_leave_two(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id, webhook_secret="primeiro-segredo")
    added = [f"segredo-numero-{number}" for number in range(4)]
    async with await world.admin() as holder, holder.transaction():
        await holder.execute("select from ingest.connections where id = %s for update", [UUID(made.connection_id)])
        calls = [asyncio.ensure_future(add_secret(world, made, secret)) for secret in added]
        await world.until_waiting_on_locks(len(added))
    await asyncio.gather(*calls)
    live = await live_secrets(world, made)
    assert len(live) == 2
    assert set(live) < set(added)


async def test_the_acceptor_knows_a_new_secret_at_once(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    acceptor = world.as_service("gateway").stub(IngestServiceStub)

    async def send(body: bytes, **headers: str) -> acceptance_pb.AcceptResult:
        now = Timestamp()
        now.GetCurrentTime()
        webhook = acceptance_pb.Webhook(
            provider=acceptance_pb.PROVIDER_CHATWOOT,
            connection_key=made.connection_key,
            headers=headers,
            body=body,
            receive_time=now,
        )
        answer = await acceptor.AcceptWebhooks(acceptance_pb.AcceptWebhooksRequest(webhooks=[webhook]))
        return answer.results[0]

    unsigned = await send(b'{"event":"webwidget_triggered","id":1}')
    assert unsigned.outcome == acceptance_pb.ACCEPT_OUTCOME_ACCEPTED
    await add_secret(world, made, "segredo-do-teste")
    unsigned = await send(b'{"event":"webwidget_triggered","id":2}')
    assert unsigned.outcome == acceptance_pb.ACCEPT_OUTCOME_UNAUTHENTICATED
    stamp, body = str(int(world.clock.now().timestamp())), b'{"event":"webwidget_triggered","id":3}'
    digest = hmac.new(b"segredo-do-teste", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    signed = await send(body, **{"x-chatwoot-signature": f"sha256={digest}", "x-chatwoot-timestamp": stamp})
    assert signed.outcome == acceptance_pb.ACCEPT_OUTCOME_ACCEPTED


@pytest.mark.case("S13")
async def test_a_board_of_another_organization_is_no_channel_s(world: World, organization_id: UUID) -> None:
    made, theirs = await given_connection(world, organization_id), await given_board(world, uuid4())
    stub = connections(world, organization_id)
    request = pb.CreateChannelRequest(connection_id=made.connection_id, name="Vendas", source=INSTAGRAM, inbox_id=4)
    channel = await stub.CreateChannel(request)
    request.inbox_id = 5
    for board_id in (theirs.board_id, str(uuid4())):
        request.board_id = board_id
        change = pb.UpdateChannelRequest(
            connection_id=made.connection_id, channel_id=channel.channel_id, board_id=board_id
        )
        for call in (stub.CreateChannel(request), stub.UpdateChannel(change)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert error_info(refused.value).reason == "BOARD_NOT_FOUND"
    listed = await stub.ListChannels(pb.ListChannelsRequest(connection_id=made.connection_id))
    assert list(listed.channels) == [channel]


async def test_a_channel_is_announced_and_takes_its_inbox_once(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    board_id = (await given_board(world, organization_id)).board_id
    channel = await connections(world, organization_id).CreateChannel(
        pb.CreateChannelRequest(
            connection_id=made.connection_id,
            name="Vendas",
            source=INSTAGRAM,
            inbox_id=4,
            board_id=board_id,
            evolution_instance="vendas-01",
        )
    )
    assert (channel.source, channel.inbox_id, channel.board_id, channel.active) == (INSTAGRAM, 4, board_id, True)
    assert channel.evolution_instance == "vendas-01"
    assert await world.announced(ChannelCreated, organization_id) == [
        ChannelCreated(organization_id=str(organization_id), channel=channel)
    ]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await given_channel(world, made, 4)
    error = error_info(refused.value)
    assert isinstance(error, AlreadyExists)
    assert error.reason == "INBOX_TAKEN"
    assert '"Vendas"' in error.message


async def test_two_organizations_may_declare_the_same_inbox_of_a_shared_account(world: World) -> None:
    first, second = [await given_connection(world, uuid4(), account_id=70) for _ in range(2)]
    assert (await given_channel(world, first, 1)).organization_id == first.organization_id
    assert (await given_channel(world, second, 1)).organization_id == second.organization_id


async def test_a_connection_has_only_so_many_channels(
    world: World, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.connections.channels.CHANNELS_PER_CONNECTION_MAX", 2)
    made = await given_connection(world, organization_id)
    for inbox_id in (1, 2):
        await given_channel(world, made, inbox_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await given_channel(world, made, 3)
    assert error_info(refused.value).reason == "CHANNELS_TOO_MANY"


async def test_channels_are_listed_by_connection_source_and_inbox(world: World, organization_id: UUID) -> None:
    first, second = [await given_connection(world, organization_id) for _ in range(2)]
    whatsapp = await given_channel(world, first, 1)
    instagram = await given_channel(world, first, 2, INSTAGRAM)
    other = await given_channel(world, second, 1)
    stub = connections(world, organization_id)

    async def listed(**wanted: object) -> list[pb.Channel]:
        return list((await stub.ListChannels(pb.ListChannelsRequest(**wanted))).channels)  # type: ignore[arg-type]

    assert await listed() == [whatsapp, instagram, other]
    assert await listed(connection_id=first.connection_id) == [whatsapp, instagram]
    assert await listed(source=INSTAGRAM) == [instagram]
    assert await listed(inbox_id=1) == [whatsapp, other]
    assert await listed(connection_id=second.connection_id, inbox_id=2) == []
    page = await stub.ListChannels(pb.ListChannelsRequest(page_size=2))
    rest = await stub.ListChannels(pb.ListChannelsRequest(page_size=2, page_token=page.next_page_token))
    assert [*page.channels, *rest.channels] == [whatsapp, instagram, other]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(source=9)
    assert error_info(refused.value).reason == "SOURCE_UNKNOWN"


@pytest.mark.req("ID-08")
async def test_asking_for_the_one_channel_of_two_names_both_and_the_way_out(
    world: World, organization_id: UUID
) -> None:
    made = await given_connection(world, organization_id, "Escola")
    sales = await given_channel(world, made, 1, name="Vendas")
    support = await given_channel(world, made, 2, name="Secretaria")
    stub = connections(world, organization_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListChannels(pb.ListChannelsRequest(source=WHATSAPP, find_one=True))
    error = error_info(refused.value)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "CHANNEL_AMBIGUOUS"
    assert error.metadata["channel_ids"] == f"{sales.channel_id},{support.channel_id}"
    for expected in ("Vendas", "inbox 1", "Secretaria", "inbox 2", "inbox_id"):
        assert expected in error.message
    answer = await stub.ListChannels(pb.ListChannelsRequest(source=WHATSAPP, inbox_id=2, find_one=True))
    assert list(answer.channels) == [support]


async def test_the_same_inbox_of_two_connections_is_told_apart_by_connection(
    world: World, organization_id: UUID
) -> None:
    first, second = [await given_connection(world, organization_id) for _ in range(2)]
    await given_channel(world, first, 1)
    wanted = await given_channel(world, second, 1)
    stub = connections(world, organization_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListChannels(pb.ListChannelsRequest(inbox_id=1, find_one=True))
    assert "connection_id" in error_info(refused.value).message
    request = pb.ListChannelsRequest(connection_id=second.connection_id, inbox_id=1, find_one=True)
    assert list((await stub.ListChannels(request)).channels) == [wanted]


async def test_asking_for_the_one_channel_of_none_or_of_inactive_ones_finds_nothing(
    world: World, organization_id: UUID
) -> None:
    made = await given_connection(world, organization_id)
    closed = await given_channel(world, made, 1)
    async with await world.admin() as connection:
        await connection.execute("update ingest.channels set active = false where id = %s", [UUID(closed.channel_id)])
    stub = connections(world, organization_id)
    for source in (WHATSAPP, INSTAGRAM):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListChannels(pb.ListChannelsRequest(source=source, find_one=True))
        error = error_info(refused.value)
        assert isinstance(error, NotFound)
        assert error.reason == "CHANNEL_NOT_FOUND"


async def test_viewers_look_and_administrators_act(world: World, organization_id: UUID) -> None:
    made = await given_connection(world, organization_id)
    for role in (VIEWER, AGENT):
        stub = world.as_user(organization_id, role).stub(ConnectionServiceStub)
        assert (await stub.ListConnections(pb.ListConnectionsRequest())).connections == [made]
        for call in (
            stub.CreateConnection(pb.CreateConnectionRequest(name="Outro", account_id=7)),
            stub.UpdateConnection(pb.UpdateConnectionRequest(connection_id=made.connection_id, name="Outro")),
            stub.AddWebhookSecret(
                pb.AddWebhookSecretRequest(connection_id=made.connection_id, webhook_secret="segredo-do-teste")
            ),
            stub.CheckConnection(pb.CheckConnectionRequest(connection_id=made.connection_id)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert isinstance(error_info(refused.value), PermissionDenied)
    stub = world.as_user(organization_id, ADMIN).stub(ConnectionServiceStub)
    made = await stub.CreateConnection(pb.CreateConnectionRequest(name="Outro", account_id=7))
    assert made.name == "Outro"


async def test_a_channel_that_an_older_process_writes_gets_its_key_from_the_inbox(
    world: World, organization_id: UUID
) -> None:
    connection = await given_connection(world, organization_id)
    (made,) = await world.rows(
        "insert into ingest.channels (id, organization_id, connection_id, name, source, inbox_id, active,"
        " evolution_instance, create_time) values (gen_random_uuid(), %s, %s, 'Old', 'WHATSAPP', 31, true, '', now())"
        " returning id, provider_channel_id",
        organization_id,
        UUID(connection.connection_id),
    )
    assert made["provider_channel_id"] == "31"
    moved = await world.rows(
        "update ingest.channels set inbox_id = 32 where id = %s returning provider_channel_id", made["id"]
    )
    assert moved == [{"provider_channel_id": "32"}]
    renamed = await world.rows(
        "update ingest.channels set inbox_id = null, provider_channel_id = 'lobby' where id = %s"
        " returning provider_channel_id",
        made["id"],
    )
    assert renamed == [{"provider_channel_id": "lobby"}]
