"""What a persona says without a model: its templates, its fallback texts, its greetings. No I/O, no clock."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import datetime
from random import Random

from services.conversation.personas.persona import Persona

NOON, EVENING = 12, 18
"""The hours at which the afternoon's and the evening's greetings begin."""


def folded(text: str) -> str:
    """A text in small letters without accents, its blanks joined."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(sign for sign in decomposed if not unicodedata.combining(sign)).split())


def greeting(persona: Persona, local: datetime) -> str:
    """What is said first at this hour, where the recipient is."""
    if local.hour < NOON:
        return persona.morning_greeting
    return persona.afternoon_greeting if local.hour < EVENING else persona.evening_greeting


def answer(
    persona: Persona, said: str, before: Sequence[str], draw: Random, *, greeted: str = "", name: str = ""
) -> str:
    """What it says to something: a text of the template whose phrase is the longest in it, else a fallback text.

    None that it said last (``before``, in their order), where there is another; empty where it has none at all.
    """
    fills = {"greeting": greeted, "name": name}
    texts = [fitted(persona, text, fills) for text in _texts(persona, said)]
    fresh = [text for text in texts if text not in before[-1:]]
    return draw.choice(fresh or texts) if texts else ""


def fitted(persona: Persona, text: str, fills: dict[str, str]) -> str:
    """A text with its blanks filled in, no longer than the persona speaks."""
    filled = re.sub(r"\{(greeting|name)\}", lambda found: fills.get(found[1], ""), text)
    return cut(persona, re.sub(r" +([,.!?])", r"\1", re.sub(r" {2,}", " ", filled)).strip())


def cut(persona: Persona, text: str) -> str:
    """A text no longer than the persona speaks, ended at a word."""
    if len(text) <= persona.text_length_max:
        return text
    short = text[: persona.text_length_max]
    return short.rpartition(" ")[0] or short


def _texts(persona: Persona, said: str) -> Sequence[str]:
    text = folded(said)
    matching = [
        (len(phrase), -place)
        for place, template in enumerate(persona.reply_templates)
        for phrase in _folded(template.phrases)
        if re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text)
    ]
    if not matching:
        return persona.fallback_texts
    return persona.reply_templates[-max(matching)[1]].texts


def _folded(phrases: Collection[str]) -> list[str]:
    return [phrase for phrase in map(folded, phrases) if phrase]
