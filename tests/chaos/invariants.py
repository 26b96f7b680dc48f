"""What must be true when all is quiet again, each with what was counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import events_pb2
from tests.chaos.correspondence import Correspondence, Letter, Said
from tests.chaos.observer import Observer, in_every_service
from tests.chaos.reader import Reader
from tests.chaos.sender import ANSWER_SECONDS_MAX, Answer, Outages

EXAMPLES_MAX = 3
RELAY_SECONDS = 30.0
"""How long a relay may take to see that its stream lost facts, and to publish them again."""
CRIES = (
    "job_failed",
    "rpc_failed",
    "fact_not_consumed",
    "batch_item_failed",
    "unexpected error",
    "Traceback",
    "was never",
)
"""What no log may hold: a process got over everything that was done to it without an error of its own."""


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant and how it was found."""

    sentence: str
    holds: bool
    counted: str


def check(sentence: str, wrong: Iterable[object], counted: str) -> Check:
    """Holds when nothing is wrong; else says how much is, with a few examples."""
    found = list(wrong)
    if not found:
        return Check(sentence, True, counted)
    examples = "; ".join(str(item) for item in found[:EXAMPLES_MAX])
    return Check(sentence, False, f"{counted}, wrong: {len(found)} ({examples})")


def answers_in_time(answers: Sequence[Answer], outages: Outages) -> list[Check]:
    """What the gateway may say, and how late; nothing is asked of it while its own process was dead or frozen."""
    judged = [answer for answer in answers if not outages.touch(answer)]
    slowest = max((answer.seconds for answer in judged), default=0.0)
    odd = [answer for answer in judged if answer.status != 200 and not (answer.status == 503 and answer.retry_after)]
    late = [round(answer.seconds, 2) for answer in judged if answer.seconds > ANSWER_SECONDS_MAX]
    return [
        check("the gateway answered 200 or 503 with Retry-After", odd, f"{len(judged)} answers"),
        check(f"every answer came within {ANSWER_SECONDS_MAX:g} s", late, f"the slowest took {slowest:.2f} s"),
    ]


async def stored_and_done(observer: Observer, accepted: Mapping[UUID, Letter]) -> list[Check]:
    """Every 200 has its webhook event, processed; nothing waits, nothing is dead."""
    rows = {row["id"]: row for row in await observer.rows("select id, event, state, reason from ingest.webhook_events")}
    missing = [event_id for event_id in accepted if event_id not in rows]
    undone = [
        (letter.name, rows[event_id]["state"], rows[event_id]["reason"])
        for event_id, letter in accepted.items()
        if event_id in rows
        and rows[event_id]["state"] != "PROCESSED"
        and not (rows[event_id]["state"] == "IGNORED" and letter.may_be_ignored)
    ]
    states = Counter(row["state"] for row in rows.values())
    pending = [row["id"] for row in rows.values() if row["state"] == "PENDING"]
    queued = await observer.number("select count(*) from ingest.webhook_queue")
    dead = await observer.rows("select webhook_event_id, reason from ingest.dead_letters")
    return [
        check("every event answered 200 is stored", missing, f"{len(accepted)} webhook events"),
        check("every event answered 200 was processed", undone, _counts(states)),
        check("nothing waits", [*pending, *(["queued"] * queued)], f"{queued} in the queue"),
        check("no dead letters", [row["reason"] for row in dead], f"{len(dead)} dead letters"),
    ]


