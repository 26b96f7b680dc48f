"""Who writes during a run and what they say: every body of the run, drawn from the seed before the first is sent.

A correspondence is one person's side of one conversation. Its events are sent in their order, one after the other, so
what must stand in the rows and in the feed afterwards is known.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

from sandbox.chatwoot.people import Person, igsid_of, phone_of
from sandbox.chatwoot.records import INSTAGRAM, WHATSAPP, Agent, Event, Inbox
from sandbox.chatwoot.world import World

ACCOUNT_ID = 7
WHATSAPP_INBOX, INSTAGRAM_INBOX = 21, 22
EVENTS_PER_CORRESPONDENCE = 30
CORRESPONDENCES_MIN = 40
REPLY_SHARE = 0.15
"""How often an agent answers; each answer is followed by its statuses."""
SENT_KINDS = frozenset({"contact_created", "conversation_created", "message_created", "message_updated"})
"""What the account's webhook subscribes to."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message as it must be found afterwards."""

    provider_message_id: str
    text: str
    inbound: bool


@dataclass(slots=True)
class Letter:
    """One webhook of a correspondence: its raw body, and whether it may come to nothing."""

    name: str
    body: bytes

    @property
    def may_be_ignored(self) -> bool:
        """Contact events about somebody who has not written yet are noted and left at that."""
        return self.name.startswith("contact_")


@dataclass(slots=True)
class Correspondence:
    """One person's letters in order, and what they make."""

    source: str
    external_id: str
    provider_conversation_id: str = ""
    letters: list[Letter] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)


class _Steps:
    """A clock that goes a second further with every turn: no two messages of the run are of the same time."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def step(self) -> None:
        self._now += timedelta(seconds=1)


def draw_correspondences(seed: int, event_count: int, end: datetime) -> list[Correspondence]:
    """At least so many events, over many conversations on two channels; written shortly before ``end``."""
    draw = random.Random(f"{seed} correspondences")
    steps = _Steps(end.astimezone(UTC).replace(microsecond=0) - timedelta(seconds=2 * event_count))
    world = World(steps.now, seed=seed, account_id=ACCOUNT_ID)
    inboxes = (
        world.setup.add_inbox(WHATSAPP, "WhatsApp", inbox_id=WHATSAPP_INBOX),
        world.setup.add_inbox(INSTAGRAM, "Instagram", inbox_id=INSTAGRAM_INBOX),
    )
    agent = world.setup.add_agent("Bruna Sales", "bruna@example.com")
    count = max(CORRESPONDENCES_MIN, event_count // EVENTS_PER_CORRESPONDENCE)
    desk = _Desk(world, agent, draw, [(_person(number), inboxes[number % 2]) for number in range(count)])
    while desk.letter_count < event_count:
        for number in range(count):
            desk.turn(number)
            steps.step()
    return desk.correspondences


def _person(number: int) -> Person:
    return Person(f"Pessoa {number}", phone=phone_of(20_000 + number), igsid=igsid_of(30_000_000 + number))


class _Desk:
    """Lets people write in turn and keeps what the account announces of each."""

    def __init__(self, world: World, agent: Agent, draw: random.Random, people: list[tuple[Person, Inbox]]) -> None:
        self._world = world
        self._agent = agent
        self._draw = draw
        self._people = people
        self._heard: list[Event] = []
        world.listen(self._heard.append)
        self.letter_count = 0
        self.correspondences = [
            Correspondence("WHATSAPP", person.phone or "")
            if inbox.channel == WHATSAPP
            else Correspondence("INSTAGRAM", person.igsid or "")
            for person, inbox in people
        ]

    def turn(self, number: int) -> None:
        """One person writes, or is answered."""
        correspondence = self.correspondences[number]
        person, inbox = self._people[number]
        text = f"mensagem {len(correspondence.said) + 1} da conversa {number}"
        if correspondence.said and self._draw.random() < REPLY_SHARE:
            conversation = self._world.conversations[int(correspondence.provider_conversation_id)]
            message = self._world.agent_reply(conversation, self._agent, text)
            self._world.provider_accepts(message)
            self._world.status_update(message, "delivered")
            inbound = False
        else:
            message = self._world.incoming_message(inbox, person, text)
            correspondence.provider_conversation_id = str(message.conversation.id)
            inbound = True
        correspondence.said.append(Said(str(message.id), text, inbound))
        letters = [Letter(event.name, event.body()) for event in self._heard if event.name in SENT_KINDS]
        self._heard.clear()
        correspondence.letters += letters
        self.letter_count += len(letters)


def message_id_of(letter: Letter) -> str:
    """The provider's id of the message a letter is about."""
    return str(orjson.loads(letter.body)["id"])
