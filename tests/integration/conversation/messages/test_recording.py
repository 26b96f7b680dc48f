"""What a batch of reports leaves behind: rows, facts and answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Aborted, from_status
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import events_pb2
from prosa.identity.v1.contact_service_pb2 import ContactRedirect
from prosa.identity.v1.events_pb2 import ContactsMerged
from prosa.v1 import options_pb2
from services.conversation.messages.domain.record import HANDOFF_LABEL
from services.conversation.messages.place_store import REDIRECTS
from tests.integration.conversation.messages.reports import (
    START,
    Reported,
    answered,
    batch,
    echoed,
    stub,
    told,
    written,
)
from tests.world import World, error_info

TARGETS = ("conversation",)
PARALLEL_BATCHES = 50
POOL_CONNECTIONS = 16


async def kept(world: World, organization_id: UUID) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Every row of the organization but what the outbox holds."""
    conversations = await world.rows(
        "select * from conversation.conversations where organization_id = %s order by conversation_id", organization_id
    )
    messages = await world.rows(
        "select * from conversation.messages where organization_id = %s order by message_id", organization_id
    )
    return conversations, messages


async def conversation(world: World, reported: Reported) -> pb.Conversation:
    """The one conversation of the organization."""
    answer = await stub(world, reported.organization_id).ListConversations(pb.ListConversationsRequest())
    assert len(answer.conversations) == 1
    return answer.conversations[0]


async def test_a_first_message_makes_a_conversation_and_announces_both(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id, contact_id=str(uuid4()), deal_id=str(uuid4()))
    item = reported.item(written("1", "Oi, tudo bem?"), told(5, unread_count=1))
    [result] = await batch(world, item)

    assert result.item.conversation_created
    assert result.item.message_created
    assert not result.item.unchanged
    assert result.item.deal_id == reported.deal_id
    assert result.item.handoff == pb.HANDOFF_MODE_AI
    created, received = await world.all_announced("conversation", organization_id)
    assert isinstance(created, events_pb2.ConversationCreated)
    assert isinstance(received, events_pb2.MessageReceived)
    assert created.conversation.conversation_id == result.item.conversation_id
    assert created.conversation.unread_count == 1
    assert created.conversation.last_message_preview == "Oi, tudo bem?"
    assert received.message.text == "Oi, tudo bem?"
    assert received.message.message_id == result.item.message_id
    assert (received.contact_id, received.deal_id) == (reported.contact_id, reported.deal_id)
    assert received.conversation_key == reported.conversation_key
    assert (received.connection_id, received.channel_id) == (reported.connection_id, reported.channel_id)
    assert received.handoff.mode == pb.HANDOFF_MODE_AI
    assert received.version == created.version == 1
    correlations = await world.rows(
        "select distinct correlation_id from conversation.outbox where organization_id = %s", organization_id
    )
    assert [row["correlation_id"] for row in correlations] == [item.cause_id] == [received.cause_id]


@pytest.mark.case("F03")
async def test_what_names_no_conversation_that_is_known_holds_back_its_own_and_halves_no_batch(
    world: World, organization_id: UUID
) -> None:
    nowhere = Reported(organization_id, "777")
    items = [Reported(organization_id, str(number)).item(written(str(number)), told(1)) for number in range(6)]
    items.insert(2, nowhere.item(None, told(1), known_conversation_only=True))
    items.append(nowhere.item(written("9"), told(2)))
    results = await batch(world, *items)
    assert [result.HasField("error") for result in results] == [False, False, True, False, False, False, False, True]
    assert from_status(results[2].error).reason == "CONVERSATION_NOT_FOUND"
    assert from_status(results[7].error).reason == "EARLIER_ITEM_FAILED"
    transactions = await world.rows(
        "select distinct xmin::text from conversation.conversations where organization_id = %s", organization_id
    )
    assert len(transactions) == 1
    assert len((await kept(world, organization_id))[1]) == 6


