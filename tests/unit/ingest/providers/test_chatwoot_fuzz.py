"""Damaged payloads, with fields gone, replaced or moved and bytes flipped: nothing raises, no secret stays."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.canonical import CANONICAL_KEY
from services.ingest.normal_form import Ignored, Invalid, NormalEvent
from services.ingest.providers.blanking import blank_secrets
from services.ingest.providers.chatwoot.parse import parse
from services.ingest.providers.chatwoot.shape import flatten, ordering_key
from tests.unit.ingest.samples import CONTEXT, NAMES, body, sample

SEEDS_MAX = 60
MUTANTS_PER_SEED = 40
STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**63, 10**30, "", "\x00", "undefined", "+123456", "é" * 300, [], [[]], [None]),
    *({}, {"id": {}}, {"": 1}, [{"a": [1]}], "5120", 5120, "2026-07-20", "incoming", "Channel::Api", 1e300),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every field and element below a value as (container, key)."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(children):
        yield value, key
        yield from places(child)


def mutate(payload: dict[str, Any], chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        found = list(places(payload))
        if not found:
            return
        container, key = chance.choice(found)
        change = chance.random()
        if change < 0.3 and isinstance(container, dict):
            del container[key]
        elif change < 0.7:
            container[key] = copy.deepcopy(chance.choice(STRANGE))
        else:
            other, other_key = chance.choice(found)
            container[key] = copy.deepcopy(other[other_key])


def texts_of(value: object) -> Iterator[str]:
    """Yields every text a normal event would have us store."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from texts_of(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from texts_of(getattr(value, field.name))


def check(raw: bytes) -> None:
    parsed = parse(raw, CONTEXT)
    assert isinstance(parsed, NormalEvent | Ignored | Invalid)
    for text in texts_of(parsed):
        assert "\x00" not in text
        text.encode("utf-8")
    if isinstance(parsed, NormalEvent):
        key = parsed.person.key
        person = parsed.person
        named = person.needs_region or person.aliases or parsed.requires_known_alias
        assert CANONICAL_KEY.fullmatch(key) if key is not None else named
        assert parsed.channel is None or parsed.channel in CONTEXT.channels.values()


@settings(max_examples=SEEDS_MAX, deadline=None, database=None)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_no_damaged_payload_raises_or_makes_an_unreal_person(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(MUTANTS_PER_SEED):
        payload = sample(chance.choice(NAMES))
        mutate(payload, chance)
        raw = json.dumps(payload, separators=(",", ":")).encode()  # writes integers of any size
        check(raw)
        assert isinstance(ordering_key(payload), str)
        flatten(payload)
        blanked = blank_secrets(raw)
        assert all(other.get("pubsub_token") in (None, "", "[blanked]") for other in objects(orjson.loads(blanked)))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from objects(child)


@settings(max_examples=SEEDS_MAX, deadline=None, database=None)
@given(seed=st.integers(min_value=0, max_value=2**64))
def test_no_flipped_byte_raises_or_saves_a_secret(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(MUTANTS_PER_SEED):
        raw = bytearray(body(sample(chance.choice(NAMES))))
        # Outside the secret's own field: a name or value that was changed itself is no secret any more.
        name = raw.find(b'"pubsub_token"')
        for _ in range(chance.choice([1, 2, 10])):
            place = chance.randrange(len(raw))
            if not name - 2 <= place <= name + 60:
                raw[place] = chance.randrange(256)
        if chance.random() < 0.2:
            raw = raw[: chance.randrange(len(raw))]
        check(bytes(raw))
        assert b"cwExPubSubTk0000" not in blank_secrets(bytes(raw))


@settings(max_examples=200, deadline=None, database=None)
@given(raw=st.binary(max_size=200))
def test_no_bytes_at_all_raise(raw: bytes) -> None:
    check(raw)
    blank_secrets(raw)


@settings(max_examples=200, deadline=None, database=None)
@given(
    root=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["event", "id", "conversation", "message", "contact", "inbox", "meta", "sender"]), inner
            )
        ),
        max_leaves=15,
    ),
    event=st.sampled_from(["message_created", "conversation_created", "contact_updated", "conversation_updated"]),
)
def test_any_json_with_a_known_event_is_read(root: Any, event: str) -> None:
    payload = {**root, "event": event} if isinstance(root, dict) else {"event": event, "conversation": root}
    assert isinstance(ordering_key(payload), str)
    flatten(payload)
    try:
        raw = orjson.dumps(payload)
    except TypeError:  # integers beyond 64 bits cannot be written, and are read as floats
        return
    check(raw)
