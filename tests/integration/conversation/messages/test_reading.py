"""Conversations by hand, in lists and in the view of the seed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from chassis.clock import SystemClock
from chassis.ids import Uuid7Ids
from chassis.outbox import Outbox
from chassis.paging import Page, read_page
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import conversation_service_pb2_grpc as pb_grpc
from prosa.conversation.v1 import events_pb2
from prosa.identity.v1 import contact_service_pb2
from prosa.identity.v1.events_pb2 import ContactIdentityPromoted
from prosa.v1 import options_pb2
from services.conversation.messages.consumers import PromotedKeys
from services.conversation.messages.domain.record import HANDOFF_LABEL
from services.conversation.messages.recording import Recorder
from tests.integration.conversation.messages.reports import START, Reported, answered, batch, stub, told, written
from tests.integration.identity.cast import given_contact
from tests.world import World, error_info, unheard

TARGETS = ("identity", "conversation")
LID, PHONE = "whatsapp:lid:12345678901234", "whatsapp:+5511900004821"


def by_hand(**changes: str) -> pb.CreateConversationRequest:
    values = {
        "connection_id": str(uuid4()),
        "channel_id": str(uuid4()),
        "provider_conversation_id": "391",
        "request_id": str(uuid4()),
    }
    return pb.CreateConversationRequest(source=options_pb2.SOURCE_WHATSAPP, **(values | changes))


def by_ingest(world: World, organization_id: UUID) -> pb_grpc.ConversationServiceAsyncStub:
    """The service as ingest calls it for an organization, after it looked up what the request names."""
    return world.as_service("ingest", organization_id).stub(pb_grpc.ConversationServiceStub)


async def test_a_conversation_made_by_hand_is_announced_once_and_then_filled_in(
    world: World, organization_id: UUID
) -> None:
    service = by_ingest(world, organization_id)
    request = by_hand(contact_id=str(await given_contact(world, organization_id, uuid4())))
    made = await service.CreateConversation(request)
    assert await service.CreateConversation(request) == made
    assert made.contact_id == request.contact_id
    assert made.state == pb.CONVERSATION_STATE_OPEN

    more = pb.CreateConversationRequest()
    more.CopyFrom(request)
    more.request_id, more.deal_id = str(uuid4()), str(uuid4())
    more.contact_id = str(await given_contact(world, organization_id, uuid4()))
    filled = await service.CreateConversation(more)
    assert filled.conversation_id == made.conversation_id
    assert (filled.contact_id, filled.deal_id) == (request.contact_id, more.deal_id)
    facts = await world.all_announced("conversation", organization_id)
    assert [type(fact).__name__ for fact in facts] == ["ConversationCreated", "ConversationUpdated"]
    reader = stub(world, organization_id)
    assert await reader.GetConversation(pb.GetConversationRequest(conversation_id=made.conversation_id)) == filled


@pytest.mark.case("S13")
async def test_a_contact_of_another_organization_is_in_no_conversation(world: World, organization_id: UUID) -> None:
    service, theirs = by_ingest(world, organization_id), await given_contact(world, uuid4(), uuid4())
    for stranger in (theirs, uuid4()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.CreateConversation(by_hand(contact_id=str(stranger)))
        assert error_info(refused.value).reason == "CONTACT_NOT_FOUND"
    assert not (await stub(world, organization_id).ListConversations(pb.ListConversationsRequest())).conversations


async def test_a_fault_of_ours_while_making_one_by_hand_is_no_fault_of_the_caller(
    world: World, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("only for the log")

    monkeypatch.setattr(Recorder, "link", fail)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await by_ingest(world, organization_id).CreateConversation(by_hand())
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert error_info(refused.value).reason == "INTERNAL"
    told_of_it = (refused.value.details() or "") + str(error_info(refused.value))
    assert not any(word in told_of_it for word in ("RuntimeError", "only for the log"))


async def test_a_conversation_made_by_hand_must_be_named_by_a_number(world: World, organization_id: UUID) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await by_ingest(world, organization_id).CreateConversation(by_hand(provider_conversation_id="conversation-391"))
    assert error_info(refused.value).reason == "PROVIDER_CONVERSATION_ID_INVALID"


@pytest.mark.parametrize(
    "conversation_key", ["Ana", "unknown", "whatsapp:Ana", "whatsapp:", "instagram:7733100045600121", "x" * 300]
)
async def test_a_conversation_made_by_hand_takes_no_key_but_a_canonical_one_of_its_source(
    world: World, organization_id: UUID, conversation_key: str
) -> None:
    service = by_ingest(world, organization_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.CreateConversation(by_hand(conversation_key=conversation_key))
    assert error_info(refused.value).reason == "CONVERSATION_KEY_INVALID"
    for key in (PHONE, LID):
        made = await service.CreateConversation(by_hand(conversation_key=key))
        assert made.conversation_key == key


async def test_another_organization_cannot_take_the_place_of_a_conversation(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    taken = by_hand(connection_id=reported.connection_id, channel_id=reported.channel_id)
    await by_ingest(world, uuid4()).CreateConversation(taken)
    [result] = await batch(world, reported.item(written("1"), told(1)))
    assert result.item.conversation_created


async def test_lists_show_the_newest_activity_first_page_by_page(world: World, organization_id: UUID) -> None:
    reported = [Reported(organization_id, str(number)) for number in range(1, 6)]
    seconds = [30, 10, 50, 20, 20]
    items = zip(reported, seconds, strict=True)
    await batch(world, *(one.item(written("1", second=second), told(1)) for one, second in items))
    service = stub(world, organization_id)
    seen: list[pb.Conversation] = []
    request = pb.ListConversationsRequest(page_size=2)
    while True:
        page = await service.ListConversations(request)
        assert len(page.conversations) <= 2
        seen.extend(page.conversations)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    times = [int(one.last_message_time.ToDatetime(tzinfo=START.tzinfo).timestamp() - START.timestamp()) for one in seen]
    assert times == sorted(seconds, reverse=True)
    assert len({one.conversation_id for one in seen}) == len(reported)


async def test_a_list_of_all_merges_the_states_and_a_conversation_moves_with_its_own(
    world: World, organization_id: UUID
) -> None:
    states = [
        pb.CONVERSATION_STATE_OPEN,
        pb.CONVERSATION_STATE_RESOLVED,
        pb.CONVERSATION_STATE_PENDING,
        pb.CONVERSATION_STATE_SNOOZED,
        pb.CONVERSATION_STATE_OPEN,
    ]
    reported = [Reported(organization_id, str(number)) for number in range(1, 6)]
    await batch(
        world,
        *(
            one.item(written("1", second=second), told(1, state=state))
            for second, (one, state) in enumerate(zip(reported, states, strict=True))
        ),
    )
    assert await listed(world, organization_id, page_size=1) == ["5", "4", "3", "2", "1"]
    assert await listed(world, organization_id, page_size=1, state=pb.CONVERSATION_STATE_OPEN) == ["5", "1"]

    resolved = reported[4].item(report=told(2, state=pb.CONVERSATION_STATE_RESOLVED))
    await batch(world, reported[1].item(written("2", second=10), told(2)), resolved)
    assert await listed(world, organization_id, page_size=2) == ["2", "5", "4", "3", "1"]
    assert await listed(world, organization_id, page_size=2, state=pb.CONVERSATION_STATE_OPEN) == ["2", "1"]
    assert await listed(world, organization_id, page_size=2, state=pb.CONVERSATION_STATE_RESOLVED) == ["5"]


async def listed(world: World, organization_id: UUID, **wanted: Any) -> list[str]:
    """The provider's numbers of the conversations that a list shows, page by page."""
    request, found = pb.ListConversationsRequest(**wanted), []
    while True:
        page = await stub(world, organization_id).ListConversations(request)
        found += [one.provider_conversation_id for one in page.conversations]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@pytest.mark.parametrize("filtered", ["contact_id", "deal_id", "state", "conversation_key", "provider_conversation_id"])
