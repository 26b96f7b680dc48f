"""What a persona says without a model."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from uuid import UUID

import pytest

from services.conversation.personas.persona import Persona, ReplyTemplate
from services.conversation.speaking import scripted
from services.conversation.speaking.zones import local_time

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIA = Persona(
    UUID(int=1),
    UUID(int=2),
    "Lia",
    NOON,
    morning_greeting="Bom dia!",
    afternoon_greeting="Boa tarde!",
    evening_greeting="Boa noite!",
    fallback_texts=("Já chamo alguém.", "Um momento."),
    reply_templates=(
        ReplyTemplate("preço", ("preço", "quanto custa"), ("{greeting} Custa R$ 50, {name}.",)),
        ReplyTemplate("preço do bolo", ("preço do bolo",), ("O bolo custa R$ 80.",)),
    ),
)


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("QUANTO   CUSTA?", "Boa tarde! Custa R$ 50, Ana."),
        ("qual o preco", "Boa tarde! Custa R$ 50, Ana."),
        ("Oi, qual o preço do bolo hoje?", "O bolo custa R$ 80."),
    ],
)
def test_the_longest_phrase_wins_whatever_its_letters(said: str, answered: str) -> None:
    assert scripted.answer(LIA, said, [], Random(1), greeted="Boa tarde!", name="Ana") == answered


def test_what_no_phrase_means_gets_a_fallback_and_never_the_same_twice_in_a_row() -> None:
    said: list[str] = []
    for number in range(20):
        said.append(scripted.answer(LIA, "precoce", said, Random(number)))
    assert set(said) == set(LIA.fallback_texts)
    assert all(one != other for one, other in pairwise(said))


def test_unfilled_places_leave_no_gap() -> None:
    assert scripted.answer(LIA, "preço", [], Random(1)) == "Custa R$ 50,."


def test_a_text_ends_at_a_word_where_the_persona_is_brief() -> None:
    brief = Persona(UUID(int=1), UUID(int=2), "Lia", NOON, text_length_max=10)
    assert scripted.cut(brief, "Custa cinquenta") == "Custa"
    assert scripted.cut(brief, "A" * 20) == "A" * 10


@pytest.mark.parametrize(
    ("hour", "greeted"),
    [(0, "Bom dia!"), (11, "Bom dia!"), (12, "Boa tarde!"), (17, "Boa tarde!"), (18, "Boa noite!")],
)
def test_a_greeting_follows_the_hour(hour: int, greeted: str) -> None:
    assert scripted.greeting(LIA, NOON.replace(hour=hour)) == greeted


@pytest.mark.parametrize(
    ("key", "home", "hour"),
    [
        ("whatsapp:+5511900004821", "America/Sao_Paulo", 9),
        ("whatsapp:+244923456789", "America/Sao_Paulo", 13),
        ("instagram:7733100045600121", "America/Sao_Paulo", 9),
        ("whatsapp:+5511900004821", "America/Manaus", 9),
    ],
)
def test_the_hour_is_that_of_whoever_is_written_to(key: str, home: str, hour: int) -> None:
    assert local_time(NOON, key, home).hour == hour
