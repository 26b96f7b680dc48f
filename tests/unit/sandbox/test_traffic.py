"""The demo's conversations: the same for a seed, on both channels, with someone who uses both."""

import hashlib

from sandbox.chatwoot.app import set_up_account
from sandbox.chatwoot.people import Person, phone_of
from sandbox.chatwoot.records import Event
from sandbox.chatwoot.sender import Pace
from sandbox.chatwoot.traffic import CONVERSATION_COUNT, DURATION_SECONDS, Traffic, play
from sandbox.chatwoot.world import World
from tests.unit.sandbox.clock import TickingClock


async def played(seed: int) -> tuple[World, list[Event], list[float]]:
    """Plays the traffic of a seed without waiting: the world, what it announced, the waits asked for."""
    world, events, waits = World(TickingClock(), seed=seed), list[Event](), list[float]()
    set_up_account(world)
    world.listen(events.append)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    await play(world, Traffic(seed).steps(), sleep=sleep)
    return world, events, waits


def digest(events: list[Event]) -> str:
    return hashlib.sha256(b"\n".join(event.body() for event in events)).hexdigest()


async def test_a_seed_decides_every_byte() -> None:
    first, again, other = (await played(11))[1], (await played(11))[1], (await played(12))[1]
    assert digest(first) == digest(again)
    assert digest(first) != digest(other)


async def test_a_minute_holds_a_few_dozen_conversations_on_both_channels() -> None:
    world, events, waits = await played(1)
    channels = [row.inbox.channel for row in world.conversations.values()]
    assert len(channels) >= CONVERSATION_COUNT
    assert min(channels.count("Channel::Whatsapp"), channels.count("Channel::Instagram")) >= 8
    assert 0 < sum(waits) <= DURATION_SECONDS
    assert {event.name for event in events} == {
        "contact_created",
        "contact_updated",
        "conversation_created",
        "conversation_updated",
        "conversation_status_changed",
        "message_created",
        "message_updated",
    }


async def test_some_people_write_on_both_channels() -> None:
    world, _, _ = await played(1)
    seen: dict[str, set[str]] = {}
    for row in world.conversations.values():
        seen.setdefault(row.contact.name, set()).add(row.inbox.channel)
    assert sum(len(channels) == 2 for channels in seen.values()) >= 3


def test_everyone_has_an_invented_number_and_id_of_their_own() -> None:
    people = Traffic(1, conversation_count=2000).people()
    assert len({person.phone for person in people}) == len({person.igsid for person in people}) == 2000
    assert phone_of(1234) == "+5511900001234"
    assert all((person.phone or "").startswith("+551190000") for person in people)


def test_a_name_alone_is_always_the_same_person() -> None:
    assert Person.named("Zé da Silva") == Person.named("Zé da Silva") != Person.named("Zé de Souza")


async def test_the_pace_keeps_to_its_schedule_even_when_it_is_behind() -> None:
    time, waits = [100.0], list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        time[0] += seconds

    pace = Pace(10, monotonic=lambda: time[0], sleep=sleep)
    assert await pace.next() == 100.0
    assert round(await pace.next(), 6) == 100.1
    time[0] = 100.35
    late = [round(await pace.next(), 6) for _ in range(3)]
    assert late == [100.2, 100.3, 100.4]
    assert [round(wait, 6) for wait in waits] == [0.1, 0.05]
    pace.restart()
    time[0] = 500.0
    assert await pace.next() == 500.0
