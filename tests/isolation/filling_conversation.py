"""What the filled database holds of conversation: replies, numbers, personas and what is said by itself."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import delivery_service_pb2 as delivery_pb
from prosa.conversation.v1 import instance_service_pb2 as instance_pb
from prosa.conversation.v1 import script_service_pb2 as script_pb
from prosa.conversation.v1 import settings_service_pb2 as settings_pb
from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceStub
from prosa.conversation.v1.script_service_pb2_grpc import ScriptServiceStub
from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from tests.isolation.parties import CLOSED_URL, INSTAGRAM, WHATSAPP, Party
from tests.world import Act, World


async def speak(world: World, party: Party) -> None:
    """What is said by itself, and by whom."""
    owner = world.as_user(party.organization_id).stub(ScriptServiceStub)
    personas = [
        await owner.CreatePersona(
            script_pb.CreatePersonaRequest(
                name=f"Lia {place} de {party.name}",
                style=f"como na {party.name}",
                fallback_texts=[f"Já chamo alguém da {party.name}."],
                request_id=str(uuid4()),
            )
        )
        for place in range(2)
    ]
    settings = world.as_user(party.organization_id).stub(SettingsServiceStub)
    await settings.UpdateConversationSettings(
        settings_pb.UpdateConversationSettingsRequest(
            persona_id=personas[1].persona_id,
            reply_mode=settings_pb.REPLY_MODE_SCRIPTED,
            model_name=f"modelo-{party.name.lower()}",
            model_key=f"chave da {party.name}",
        )
    )
    # Nobody replies here by itself, so that each persona may be ended.
    await settings.UpdateConversationSettings(
        settings_pb.UpdateConversationSettingsRequest(persona_id="", reply_mode=settings_pb.REPLY_MODE_OFF)
    )
    await _talk(world, party)


async def _talk(world: World, party: Party) -> None:
    """Two of its numbers talk every day; a round of theirs has said something."""
    acting = world.as_key(party.organization_id, "*")
    owner = world.as_user(party.organization_id).stub(ScriptServiceStub)
    phones = [f"+5511{number}{party.account_id:04}" for number in (90001, 90002)]
    channels = []
    for place, phone in enumerate(reversed(phones)):
        channel = await acting.stub(ConnectionServiceStub).CreateChannel(
            connection_pb.CreateChannelRequest(
                connection_id=party.connection_id,
                name=f"Loja {place} de {party.name}",
                source=WHATSAPP,
                inbox_id=9_000 + place,
            )
        )
        channels.append(channel.channel_id)
        await acting.stub(IngestServiceStub).CreateConversation(
            conversation_pb.CreateConversationRequest(
                connection_id=party.connection_id,
                channel_id=channel.channel_id,
                source=WHATSAPP,
                provider_conversation_id=f"6{place}{party.account_id}",
                conversation_key=f"whatsapp:{phone}",
            )
        )
    spare = await owner.CreatePersona(
        script_pb.CreatePersonaRequest(name=f"Rosa de {party.name}", fallback_texts=[f"Aqui é da {party.name}."])
    )
    party.participants.extend(
        script_pb.Participant(channel_id=channel_id, persona_id=spare.persona_id, phone=phone)
        for channel_id, phone in zip(channels, phones, strict=True)
    )
    for place in range(2):
        script = await owner.CreateScript(
            script_pb.CreateScriptRequest(
                name=f"Conversa {place} da {party.name}",
                participants=party.participants,
                topics=[f"o bolo da {party.name}"],
                calendar=script_pb.Calendar(
                    windows=[
                        script_pb.CalendarWindow(weekday=weekday, start_minute=540, end_minute=1080, round_count=4)
                        for weekday in range(1, 8)
                    ]
                ),
            )
        )
    rounds = await owner.ListRounds(script_pb.ListRoundsRequest(script_id=script.script_id))
    said_in = UUID(rounds.rounds[0].round_id)
    await world.rows(
        "insert into conversation.round_messages values (%s, %s, 0, %s, %s, now(), %s) returning 1",
        *(party.organization_id, said_in, UUID(channels[0]), f"Oi, {party.name}", uuid4()),
    )
    await world.rows(
        "insert into conversation.model_usage values (%s, current_date, %s) returning 1",
        *(party.organization_id, party.account_id),
    )
    # What the samples say was written long ago, and is answered by nobody.
    await world.rows(
        "insert into conversation.turns values (%s, %s, %s, now(), now(), 'DROPPED', 'HANDOFF_HUMAN', '[]')"
        " returning 1",
        *(party.organization_id, uuid4(), uuid4()),
    )
    await world.rows(
        "insert into conversation.round_locks values (%s, %s, %s) returning 1",
        *(party.organization_id, UUID(channels[0]), said_in),
    )


async def reply(world: World, party: Party) -> None:
    """What the staff wrote waits, for nobody is at the connection's address."""
    account = delivery_pb.ProviderAccount(
        organization_id=str(party.organization_id),
        connection_id=party.connection_id,
        provider="CHATWOOT",
        base_url=CLOSED_URL,
        provider_account_id=str(party.account_id),
        access_token=f"token of {party.name}",
        version=1_000,
    )
    await (
        world.as_service("ingest")
        .stub(DeliveryServiceStub)
        .BatchPutProviderAccounts(delivery_pb.BatchPutProviderAccountsRequest(provider_accounts=[account]))
    )
    conversations = world.as_user(party.organization_id).stub(ConversationServiceStub)
    found = await conversations.ListConversations(conversation_pb.ListConversationsRequest())
    conversation_id = next(row.conversation_id for row in found.conversations if row.conversation_key)
    for number in range(2):
        await conversations.SendMessage(
            conversation_pb.SendMessageRequest(
                conversation_id=conversation_id, text=f"Resposta {number} de {party.name}", request_id=str(uuid4())
            )
        )


