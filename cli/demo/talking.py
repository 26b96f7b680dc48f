"""The demo's two numbers talk by themselves: a persona each, a script, and a week whose windows are always open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import grpc.aio
import structlog

from cli.calls import CALL_SECONDS, Calls, all_pages
from cli.demo.fake_evolution import NUMBERS, instances_of
from cli.demo.terms import allow_any_hour
from prosa.conversation.v1 import script_service_pb2 as scripts
from prosa.conversation.v1.instance_service_pb2 import INSTANCE_STATE_OPEN, Instance
from prosa.conversation.v1.script_service_pb2_grpc import ScriptServiceStub

if TYPE_CHECKING:
    from prosa.conversation.v1.script_service_pb2_grpc import ScriptServiceAsyncStub

NAME = "Bastidores da escola"
TOPICS = ("Como ficou a escala de sábado?", "Quantas matrículas esta semana?", "A sala nova já tem projetor?")
PERSONAS = (
    ("Lia, da secretaria", ("Anotado, obrigada!", "Perfeito, já passo adiante.", "Ótimo, falo com a turma.")),
    ("Rui, da coordenação", ("Está quase, confirmo hoje.", "Tudo certo por aqui.", "Sim, já deixei combinado.")),
)
DELAY_SECONDS = (4, 8)
EXCHANGES = (2, 3)
WINDOW_HOURS = 8
ROUND_EVERY = timedelta(minutes=30)
ROUND_COUNT = timedelta(hours=WINDOW_HOURS) // ROUND_EVERY
BEGIN_SECONDS = 10
"""The week begins at the first full minute that is at least so far away: before a window begins it must be known."""
AGAIN_SECONDS = 2.0
ZONE = "America/Sao_Paulo"
"""Where the demo's organization is: its people read the week by their own clocks."""

logger = structlog.get_logger(__name__)


async def keep_talking(
    calls: Calls, organization_id: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> None:
    """Has the two talk once both are connected; at each start of the demo the week begins anew, so a round is soon."""
    while True:
        try:
            known = await instances_of(calls, organization_id)
            numbers = [known[name] for name, _ in NUMBERS if name in known]
            if len(numbers) == len(NUMBERS) and all(number.state == INSTANCE_STATE_OPEN for number in numbers):
                await allow_any_hour(calls, organization_id)
                await _schedule(calls, organization_id, numbers, now())
                return
        except grpc.aio.AioRpcError as error:
            logger.info("demo_script_waits", error=error.details())
        await asyncio.sleep(AGAIN_SECONDS)


def week_from(now: datetime) -> scripts.Calendar:
    """Three windows a day that follow one another from the next minute on, and in each a round every half an hour."""
    begin = now.astimezone(ZoneInfo(ZONE)) + timedelta(seconds=BEGIN_SECONDS)
    begin = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
    dayparts = (scripts.DAYPART_MORNING, scripts.DAYPART_AFTERNOON, scripts.DAYPART_EVENING)
    windows = []
    for place in range(7 * len(dayparts)):
        starts, ends = (begin + timedelta(hours=WINDOW_HOURS * number) for number in (place, place + 1))
        windows.append(
            scripts.CalendarWindow(
                weekday=starts.isoweekday(),
                daypart=dayparts[starts.hour // WINDOW_HOURS],
                start_minute=starts.hour * 60 + starts.minute,
                end_minute=ends.hour * 60 + ends.minute,
                round_count=ROUND_COUNT,
            )
        )
    return scripts.Calendar(windows=windows)


async def _schedule(calls: Calls, organization_id: str, numbers: list[Instance], now: datetime) -> None:
    stub, metadata = calls.stub(ScriptServiceStub, "conversation"), calls.organization(organization_id)
    found = await all_pages(stub.ListScripts, scripts.ListScriptsRequest(), "scripts", metadata=metadata)
    kept = next((script for script in found if script.name == NAME), None)
    if kept is not None:
        await stub.UpdateScript(
            scripts.UpdateScriptRequest(script_id=kept.script_id, calendar=week_from(now), time_zone=ZONE),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
        return
    participants = [
        scripts.Participant(
            channel_id=number.channel_id,
            persona_id=await _persona(stub, metadata, organization_id, name, texts),
            phone=number.phone,
        )
        for number, (name, texts) in zip(numbers, PERSONAS, strict=True)
    ]
    longest = (2 * EXCHANGES[1] - 1) * DELAY_SECONDS[1]
    await stub.CreateScript(
        scripts.CreateScriptRequest(
            name=NAME,
            participants=participants,
            topics=TOPICS,
            exchanges_min=EXCHANGES[0],
            exchanges_max=EXCHANGES[1],
            delay_min_seconds=DELAY_SECONDS[0],
            delay_max_seconds=DELAY_SECONDS[1],
            # Rounds fill their window, so each begins with its half hour.
            round_gap_seconds=int(ROUND_EVERY.total_seconds()) - longest,
            calendar=week_from(now),
            time_zone=ZONE,
        ),
        metadata=metadata,
        timeout=CALL_SECONDS,
    )


async def _persona(
    stub: ScriptServiceAsyncStub, metadata: grpc.aio.Metadata, organization_id: str, name: str, texts: tuple[str, ...]
) -> str:
    found = await all_pages(stub.ListPersonas, scripts.ListPersonasRequest(), "personas", metadata=metadata)
    kept = next((persona for persona in found if persona.name == name), None)
    if kept is None:
        kept = await stub.CreatePersona(
            scripts.CreatePersonaRequest(
                name=name,
                fallback_texts=texts,
                request_id=str(uuid5(UUID(organization_id), f"demo {name}")),
                morning_greeting="Bom dia!",
                afternoon_greeting="Boa tarde!",
                evening_greeting="Boa noite!",
            ),
            metadata=metadata,
            timeout=CALL_SECONDS,
        )
    return str(kept.persona_id)