async def test_lists_show_only_what_is_asked_for(world: World, organization_id: UUID, filtered: str) -> None:
    wanted = Reported(organization_id, "1", contact_id=str(uuid4()), deal_id=str(uuid4()), conversation_key=PHONE)
    other = Reported(organization_id, "2", contact_id=str(uuid4()), deal_id=str(uuid4()), conversation_key=LID)
    pending = told(1, state=pb.CONVERSATION_STATE_PENDING)
    await batch(world, wanted.item(written("1"), pending), other.item(written("1"), told(1)))
    request = pb.ListConversationsRequest()
    value = pb.CONVERSATION_STATE_PENDING if filtered == "state" else getattr(wanted, filtered)
    setattr(request, filtered, value)
    answer = await stub(world, organization_id).ListConversations(request)
    assert [one.provider_conversation_id for one in answer.conversations] == ["1"]


async def test_messages_are_listed_newest_first_across_months(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    seconds = [-90 * 86_400, -60 * 86_400, -86_400, 0, 1]
    items = [
        reported.item(written(str(place), str(place), second=second), told(1)) for place, second in enumerate(seconds)
    ]
    results = await batch(world, *reversed(items))
    service = stub(world, organization_id)
    request = pb.ListMessagesRequest(conversation_id=results[0].item.conversation_id, page_size=2)
    texts: list[list[str]] = []
    while True:
        page = await service.ListMessages(request)
        texts.append([message.text for message in page.messages])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert texts == [["4", "3"], ["2", "1"], ["0"]]


@pytest.mark.parametrize("page_token", ["nonsense", "WyJhIiwiYiJd"])
async def test_a_page_token_of_another_list_is_refused(world: World, organization_id: UUID, page_token: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(world, organization_id).ListConversations(pb.ListConversationsRequest(page_token=page_token))
    assert error_info(refused.value).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    "key",
    [
        ("2026-W01-1", str(UUID(int=1))),
        ("2026-01-01T00:00:00+23:59", str(UUID(int=1))),
        ("0001-01-01T00:00:00+14:00", str(UUID(int=1))),
        ("2026-01-01T00:00:00+00:00", UUID(int=1).urn),
    ],
)
async def test_a_page_token_that_somebody_put_together_is_never_an_error_of_ours(
    world: World, organization_id: UUID, key: tuple[str, str]
) -> None:
    request = pb.ListConversationsRequest()
    page = Page(size=1, after=None, filter_hash=read_page(request, key_length=2).filter_hash)
    _, request.page_token = page.cut(["shown", "more"], lambda _: key)
    (answer,) = await asyncio.gather(stub(world, organization_id).ListConversations(request), return_exceptions=True)
    if isinstance(answer, grpc.aio.AioRpcError):
        assert error_info(answer).reason == "PAGE_TOKEN_INVALID"
    else:
        assert answer == pb.ListConversationsResponse()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (pb.CONVERSATION_STATE_OPEN, "open"),
        (pb.CONVERSATION_STATE_PENDING, "pending"),
        (pb.CONVERSATION_STATE_SNOOZED, "pending"),
        (pb.CONVERSATION_STATE_RESOLVED, "resolved"),
    ],
)
async def test_the_view_of_the_seed_has_its_columns_and_spellings(
    world: World, organization_id: UUID, state: pb.ConversationState.ValueType, status: str
) -> None:
    reported = Reported(organization_id, contact_id=str(uuid4()), deal_id=str(uuid4()))
    url = "https://chat.example.com/app/accounts/7/conversations/391"
    report = told(1, state=state, unread_count=2, assignee_name="Ana", labels=[HANDOFF_LABEL])
    details = {"provider_url": url, "inbox_name": "WhatsApp", "contact_phone": "+5511900004821"}
    await batch(world, reported.item(answered("1", "Olá, Marina!"), report, **details))
    [link] = await world.rows(
        "select * from conversation.messaging_conversation_links where organization_id = %s", organization_id
    )
    made = {name: link.pop(name) for name in ("id", "created_at", "updated_at", "handoff_at")}
    assert None not in made.values()
    assert link == {
        "organization_id": organization_id,
        "chatwoot_conversation_id": 391,
        "chatwoot_contact_id": 118,
        "chatwoot_inbox_id": 21,
        "contact_id": UUID(reported.contact_id),
        "deal_id": UUID(reported.deal_id),
        "last_message_at": START,
        "last_message_preview": "Olá, Marina!",
        "last_message_sender": "agent",
        "status": status,
        "unread_count": 2,
        "chatwoot_url": url,
        "inbox_name": "WhatsApp",
        "contact_name": "Marina Prado",
        "contact_phone": "+5511900004821",
        "contact_avatar_url": None,
        "assigned_agent_id": None,
        "assigned_agent_name": "Ana",
        "ai_enabled": False,
        "handoff_reason": f"The label {HANDOFF_LABEL} was set.",
        "handoff_source": "webhook",
    }


