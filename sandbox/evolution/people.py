"""People who write to a number once it is connected: a few short talks, said again and again, slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

from sandbox.evolution.world import OPEN, Instance, World

NAMES = (
    ("Tainá Nogueira", "Renan Bittencourt", "Débora Lacerda", "Seu Zeca Moura"),
    ("Jandira Couto", "Moacir Teles", "Noêmia Prates", "Dona Cida Ramos"),
    ("Wesley Amaral", "Ivone Salgado", "Ciro Bandeira", "Seu Lino Pádua"),
)
"""By number, in turns; who writes to one number writes to no other."""
PLACES = 90
"""For so many numbers there are phones."""
LINES = (
    "Oi! É da secretaria da escola?",
    "Queria saber o horário de atendimento 😊",
    "Vocês abrem no sábado?",
    "Obrigado! Passo aí amanhã.",
)
FORMS = ("2.3.7", "2.3.6", "2.4.0", "lid")
"""How the same person is named, by turns: each is somebody known all the same."""


def people(place: int) -> tuple[tuple[str, str], ...]:
    """Names and phones of who writes to the number at a place, from 0; the last has a phone that WhatsApp shortens."""
    *names, last = NAMES[place % len(NAMES)]
    apart = place % PLACES
    mobiles = (f"+551190000{6100 + 10 * apart + number}" for number in (1, 2, 3))
    return (*zip(names, mobiles, strict=True), (last, f"+553198000{101 + apart:04}"))


def lines(place: int) -> Iterator[tuple[str, str, str, str]]:
    """Who says what, and how the person is named: one line of each person, then the next line of each."""
    for turn in count():
        for name, phone in people(place):
            text = LINES[turn % len(LINES)]
            # The first time with the number: nobody is answered well who is known by a LID alone.
            yield name, phone, text, FORMS[turn % len(FORMS)]


async def keep_writing(world: World, instance: Instance, seconds: float) -> None:
    """Lets somebody write every so many seconds for as long as the number is there; while it is closed, nobody."""
    place = list(world.instances).index(instance.name)
    for name, phone, text, form in lines(place):
        await asyncio.sleep(seconds)
        if world.instances.get(instance.name) is not instance:
            return
        if instance.state == OPEN:
            world.person_writes(instance, phone, text, name, form=form)