async def one_of_each(observer: Observer, correspondences: Sequence[Correspondence]) -> list[Check]:
    """One contact, identity, deal and conversation per person, whatever was sent twice or done twice."""
    wanted = {(item.source, item.external_id) for item in correspondences}
    identities = await observer.rows("select contact_id, source, external_id from identity.contact_identities")
    found = Counter((row["source"], row["external_id"]) for row in identities)
    contacts = {row["contact_id"] for row in await observer.rows("select contact_id from identity.contacts")}
    deals = Counter(row["contact_id"] for row in await observer.rows("select contact_id from crm.deals"))
    threads = Counter(
        (row["provider_conversation_id"], row["contact_id"])
        for row in await observer.rows("select provider_conversation_id, contact_id from conversation.conversations")
    )
    owners = {(row["source"], row["external_id"]): row["contact_id"] for row in identities}
    expected = {
        (item.provider_conversation_id, owners.get((item.source, item.external_id))) for item in correspondences
    }
    whose = {row["contact_id"] for row in identities}
    return [
        check("one identity per person", _difference(found, wanted), f"{len(identities)} identities"),
        check("one contact per person", contacts ^ whose, f"{len(contacts)} contacts of {len(wanted)} people"),
        check("one deal per contact", _difference(deals, contacts), f"{sum(deals.values())} deals"),
        check("one conversation per person", _difference(threads, expected), f"{sum(threads.values())} conversations"),
    ]


async def messages_in_order(observer: Observer, correspondences: Sequence[Correspondence]) -> list[Check]:
    """Each message once and in the order it was sent: by its own time, as recorded, and in the last preview."""
    rows = await observer.rows(
        "select provider_conversation_id, provider_message_id, text, direction, message.create_time, record_time,"
        " message_id, last_message_preview"
        " from conversation.messages message join conversation.conversations using (conversation_id)"
        " order by provider_conversation_id, record_time, message_id"
    )
    recorded: dict[str, list[Said]] = defaultdict(list)
    dated: dict[str, list[Any]] = defaultdict(list)
    previews: dict[str, str] = {}
    for row in rows:
        conversation = row["provider_conversation_id"]
        recorded[conversation].append(Said(row["provider_message_id"], row["text"], row["direction"] == "INBOUND"))
        dated[conversation].append(row["create_time"])
        previews[conversation] = row["last_message_preview"]
    total = sum(len(item.said) for item in correspondences)
    keys = await observer.number("select count(*) from conversation.message_keys")
    disordered = [number for number, times in dated.items() if times != sorted(times)]
    stale = [
        item.provider_conversation_id
        for item in correspondences
        if previews.get(item.provider_conversation_id) != item.said[-1].text
    ]
    return [
        check("messages are those that were sent", [] if len(rows) == total == keys else [len(rows), keys], f"{total}"),
        check("rows are in the order of sending", unlike(recorded, correspondences), f"{len(recorded)} conversations"),
        check("times are in the order of recording", disordered, f"{len(dated)} conversations"),
        check("every conversation shows its last message", stale, f"{len(previews)} conversations"),
    ]


async def feed_is_whole(observer: Observer, correspondences: Sequence[Correspondence]) -> list[Check]:
    """Every fact is in the feed once, those of a conversation in their order."""
    feed = await observer.rows(
        "select position, event_id, type, payload, xmin::text::bigint as transaction from ingest.feed order by position"
    )
    facts = await observer.rows(in_every_service("select event_id, type from {service}.outbox"))
    # A relay sees a loss at its next look: a store lost last may be filled once more just now.
    queued = await observer.left_over(in_every_service("select position from {service}.outbox_queue"), RELAY_SECONDS)
    failures = await observer.rows(
        in_every_service("select consumer, failure from {service}.consumed_events where failure is not null")
    )
    announced = {row["event_id"] for row in facts}
    repeated = [event_id for event_id, count in Counter(row["event_id"] for row in feed).items() if count > 1]
    told = _told(feed)
    return [
        check("every fact is in the feed", announced - {row["event_id"] for row in feed}, f"{len(announced)} facts"),
        check("nothing else is in the feed", {row["event_id"] for row in feed} - announced, f"{len(feed)} entries"),
        check("no fact is in the feed twice", repeated, f"{len(feed)} entries"),
        check("positions grow by commit", behind_others(feed), f"{len(feed)} entries"),
        check("messages are told once and in order", unlike(told, correspondences), f"{len(told)} conversations"),
        check("no outbox holds anything back", queued, f"{len(queued)} queued"),
        check("no consumer gave a fact up", [row["failure"] for row in failures], f"{len(failures)} failures"),
    ]


