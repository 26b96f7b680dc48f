"""People who write to a number once it is connected: a few short talks, said again and again, slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

from sandbox.evolution.world import OPEN, Instance, World

PEOPLE = (
    ("Tainá Nogueira", "+5511900006101"),
    ("Renan Bittencourt", "+5511900006102"),
    ("Débora Lacerda", "+5511900006103"),
    ("Seu Zeca Moura", "+5531980000101"),
)
LINES = (
    "Oi! É da secretaria da escola?",
    "Queria saber o horário de atendimento 😊",
    "Vocês abrem no sábado?",
    "Obrigado! Passo aí amanhã.",
)
FORMS = ("2.3.7", "2.3.6", "2.4.0", "lid")
"""How the same person is named, by turns: each is somebody known all the same."""


def lines() -> Iterator[tuple[str, str, str, str]]:
    """Who says what, and how the person is named: one line of each person, then the next line of each."""
    for turn in count():
        for name, phone in PEOPLE:
            text = LINES[turn % len(LINES)]
            # The first time with the number: nobody is answered well who is known by a LID alone.
            yield name, phone, text, FORMS[turn % len(FORMS)]


async def keep_writing(world: World, instance: Instance, seconds: float) -> None:
    """Lets somebody write every so many seconds for as long as the number is there; while it is closed, nobody."""
    for name, phone, text, form in lines():
        await asyncio.sleep(seconds)
        if world.instances.get(instance.name) is not instance:
            return
        if instance.state == OPEN:
            world.person_writes(instance, phone, text, name, form=form)
