"""What the account announces when people write, and how it finds them again."""

import json
from collections.abc import Callable

import pytest

from sandbox.chatwoot.account_setup import RefusedError
from sandbox.chatwoot.app import set_up_account
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import Event, Inbox
from sandbox.chatwoot.world import CONTENT_LENGTH_MAX, World
from tests.unit.sandbox.clock import TickingClock

ANA = Person("Ana Quintela", phone="+5511900000001", igsid="7730000000000001", username="ana.q")


@pytest.fixture
def world() -> World:
    made = World(TickingClock(), seed=1)
    set_up_account(made, evolution_inbox_id=3)
    return made


@pytest.fixture
def announced(world: World) -> list[Event]:
    events: list[Event] = []
    world.listen(events.append)
    return events


def inbox(world: World, name: str) -> Inbox:
    found = world.setup.inbox(name)
    assert found is not None
    return found


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def test_a_first_message_announces_contact_conversation_message_and_activity(
    world: World, announced: list[Event]
) -> None:
    world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi")
    assert names(announced) == ["contact_created", "conversation_created", "message_created", "contact_updated"]


def test_a_reply_and_its_fate_announce_what_the_real_one_announces(world: World, announced: list[Event]) -> None:
    conversation = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    announced.clear()
    reply = world.agent_reply(conversation, world.setup.agents[2], "Olá!")
    assert reply.source_id is None
    world.provider_accepts(reply)
    world.status_update(reply, "delivered")
    world.status_update(reply, "read")
    assert names(announced) == ["message_created", "conversation_updated", *["message_updated"] * 3]


def test_one_click_on_resolve_announces_twice_and_writes_an_activity_that_is_not_announced(
    world: World, announced: list[Event]
) -> None:
    conversation = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    announced.clear()
    world.resolve(conversation)
    assert names(announced) == ["conversation_status_changed", "conversation_updated"]
    assert json.loads(announced[0].body())["changed_attributes"] is None
    assert [message.message_type for message in conversation.messages] == [0, 2]


def test_after_resolve_a_new_conversation_begins_unless_the_inbox_locks_to_one(world: World) -> None:
    whatsapp = inbox(world, "whatsapp")
    first = world.incoming_message(whatsapp, ANA, "Oi").conversation
    world.resolve(first)
    second = world.incoming_message(whatsapp, ANA, "Voltei").conversation
    assert second is not first
    whatsapp.lock_to_single_conversation = True
    world.resolve(second)
    assert world.incoming_message(whatsapp, ANA, "De novo").conversation is second
    assert second.status == "open"


def test_a_person_is_one_contact_per_address_and_meets_again_by_phone(world: World) -> None:
    on_whatsapp = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    on_evolution = world.incoming_message(inbox(world, "evolution"), ANA, "Oi").conversation
    on_instagram = world.incoming_message(inbox(world, "instagram"), ANA, "Oi").conversation
    assert on_whatsapp.contact is on_evolution.contact
    assert on_instagram.contact is not on_whatsapp.contact
    assert on_evolution.contact_inbox.source_id.count("-") == 4


def test_an_evolution_group_is_found_again_by_its_identifier(world: World) -> None:
    group = Person("Turma B (GROUP)", identifier="120363000000000001@g.us")
    first = world.incoming_message(
        inbox(world, "evolution"), group, "**+55 (11) 90000-0002 - Bia:**\n\nOi"
    ).conversation
    again = world.incoming_message(
        inbox(world, "evolution"), group, "**+55 (11) 90000-0003 - Leo:**\n\nOi"
    ).conversation
    assert first is again
    assert (first.contact.phone_number, first.contact.identifier) == (None, group.identifier)


def test_a_hidden_number_leaves_only_the_business_scoped_id(world: World) -> None:
    row = world.incoming_message(inbox(world, "whatsapp"), Person("Bia", bsuid="BR.1A2b3C"), "Oi").conversation
    assert (row.contact_inbox.source_id, row.contact.phone_number) == ("BR.1A2b3C", None)


def test_an_evolution_echo_is_told_by_its_source_id_and_others_by_their_flag(world: World) -> None:
    there = world.incoming_message(inbox(world, "evolution"), ANA, "Oi").conversation
    here = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    theirs, ours = world.native_app_echo(there, "Oi!"), world.native_app_echo(here, "Oi!")
    assert theirs.sender is world.setup.agents[1]
    assert (theirs.source_id or "").startswith("WAID:")
    assert ours.sender is None
    assert ours.content_attributes == {"external_echo": True}


def test_an_unchanged_set_of_labels_announces_nothing(world: World, announced: list[Event]) -> None:
    conversation = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    world.add_label(conversation, "vip")
    announced.clear()
    world.set_labels(conversation, ["vip", "vip"])
    assert announced == []


@pytest.mark.parametrize(
    "act",
    [
        lambda world: world.incoming_message(inbox(world, "instagram"), Person("Sem Id", phone="+5511900000009"), "Oi"),
        lambda world: world.incoming_message(inbox(world, "whatsapp"), ANA, "x" * (CONTENT_LENGTH_MAX + 1)),
        lambda world: world.setup.add_webhook("ftp://example.example/x"),
        lambda world: world.setup.add_webhook("http://example.example/x", subscriptions=("message_deleted",)),
        lambda world: world.setup.add_inbox("Channel::Fax", "Fax"),
    ],
)
def test_what_chatwoot_refuses_is_refused(world: World, act: Callable[[World], object]) -> None:
    with pytest.raises(RefusedError):
        act(world)


def test_a_late_body_shows_the_state_of_the_time_it_is_read() -> None:
    world = World(TickingClock(), build_late=True)
    set_up_account(world)
    events: list[Event] = []
    world.listen(events.append)
    conversation = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    world.resolve(conversation)
    created = next(event for event in events if event.name == "message_created")
    assert json.loads(created.body())["conversation"]["status"] == "resolved"


def test_an_early_body_keeps_the_state_of_its_time(world: World, announced: list[Event]) -> None:
    conversation = world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi").conversation
    world.resolve(conversation)
    created = next(event for event in announced if event.name == "message_created")
    assert json.loads(created.body())["conversation"]["status"] == "open"


def test_a_lone_surrogate_never_reaches_the_wire(world: World, announced: list[Event]) -> None:
    world.incoming_message(inbox(world, "whatsapp"), ANA, "Oi \ud83d")
    assert json.loads(announced[2].body())["content"] == "Oi ?"