async def instagram_channel(acting: Act, party: Party) -> str:
    """The party's channel of Instagram."""
    channels = await acting.stub(ConnectionServiceStub).ListChannels(
        connection_pb.ListChannelsRequest(connection_id=party.connection_id, source=INSTAGRAM)
    )
    return channels.channels[0].channel_id


async def connect_numbers(world: World, party: Party, name: str) -> None:
    """Two numbers behind an Evolution that nobody runs, and what its webhooks would say of them."""
    for place in range(2):
        made = await begin_number(world, party, f"Número {place} de {name}")
        await world.until("select 1 from conversation.instances where instance_id = %s", UUID(made.instance_id))
        party.numbers.append(made.connection.connection_id)
        report = instance_pb.InstanceReport(
            organization_id=str(party.organization_id),
            connection_id=made.connection.connection_id,
            cause_id=str(uuid4()),
            connection_state="open",
            own_jid=f"55119610{party.account_id % 1000:03d}{place:03d}@s.whatsapp.net",
            profile_name=f"Perfil de {name}",
        )
        report.receive_time.GetCurrentTime()
        await _tell(world, report)


async def show_codes(world: World, party: Party) -> None:
    """A code for each number. Told while nobody asks Evolution any more: where nobody answers, a code is soon gone."""
    for place, connection_id in enumerate(party.numbers):
        report = instance_pb.InstanceReport(
            organization_id=str(party.organization_id),
            connection_id=connection_id,
            cause_id=str(uuid4()),
            qr_code=f"2@{party.name}{place}",
        )
        # A code is worth nothing after 45 seconds, and it is looked at much later.
        report.receive_time.FromDatetime(world.clock.now() + timedelta(days=1))
        await _tell(world, report)


async def _tell(world: World, report: instance_pb.InstanceReport) -> None:
    await (
        world.as_service("ingest")
        .stub(InstanceServiceStub)
        .BatchRecordInstanceReports(instance_pb.BatchRecordInstanceReportsRequest(reports=[report]))
    )


async def begin_number(world: World, party: Party, name: str) -> connection_pb.CreateInstanceResponse:
    return await (
        world.as_user(party.organization_id)
        .stub(ConnectionServiceStub)
        .CreateInstance(
            connection_pb.CreateInstanceRequest(
                name=name, base_url="http://127.0.0.1:9", access_token=f"key of {name}", request_id=str(uuid4())
            )
        )
    )