async def test_a_plain_message_moves_a_known_conversation_on(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    await batch(world, reported.item(written("1"), told(1, unread_count=1)))
    before = await conversation(world, reported)
    await batch(world, reported.item(answered("2", "Bom dia!", second=5), told(2, unread_count=4)))
    after = await conversation(world, reported)
    assert (after.unread_count, after.last_message_preview) == (4, "Bom dia!")
    assert after.last_message_direction == pb.MESSAGE_DIRECTION_OUTBOUND
    assert after.last_message_time.ToDatetime(tzinfo=START.tzinfo) == START + timedelta(seconds=5)
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    [row], _ = await kept(world, organization_id)
    assert (row["version"], row["provider_update_time_us"], row["last_provider_message_id"]) == (2, 2, "2")
    assert row["activity_time"] == row["last_message_time"]


async def test_what_comes_twice_leaves_no_trace(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id, contact_id=str(uuid4()))
    items = [
        reported.item(written("1"), told(5, unread_count=1)),
        reported.item(answered("2", second=1, state=pb.MESSAGE_STATE_READ), told(6, labels=[HANDOFF_LABEL])),
        reported.item(written("1", deleted=True), told(7, state=pb.CONVERSATION_STATE_RESOLVED)),
    ]
    first = await batch(world, *items)
    rows, facts = await kept(world, organization_id), await world.all_announced("conversation", organization_id)
    again = [*await batch(world, *items), *await batch(world, *reversed(items))]

    assert all(result.item.unchanged for result in again)
    assert {result.item.message_id for result in again} == {result.item.message_id for result in first}
    assert await kept(world, organization_id) == rows
    assert await world.all_announced("conversation", organization_id) == facts


async def test_several_items_of_one_conversation_are_taken_in_their_order(world: World, organization_id: UUID) -> None:
    reported, other = Reported(organization_id), Reported(organization_id, "392")
    results = await batch(
        world,
        reported.item(written("1", "first"), told(1, unread_count=1)),
        other.item(written("2", "elsewhere"), told(1)),
        reported.item(written("1", "first, edited"), told(1, unread_count=1)),
        reported.item(answered("3", second=2), told(2, labels=[HANDOFF_LABEL])),
        reported.item(written("4", "third", second=3), told(3, labels=[HANDOFF_LABEL], unread_count=2)),
    )
    assert [result.item.conversation_created for result in results] == [True, True, False, False, False]
    assert [result.item.message_created for result in results] == [True, True, False, True, True]
    facts = await world.all_announced("conversation", organization_id)
    assert [type(fact).__name__ for fact in facts] == [
        *("ConversationCreated", "MessageReceived"),
        *("ConversationCreated", "MessageReceived"),
        "MessageUpdated",
        *("ConversationUpdated", "HandoffChanged", "MessageSent"),
        "MessageReceived",
    ]
    mine = [fact for fact in facts if getattr(fact, "conversation_id", "") == results[0].item.conversation_id]
    assert [fact.version for fact in mine] == [1, 2, 3, 3, 4]  # type: ignore[attr-defined]
    last = facts[-1]
    assert isinstance(last, events_pb2.MessageReceived)
    assert last.handoff.mode == pb.HANDOFF_MODE_HUMAN
    answer = await stub(world, organization_id).ListMessages(
        pb.ListMessagesRequest(conversation_id=results[0].item.conversation_id)
    )
    assert [message.text for message in answer.messages] == ["third", "Olá!", "first, edited"]


async def test_fifty_parallel_first_batches_make_one_conversation_and_fifty_messages(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    async with await world.admin() as holder, holder.transaction():
        # Nobody may insert: every call comes to the point of making the conversation before any has made it.
        await holder.execute("lock table conversation.conversations in share row exclusive mode")
        calls = [
            asyncio.create_task(batch(world, reported.item(written(str(number), second=number), told(1))))
            for number in range(1, PARALLEL_BATCHES + 1)
        ]
        await world.until_waiting_on_locks(POOL_CONNECTIONS)
    results = [result.item for [result] in await asyncio.gather(*calls)]
    assert len({result.conversation_id for result in results}) == 1
    assert len({result.message_id for result in results}) == PARALLEL_BATCHES
    assert sum(result.conversation_created for result in results) == 1
    conversations, messages = await kept(world, organization_id)
    assert (len(conversations), len(messages)) == (1, PARALLEL_BATCHES)
    assert len(await world.announced(events_pb2.ConversationCreated, organization_id)) == 1
    received = await world.announced(events_pb2.MessageReceived, organization_id)
    assert sorted(fact.version for fact in received) == list(range(1, PARALLEL_BATCHES + 1))


async def test_one_message_told_by_parallel_batches_is_stored_and_announced_once(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    await batch(world, reported.item(None, told(1)))
    async with await world.admin() as holder, holder.transaction():
        await holder.execute(
            "select from conversation.conversations where organization_id = %s for update", [organization_id]
        )
        calls = [asyncio.create_task(batch(world, reported.item(written("1"), told(2)))) for _ in range(5)]
        await world.until_waiting_on_locks(5)
    results = [result.item for [result] in await asyncio.gather(*calls)]
    assert sum(result.message_created for result in results) == 1
    assert sum(not result.unchanged for result in results) == 1
    assert len(await world.announced(events_pb2.MessageReceived, organization_id)) == 1


async def test_an_update_before_its_creation_stores_the_message_once_as_it_is_now(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    delivered = answered("1", "at four", state=pb.MESSAGE_STATE_DELIVERED)
    await batch(world, reported.item(delivered, told(2)))
    [late] = await batch(world, reported.item(answered("1", "at three", state=pb.MESSAGE_STATE_SENT), told(1)))
    assert late.item.unchanged
    _, [message] = await kept(world, organization_id)
    assert (message["text"], message["state"]) == ("at four", "DELIVERED")
    assert len(await world.announced(events_pb2.MessageSent, organization_id)) == 1


async def test_a_conversation_told_again_keeps_its_unread_number_and_who_answers(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id, contact_id=str(uuid4()))
    created = reported.item(None, told(1, unread_count=0))
    await batch(world, created, reported.item(written("1"), told(2, unread_count=1)))
    await batch(world, reported.item(echoed("2", second=1), told(2, unread_count=1)))
    before = await conversation(world, reported)
    [again] = await batch(world, created)
    after = await conversation(world, reported)
    assert again.item.unchanged
    assert after == before
    assert (after.unread_count, after.handoff.mode) == (1, pb.HANDOFF_MODE_HUMAN)


async def test_a_stale_report_changes_no_state(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    newest = told(9, state=pb.CONVERSATION_STATE_RESOLVED, labels=["vip"], assignee_name="Ana")
    await batch(world, reported.item(None, newest))
    [stale] = await batch(world, reported.item(None, told(8, labels=[HANDOFF_LABEL], assignee_name="Bia")))
    assert stale.item.unchanged
    now = await conversation(world, reported)
    assert (now.state, list(now.labels), now.assignee_name) == (pb.CONVERSATION_STATE_RESOLVED, ["vip"], "Ana")
    assert await world.announced(events_pb2.ConversationUpdated, organization_id) == []


@pytest.mark.parametrize(
    ("source", "named"), [(options_pb2.SOURCE_WHATSAPP, "echo_wa"), (options_pb2.SOURCE_INSTAGRAM, "echo_ig")]
)
async def test_an_echo_hands_over_and_a_resume_is_not_undone_by_its_redelivery(
    world: World, organization_id: UUID, source: options_pb2.Source.ValueType, named: str
) -> None:
    reported = Reported(organization_id, source=source)
    echo = reported.item(echoed("2", second=1), told(1))
    await batch(world, reported.item(written("1"), told(1)))
    [handed] = await batch(world, echo)
    assert handed.item.handoff == pb.HANDOFF_MODE_HUMAN
    [changed] = await world.announced(events_pb2.HandoffChanged, organization_id)
    assert (changed.handoff.mode, changed.handoff.source) == (pb.HANDOFF_MODE_HUMAN, named)

    later = int(START.timestamp()) * 1_000_000 + 60_000_000
    await batch(world, reported.item(None, told(later, labels=[HANDOFF_LABEL])), reported.item(None, told(later + 1)))
    [again] = await batch(world, echo)
    assert again.item.unchanged
    assert again.item.handoff == pb.HANDOFF_MODE_AI


async def test_an_echo_whose_update_came_first_is_kept_as_one_and_hands_over(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    await batch(world, reported.item(echoed("1", author=pb.MESSAGE_AUTHOR_AGENT), told(1)))
    await batch(world, reported.item(echoed("1", author_settled=True), told(1)))
    assert (await conversation(world, reported)).handoff.mode == pb.HANDOFF_MODE_HUMAN
    _, [message] = await kept(world, organization_id)
    assert message["author"] == "NATIVE_APP"


async def test_the_handoff_label_is_followed_both_ways(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    await batch(world, reported.item(written("1"), told(1)))
    await batch(world, reported.item(None, told(2, labels=["vip", HANDOFF_LABEL])))
    await batch(world, reported.item(None, told(3, labels=["vip"])))
    changed = await world.announced(events_pb2.HandoffChanged, organization_id)
    assert [(fact.handoff.mode, fact.handoff.source) for fact in changed] == [
        (pb.HANDOFF_MODE_HUMAN, "webhook"),
        (pb.HANDOFF_MODE_AI, "webhook"),
    ]


async def test_a_deleted_message_keeps_no_content_anywhere_but_in_facts_told_before(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    photo = pb.Attachment(type="image", url="https://files.example.com/1.jpg", name="1.jpg", size=2048)
    await batch(world, reported.item(written("1", "secret", attachments=[photo]), told(1)))
    await batch(world, reported.item(written("1", "Esta mensagem foi excluída", deleted=True), told(1)))
    [again] = await batch(world, reported.item(written("1", "secret", attachments=[photo]), told(1)))
    assert again.item.unchanged
    [row], [message] = await kept(world, organization_id)
    assert (message["deleted"], message["text"], message["attachments"]) == (True, "", [])
    assert row["last_message_preview"] == ""
    [updated] = await world.announced(events_pb2.MessageUpdated, organization_id)
    assert updated.message.deleted
    assert updated.message.text == ""


async def test_a_message_state_never_goes_back(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    reading = [pb.MESSAGE_STATE_SENT, pb.MESSAGE_STATE_READ, pb.MESSAGE_STATE_DELIVERED, pb.MESSAGE_STATE_FAILED]
    await batch(world, *(reported.item(answered("1", state=state), told(1)) for state in reading))
    _, [message] = await kept(world, organization_id)
    assert message["state"] == "READ"
    [updated] = await world.announced(events_pb2.MessageUpdated, organization_id)
    assert updated.message.state == pb.MESSAGE_STATE_READ


async def test_organizations_with_the_same_provider_ids_are_kept_apart(world: World) -> None:
    mine, theirs = Reported(uuid4()), Reported(uuid4())
    # Even the same connection and channel, which never happens, would not mix them.
    same = Reported(uuid4(), connection_id=mine.connection_id, channel_id=mine.channel_id)
    results = await batch(
        world,
        *(reported.item(written("1", f"to {reported.organization_id}"), told(1)) for reported in (mine, theirs, same)),
    )
    assert all(result.item.conversation_created and result.item.message_created for result in results)
    for reported, result in zip((mine, theirs, same), results, strict=True):
        seen = await conversation(world, reported)
        assert seen.conversation_id == result.item.conversation_id
        assert seen.last_message_preview == f"to {reported.organization_id}"
        [received] = await world.announced(events_pb2.MessageReceived, reported.organization_id)
        assert received.message.text == f"to {reported.organization_id}"
    foreign = stub(world, mine.organization_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await foreign.ListMessages(pb.ListMessagesRequest(conversation_id=results[1].item.conversation_id))
    assert error_info(refused.value).reason == "CONVERSATION_NOT_FOUND"


async def test_a_poisoned_item_stands_alone(world: World, organization_id: UUID) -> None:
    reported = [Reported(organization_id, str(number)) for number in range(1, 10)]
    items = [one.item(written(one.provider_conversation_id), told(1)) for one in reported]
    items[4].message.text = "PostgreSQL keeps no \0"
    items[6].contact_id = "nobody"
    items[7].source = options_pb2.SOURCE_UNSPECIFIED
    items[8].message.direction = pb.MESSAGE_DIRECTION_UNSPECIFIED
    results = await batch(world, *items)
    good = [0, 1, 2, 3, 5]
    assert [place for place, result in enumerate(results) if result.HasField("item")] == good
    reasons = [from_status(results[place].error).reason for place in (4, 6, 7, 8)]
    assert reasons == ["TEXT_UNSTORABLE", "ID_INVALID", "SOURCE_MISSING", "DIRECTION_MISSING"]
    conversations, messages = await kept(world, organization_id)
    assert (len(conversations), len(messages)) == (len(good), len(good))


async def test_what_comes_after_a_failed_item_of_its_conversation_waits_to_be_sent_again(
    world: World, organization_id: UUID
) -> None:
    unstorable, unreadable, fine = (Reported(organization_id, number) for number in ("1", "2", "3"))
    items = [
        unstorable.item(written("1", second=1)),
        unstorable.item(written("2", "PostgreSQL keeps no \0", second=2)),
        unreadable.item(written("4", second=1), contact_id="nobody"),
        fine.item(written("6", second=1)),
        unstorable.item(written("3", second=3)),
        unreadable.item(written("5", second=2)),
        fine.item(written("7", second=2)),
    ]
    results = await batch(world, *items)
    assert [result.HasField("item") for result in results] == [True, False, False, True, False, False, True]
    errors = [from_status(results[place].error) for place in (1, 2, 4, 5)]
    held_back = ["EARLIER_ITEM_FAILED"] * 2
    assert [error.reason for error in errors] == ["TEXT_UNSTORABLE", "ID_INVALID", *held_back]
    assert isinstance(errors[2], Aborted)
    _, messages = await kept(world, organization_id)
    assert len(messages) == 3


async def test_a_message_of_another_conversation_is_refused_and_makes_no_conversation(
    world: World, organization_id: UUID
) -> None:
    reported = Reported(organization_id)
    other = Reported(organization_id, "392", connection_id=reported.connection_id, channel_id=reported.channel_id)
    await batch(world, reported.item(written("1"), told(1)))
    [refused] = await batch(world, other.item(written("1"), told(1)))
    assert from_status(refused.error).reason == "MESSAGE_OF_OTHER_CONVERSATION"
    conversations, messages = await kept(world, organization_id)
    assert (len(conversations), len(messages)) == (1, 1)


@pytest.mark.parametrize("days_ago", [0, 40, 150, 400, 20_000])
async def test_a_message_of_any_month_finds_its_partition(world: World, organization_id: UUID, days_ago: int) -> None:
    reported = Reported(organization_id)
    moment = START - timedelta(days=days_ago)
    message = written("1")
    message.create_time.FromDatetime(moment)
    [result] = await batch(world, reported.item(message, told(1)))
    assert result.item.message_created
    [again] = await batch(world, reported.item(message, told(1)))
    assert again.item.unchanged
    _, [row] = await kept(world, organization_id)
    assert row["create_time"] == moment


async def test_a_message_of_the_future_was_written_when_it_was_heard_of(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    message = written("1")
    message.create_time.FromDatetime(START + timedelta(days=36_500))
    item = reported.item(message, told(1))
    await batch(world, item)
    _, [row] = await kept(world, organization_id)
    assert row["create_time"] == item.receive_time.ToDatetime(tzinfo=START.tzinfo)


async def test_a_message_whose_month_was_let_go_is_still_known(world: World, organization_id: UUID) -> None:
    reported = Reported(organization_id)
    item = reported.item(written("1"), told(1))
    [first] = await batch(world, item)
    async with await world.admin() as admin:
        await admin.execute("delete from conversation.messages where organization_id = %s", [organization_id])
    [again] = await batch(world, item)
    assert again.item.unchanged
    assert again.item.message_id == first.item.message_id


@pytest.mark.parametrize("merged", [True, False])
async def test_a_conversation_id_that_is_told_of_who_was_merged_is_no_other_conversation(
    world: World, organization_id: UUID, merged: bool
) -> None:
    loser, survivor = uuid4(), uuid4()
    reported = Reported(organization_id, contact_id=str(loser))
    begun, another = Timestamp(), Timestamp()
    begun.FromDatetime(START)
    another.FromDatetime(START + timedelta(hours=1))
    await batch(world, reported.item(written("1"), provider_create_time=begun))
    if merged:
        redirect = ContactRedirect(contact_id=str(loser), surviving_contact_id=str(survivor), version=1)
        event = ConsumedEvent(
            ContactsMerged(organization_id=str(organization_id), redirects=[redirect]),
            *(uuid4(), organization_id, START, ""),
        )
        async with world.database("conversation").transaction(organization_id) as tx:
            await REDIRECTS.handle(tx, [event])
    # What is told of its beginning differs, as it may of one person's: of somebody else it would be an id given again.
    again = reported.item(written("2", second=9), provider_create_time=another, contact_id=str(survivor))
    [result] = await batch(world, again)
    assert result.item.conversation_created is not merged
    conversations, _ = await kept(world, organization_id)
    assert len(conversations) == (1 if merged else 2)
