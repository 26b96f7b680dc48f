"""A minute of a busy school: a few dozen conversations on both channels, drawn from a seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from sandbox.chatwoot.dialogues import DIALOGUES, FIRST_NAMES, FROM_THE_OTHER_CHANNEL, LAST_NAMES, Line
from sandbox.chatwoot.people import Person, igsid_of, phone_of, username_of
from sandbox.chatwoot.records import Agent, Conversation, Inbox, Message
from sandbox.chatwoot.world import World

CONVERSATION_COUNT = 36
DURATION_SECONDS = 60.0
BOTH_CHANNELS_EVERY = 9
"""Every ninth person writes on the other channel too."""
INSTAGRAM_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that one person, or an agent for them, does at a time counted from the start."""

    at_seconds: float
    inbox: str
    person: Person
    line: Line


class Traffic:
    """The conversations of one seed; the same seed gives the same people, words and times."""

    def __init__(
        self, seed: int, *, conversation_count: int = CONVERSATION_COUNT, duration_seconds: float = DURATION_SECONDS
    ) -> None:
        self._seed = seed
        self._conversation_count = conversation_count
        self._duration_seconds = duration_seconds

    def people(self) -> list[Person]:
        """Everyone who will write, each with a number and an Instagram id of their own."""
        draw = random.Random(self._seed)  # noqa: S311 - the demo must repeat
        names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
        draw.shuffle(names)
        return [
            Person(
                name=names[index % len(names)],
                phone=phone_of(1000 + index),
                igsid=igsid_of(40_012_100_000 + index * 7919),
                username=username_of(names[index % len(names)]),
            )
            for index in range(self._conversation_count)
        ]

    def steps(self) -> list[Step]:
        """All steps in the order of their times, within the duration."""
        draw = random.Random(self._seed + 1)  # noqa: S311 - the demo must repeat
        steps: list[Step] = []
        for index, person in enumerate(self.people()):
            inbox = "instagram" if draw.random() < INSTAGRAM_SHARE else "whatsapp"
            begin = self._duration_seconds * 0.7 * index / max(1, self._conversation_count)
            dialogue = DIALOGUES[index % len(DIALOGUES)]
            end = self._spread(steps, draw, begin, inbox, person, dialogue)
            if index % BOTH_CHANNELS_EVERY == 0:
                other = "whatsapp" if inbox == "instagram" else "instagram"
                self._spread(steps, draw, end, other, person, FROM_THE_OTHER_CHANNEL)
        return sorted(steps, key=lambda step: step.at_seconds)

    def _spread(
        self,
        steps: list[Step],
        draw: random.Random,
        begin: float,
        inbox: str,
        person: Person,
        dialogue: Iterable[Line],
    ) -> float:
        at = begin
        for line in dialogue:
            steps.append(Step(min(at, self._duration_seconds), inbox, person, line))
            # People take a few seconds to answer; the scale keeps a short demo's dialogues inside it.
            at += draw.uniform(0.01, 0.06) * self._duration_seconds
        return at


class Player:
    """Plays steps in a world, remembering which conversation each person is in."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._conversations: dict[tuple[str, Person], Conversation] = {}
        self._answered: dict[int, Message] = {}

    def apply(self, step: Step) -> None:
        """Does the step now."""
        inbox = self._world.setup.inbox(step.inbox)
        if inbox is None:
            raise LookupError(f"The world has no {step.inbox} inbox.")
        if step.line.who == "customer":
            self._customer(inbox, step)
        else:
            self._agent(self._conversations[step.inbox, step.person], step.line)

    def _customer(self, inbox: Inbox, step: Step) -> None:
        message = self._world.incoming_message(inbox, step.person, step.line.text)
        self._conversations[step.inbox, step.person] = message.conversation
        answered = self._answered.pop(message.conversation.id, None)
        if answered is not None:
            self._world.status_update(answered, "read")

    def _agent(self, conversation: Conversation, line: Line) -> None:
        world, agent = self._world, self._someone(conversation)
        match line.who:
            case "agent":
                message = world.agent_reply(conversation, agent, line.text)
                world.provider_accepts(message)
                world.status_update(message, "delivered")
                self._answered[conversation.id] = message
            case "echo":
                world.native_app_echo(conversation, line.text)
            case "note":
                world.private_note(conversation, agent, line.text)
            case "label":
                world.add_label(conversation, line.text)
            case "resolve":
                world.resolve(conversation)
            case "assign":
                world.assign(conversation, agent)
            case "delete":
                world.delete_message(
                    next(m for m in reversed(conversation.messages) if m.sender == conversation.contact)
                )
            case unknown:
                raise ValueError(unknown)

    def _someone(self, conversation: Conversation) -> Agent:
        agents = list(self._world.setup.agents.values())
        return agents[conversation.id % len(agents)]


async def play(
    world: World, steps: Iterable[Step], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> int:
    """Plays the steps at their times and says how many there were."""
    player, elapsed, count = Player(world), 0.0, 0
    for step in steps:
        await sleep(max(0.0, step.at_seconds - elapsed))
        elapsed = step.at_seconds
        player.apply(step)
        count += 1
    return count