async def test_the_view_shows_nobody_elses_conversations(world: World, organization_id: UUID) -> None:
    await batch(world, Reported(organization_id).item(written("1"), told(1)))
    count = "select count(*) from conversation.messaging_conversation_links"
    for seen_as, expected in ((organization_id, 1), (uuid4(), 0)):
        async with world.database("conversation").transaction(seen_as) as tx:
            assert (await tx.execute(count)).scalar_one() == expected


def promotion(organization_id: UUID, former: str, present: str) -> ConsumedEvent[ContactIdentityPromoted]:
    """What identity announces when a person's phone became known."""
    identity = contact_service_pb2.ContactIdentity(
        organization_id=str(organization_id), contact_id=str(uuid4()), conversation_key=present
    )
    fact = ContactIdentityPromoted(
        organization_id=str(organization_id), identity=identity, previous_conversation_key=former
    )
    return ConsumedEvent(fact, uuid4(), organization_id, START, "cause")


async def test_conversations_follow_a_promoted_key_once(world: World, organization_id: UUID) -> None:
    other_organization = uuid4()
    bsuid = "whatsapp:bsuid:BR.abc"
    await batch(
        world,
        Reported(organization_id, "1", conversation_key=LID).item(written("1"), told(1)),
        Reported(organization_id, "2", conversation_key=bsuid).item(written("2"), told(1)),
        Reported(other_organization, "3", conversation_key=LID).item(written("3"), told(1)),
    )
    clock = SystemClock()
    consumer = PromotedKeys(Outbox("conversation", Uuid7Ids(clock), unheard), clock)
    # The second follows from the first: what carried the LID goes all the way.
    events = [promotion(organization_id, LID, bsuid), promotion(organization_id, bsuid, PHONE)]
    for _ in range(2):
        async with world.database("conversation").transaction(organization_id) as tx:
            await consumer.handle(tx, events)
    answer = await stub(world, organization_id).ListConversations(pb.ListConversationsRequest(conversation_key=PHONE))
    assert {one.provider_conversation_id for one in answer.conversations} == {"1", "2"}
    updated = await world.announced(events_pb2.ConversationUpdated, organization_id)
    assert [(fact.conversation.conversation_key, fact.version) for fact in updated] == [(PHONE, 2), (PHONE, 2)]
    untouched = await stub(world, other_organization).ListConversations(pb.ListConversationsRequest())
    assert [one.conversation_key for one in untouched.conversations] == [LID]