async def reader_saw_all(observer: Observer, reader: Reader) -> Check:
    """Who watched live and came back after each interruption has seen the whole feed, each fact once and in its place.

    A reader that has seen one position has seen all before it: none was committed behind its back.
    """
    rows = await observer.rows("select position, event_id from ingest.feed order by position")
    feed = [(row["position"], row["event_id"]) for row in rows]
    seen = set(reader.seen)
    missed: list[object] = [entry for entry in feed if entry not in seen]
    sentence = "who watched has seen every fact once, in order"
    counted = f"{len(reader.seen)} events over {reader.connection_count} connections"
    if reader.seen == feed:
        return Check(sentence, True, counted)
    return check(sentence, missed or [f"{len(reader.seen)} for {len(feed)}, or out of order"], counted)


def processes_lived(restarts: Mapping[str, int], kills: Mapping[str, int]) -> Check:
    """No process died but by our hand."""
    wrong = [
        f"{name} started {count} times more for {kills.get(name, 0)} kills"
        for name, count in restarts.items()
        if count != kills.get(name, 0)
    ]
    return check("no process died by itself", wrong, f"{sum(restarts.values())} restarts")


def logs_are_calm(directory: Path) -> Check:
    """No process met an error that it did not expect."""
    wrong = []
    for file in sorted(directory.glob("*.log*")):
        if file.name.partition(".")[0] in ("postgres", "nats", "redis"):
            continue
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        wrong += [f"{file.name}: {line[:300]}" for line in lines if any(cry in line for cry in CRIES)]
    return check("no log shows an unexpected error", wrong, f"{len(list(directory.glob('*.log*')))} logs")


def behind_others(feed: Sequence[Mapping[str, Any]]) -> list[int]:
    """The positions, of those in their order, that were written later than one behind them: a reader had passed by."""
    found: list[int] = []
    newest = 0
    for row in reversed(feed):
        if newest and row["transaction"] > newest:
            found.append(row["position"])
        newest = min(newest or row["transaction"], row["transaction"])
    return found[::-1]


def _told(feed: Sequence[Mapping[str, Any]]) -> dict[str, list[Said]]:
    """By the provider's conversation, the messages that the feed tells of, in its order."""
    told: dict[str, list[Said]] = defaultdict(list)
    conversations: dict[str, str] = {}
    for row in feed:
        name = row["type"].rpartition(".")[2]
        if name == "ConversationCreated":
            created = events_pb2.ConversationCreated.FromString(row["payload"]).conversation
            conversations[created.conversation_id] = created.provider_conversation_id
        elif name in ("MessageReceived", "MessageSent"):
            fact = getattr(events_pb2, name).FromString(row["payload"])
            inbound = fact.message.direction == conversation_pb.MESSAGE_DIRECTION_INBOUND
            conversation = conversations.get(fact.conversation_id, fact.conversation_id)
            told[conversation].append(Said(fact.message.provider_message_id, fact.message.text, inbound))
    return told


def unlike(found: Mapping[str, Sequence[Said]], correspondences: Sequence[Correspondence]) -> list[str]:
    """Where what was found of conversations, by the provider's id, is not exactly what was said in them."""
    wrong = []
    for item in correspondences:
        seen = list(found.get(item.provider_conversation_id, ()))
        if seen != item.said:
            place = next(
                (index for index, pair in enumerate(zip(seen, item.said, strict=False)) if pair[0] != pair[1]),
                min(len(seen), len(item.said)),
            )
            got = [said.text for said in seen[place : place + 2]]
            wrong.append(
                f"conversation {item.provider_conversation_id}: {len(seen)} of {len(item.said)},"
                f" at {place} {got} for {item.said[place : place + 1]}"
            )
    known = {item.provider_conversation_id for item in correspondences}
    return wrong + [f"conversation {number} is nobody's" for number in found.keys() - known]


def _difference(found: Counter[Any], wanted: Iterable[Any]) -> list[Any]:
    """What is there too often, not at all, or though nobody asked for it."""
    expected = Counter(dict.fromkeys(wanted, 1))
    return [*(found - expected).elements(), *(expected - found).elements()]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))
