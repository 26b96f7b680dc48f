"""Two numbers talk by themselves: a script's rounds, from the calendar to what left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from chassis.clock import SettableClock, SystemClock
from chassis.errors import InvalidArgument
from embedded.servers import EmbeddedServers
from prosa.conversation.v1.events_pb2 import RoundChanged, ScriptChanged
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from sandbox.chatwoot.faults import Fault
from services.conversation.limits import PLAN_EVERY, ROUND_LOOK_WAIT
from services.conversation.scripts.planning import Planner
from services.conversation.scripts.running import Runner
from tests.conftest import ALL_TARGETS
from tests.integration.main_way.answering import shop_of
from tests.integration.main_way.talking import Numbers, run_for, two_numbers, window
from tests.world import PATIENCE_SECONDS, settings_for, start_world

ZONE = "America/Sao_Paulo"


@pytest_asyncio.fixture(loop_scope="session")
async def clock() -> SettableClock:
    """Stands at the next full hour."""
    return SettableClock(SystemClock().now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))


@pytest_asyncio.fixture(loop_scope="session")
async def numbers(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, clock: SettableClock
) -> AsyncIterator[Numbers]:
    """Two numbers, in a world that goes by the settable clock."""
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    world = await start_world(settings, database_url, ALL_TARGETS, clock)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session,
            shop_of(world, session) as shop,
        ):
            yield await two_numbers(shop)
    finally:
        await world.close()
        await world.host.stop()


async def rounds_of(numbers: Numbers, script: Any) -> list[Any]:
    """A script's rounds over HTTP, the latest due first."""
    status, page = await numbers.admin.call("GET", f"/rounds?script_id={script['script_id']}")
    assert status == 200, page
    return list(page["rounds"])


async def test_a_window_in_the_calendar_makes_a_round_that_is_said_on_both_numbers(
    numbers: Numbers, clock: SettableClock
) -> None:
    world = numbers.shop.world
    script = await numbers.script(calendar={"windows": [window(clock)]}, time_zone="UTC", exchanges_max=3)
    (planned,) = await rounds_of(numbers, script)
    assert (planned["state"], planned["topic"]) == ("PLANNED", "o bolo de sábado")
    assert script["next_round_time"] == planned["due_time"]

    await run_for(world, clock, timedelta(hours=3))

    status, done = await numbers.admin.call("GET", f"/rounds/{planned['round_id']}")
    assert (status, done["state"], done["reason"]) == (200, "DONE", "")
    messages = done["messages"]
    assert done["exchange_count"] in (2, 3)
    assert len(messages) == done["sent_count"] == 2 * done["exchange_count"]
    # In turns, each after its pause, and at the provider as they were fixed.
    assert [message["channel_id"] for message in messages] == [*numbers.channel_ids] * done["exchange_count"]
    times = [message["due_time"] for message in messages]
    assert times == sorted(set(times))
    for place in range(2):
        assert numbers.talks[place].left == [message["text"] for message in messages[place::2]]
    assert messages[0]["text"].endswith("o bolo de sábado")
    causes = await world.rows(
        "select distinct cause, send_class, internal from conversation.deliveries where organization_id = %s",
        numbers.shop.harness.organization_id,
    )
    assert causes == [{"cause": f"round:{planned['round_id']}", "send_class": "SCHEDULED", "internal": True}]
    told = await world.announced(RoundChanged, numbers.shop.harness.organization_id)
    assert [fact.round.state for fact in told][:1] + [fact.round.state for fact in told][-1:] == [1, 3]


async def test_a_round_that_is_cancelled_says_no_more(numbers: Numbers, clock: SettableClock) -> None:
    script = await numbers.script(
        calendar={"windows": [window(clock)]},
        time_zone="UTC",
        delay_min_seconds=600,
        delay_max_seconds=600,
        exchanges_max=2,
        round_gap_seconds=0,
    )
    (planned,) = await rounds_of(numbers, script)
    world = numbers.shop.world
    await run_for(world, clock, datetime.fromisoformat(planned["due_time"]) - clock.now() + timedelta(minutes=15))
    (running,) = await rounds_of(numbers, script)
    assert running["state"] == "RUNNING"
    said = numbers.talks[0].left + numbers.talks[1].left
    assert 1 <= len(said) < 4
    status, cancelled = await numbers.admin.call("POST", f"/rounds/{planned['round_id']}:cancel", {})
    assert (status, cancelled["state"]) == (200, "CANCELLED")
    status, refused = await numbers.admin.call("POST", f"/rounds/{planned['round_id']}:cancel", {})
    assert (status, refused["reason"]) == (400, "ROUND_ENDED")
    await run_for(world, clock, timedelta(hours=1))
    assert numbers.talks[0].left + numbers.talks[1].left == said


async def test_a_round_that_cannot_be_worked_on_breaks_off_and_leaves_its_numbers(
    numbers: Numbers, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = await numbers.script(calendar={"windows": [window(clock)]}, time_zone="UTC")
    (planned,) = await rounds_of(numbers, script)
    world, go_on, calls = numbers.shop.world, Runner.work, count()

    async def fail_later(*given: Any) -> Any:
        if next(calls):
            raise RuntimeError("It cannot be said what comes next.")
        return await go_on(*given)

    monkeypatch.setattr(Runner, "work", fail_later)
    # What was said first still waits when the round breaks off.
    owner = world.as_user(numbers.shop.harness.organization_id).stub(SendServiceStub)
    await owner.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason="pausa"))
    until_begun = datetime.fromisoformat(planned["due_time"]) - clock.now()
    await run_for(world, clock, until_begun + timedelta(minutes=1))

    (broken,) = await rounds_of(numbers, script)
    assert (broken["state"], broken["reason"]) == ("BROKEN_OFF", "ITEM_REFUSED")
    assert await numbers.shop.harness.count("conversation.round_locks") == 0
    told = await world.announced(RoundChanged, numbers.shop.harness.organization_id)
    assert (told[-1].round.state, told[-1].round.reason) == (5, "ITEM_REFUSED")
    waited = await world.rows(
        "select state, reason from conversation.deliveries where organization_id = %s",
        numbers.shop.harness.organization_id,
    )
    assert waited == [{"state": "CANCELLED", "reason": "ROUND_ENDED"}]


async def test_a_script_whose_planning_fails_is_planned_again_at_its_next_time(
    numbers: Numbers, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = await numbers.script(calendar={"windows": [window(clock)]}, time_zone="UTC")
    world, organization_id = numbers.shop.world, numbers.shop.harness.organization_id

    async def refuse(*_: Any) -> NoReturn:
        raise InvalidArgument("ITEM_REFUSED", "The item cannot be processed: Fault.")

    monkeypatch.setattr(Planner, "work", refuse)
    clock.set(clock.now() + PLAN_EVERY)
    (item,) = await world.until(
        "select item_id::text from conversation.script_queue where organization_id = %s and due_time > %s",
        *(organization_id, clock.now()),
    )
    assert item["item_id"] == script["script_id"]
    assert await numbers.shop.harness.count("conversation.script_queue_dead") == 0


async def round_of(numbers: Numbers, script: Any) -> Any:
    """A script's only round, with its messages."""
    (found,) = await rounds_of(numbers, script)
    status, shown = await numbers.admin.call("GET", f"/rounds/{found['round_id']}")
    assert status == 200, shown
    return shown


async def begin(numbers: Numbers, clock: SettableClock, **values: Any) -> tuple[Any, datetime]:
    """A script whose only round has just begun, and when the round's window ends."""
    script = await numbers.script(calendar={"windows": [window(clock)]}, time_zone="UTC", **values)
    (planned,) = await rounds_of(numbers, script)
    (kept,) = await numbers.shop.world.rows(
        "select window_end_time from conversation.rounds where round_id = %s", UUID(planned["round_id"])
    )
    await run_for(numbers.shop.world, clock, datetime.fromisoformat(planned["due_time"]) - clock.now())
    return script, kept["window_end_time"]


async def test_a_round_ends_with_its_window_though_nobody_knows_whether_its_message_left(
    numbers: Numbers, clock: SettableClock
) -> None:
    world, organization_id = numbers.shop.world, numbers.shop.harness.organization_id
    numbers.shop.faults.set(Fault("rest.error", count=1, status=502, only="/messages"))
    script, window_end_time = await begin(numbers, clock)
    await run_for(world, clock, 10 * ROUND_LOOK_WAIT)
    (running,) = await rounds_of(numbers, script)
    assert (running["state"], running["reason"]) == ("RUNNING", "PROVIDER_SILENT")
    (item,) = await world.rows(
        "select next_attempt_time from conversation.round_queue where organization_id = %s", organization_id
    )
    # It is no use to look every two seconds for what may take a day.
    assert item["next_attempt_time"] > clock.now() + 5 * ROUND_LOOK_WAIT

    clock.set(window_end_time)
    await run_for(world, clock, timedelta(seconds=1))

    (broken,) = await rounds_of(numbers, script)
    assert (broken["state"], broken["reason"]) == ("BROKEN_OFF", "WINDOW_OVER")
    assert await numbers.shop.harness.count("conversation.round_locks") == 0
    found = await world.rows("select state from conversation.deliveries where organization_id = %s", organization_id)
    assert found == [{"state": "UNCERTAIN"}]


async def test_nothing_is_said_after_the_window_though_the_pause_ended_in_it(
    numbers: Numbers, clock: SettableClock
) -> None:
    script, window_end_time = await begin(numbers, clock, delay_min_seconds=60, delay_max_seconds=60)
    # Long enough to know that the first has left, not to say the second.
    await run_for(numbers.shop.world, clock, 10 * ROUND_LOOK_WAIT)
    running = await round_of(numbers, script)
    assert (running["state"], running["sent_count"], len(running["messages"])) == ("RUNNING", 1, 1)
    # Nothing runs while the clock leaps over the pause and the window's end.
    clock.set(window_end_time)
    await run_for(numbers.shop.world, clock, timedelta(seconds=1))
    broken = await round_of(numbers, script)
    assert (broken["state"], broken["reason"]) == ("BROKEN_OFF", "WINDOW_OVER")
    assert len(broken["messages"]) == broken["sent_count"] == 1


async def test_a_round_breaks_off_where_who_is_to_speak_has_nothing_to_say(
    numbers: Numbers, clock: SettableClock
) -> None:
    # Nobody's name is known between own numbers.
    status, persona = await numbers.admin.call(
        *("PATCH", f"/personas/{numbers.persona_ids[1]}", {"fallback_texts": ["{name}"]})
    )
    assert status == 200, persona
    script, _ = await begin(numbers, clock)
    await run_for(numbers.shop.world, clock, timedelta(minutes=30))
    broken = await round_of(numbers, script)
    assert (broken["state"], broken["reason"], len(broken["messages"])) == ("BROKEN_OFF", "NOTHING_TO_SAY", 1)
    assert numbers.talks[1].left == []
    assert await numbers.shop.harness.count("conversation.round_locks") == 0


async def test_a_stopped_script_and_switched_off_automation_say_nothing(numbers: Numbers, clock: SettableClock) -> None:
    script = await numbers.script(calendar={"windows": [window(clock)]}, time_zone="UTC")
    path = f"/scripts/{script['script_id']}"
    status, paused = await numbers.admin.call("PATCH", path, {"state": "PAUSED"})
    assert (status, paused["next_round_time"]) == (200, None)
    assert await rounds_of(numbers, script) == []
    # Planned again, it is the same round at the same time.
    status, active = await numbers.admin.call("PATCH", path, {"state": "ACTIVE"})
    assert (status, active["next_round_time"]) == (200, script["next_round_time"])
    await numbers.admin.call("PATCH", "/conversation-settings", {"automation_enabled": False})
    await run_for(numbers.shop.world, clock, timedelta(hours=3))
    (skipped,) = await rounds_of(numbers, script)
    assert (skipped["state"], skipped["reason"]) == ("SKIPPED", "AUTOMATION_OFF")
    assert numbers.talks[0].left == []
    told = await numbers.shop.world.announced(ScriptChanged, UUID(script["organization_id"]))
    assert [fact.version for fact in told] == [1, 2, 3]


async def test_what_was_missed_is_not_made_up_for_unless_the_script_says_so(
    numbers: Numbers, clock: SettableClock
) -> None:
    week = {"calendar": {"windows": [window(clock, hours=6)]}, "time_zone": "UTC", "round_gap_seconds": 0}
    missed = await numbers.script(**week)
    (planned,) = await rounds_of(numbers, missed)
    # Nothing runs while the clock leaps past its time.
    clock.set(clock.now() + timedelta(hours=6, minutes=10))
    await run_for(numbers.shop.world, clock, timedelta(seconds=1))
    (skipped,) = await rounds_of(numbers, missed)
    assert (skipped["round_id"], skipped["state"]) == (planned["round_id"], "SKIPPED")
    assert skipped["reason"] in ("CATCH_UP_SKIP", "WINDOW_OVER")
    assert numbers.talks[0].left == []


@pytest.mark.parametrize(
    ("values", "status", "reason"),
    [
        ({"participants": "same channel"}, 400, "SCRIPT_INVALID"),
        ({"participants": "stranger"}, 404, "CHANNEL_NOT_FOUND"),
        ({"participants": "no phone"}, 400, "SCRIPT_INVALID"),
        ({"participants": "other phone"}, 400, "SCRIPT_INVALID"),
        ({"exchanges_min": 4, "exchanges_max": 2}, 400, "SCRIPT_INVALID"),
        ({"time_zone": "America/Nowhere"}, 400, "TIME_ZONE_INVALID"),
        (
            {"calendar": {"windows": [{"weekday": 1, "start_minute": 0, "end_minute": 10, "round_count": 20}]}},
            *(400, "WINDOW_INVALID"),
        ),
    ],
)
async def test_a_script_that_cannot_be_is_refused(
    numbers: Numbers, values: dict[str, Any], status: int, reason: str
) -> None:
    first, second = numbers.participants
    participants = {
        "same channel": [first, {**second, "channel_id": first["channel_id"]}],
        "stranger": [first, {**second, "channel_id": str(UUID(int=9))}],
        "no phone": [first, {**second, "phone": "loja"}],
        "other phone": [first, {**second, "phone": "+5511900000000"}],
    }
    if "participants" in values:
        values = {"participants": participants[values["participants"]]}
    body = {"name": "Vizinhas", "participants": [first, second], "topics": ["bolo"]}
    answer, refused = await numbers.admin.call("POST", "/scripts", body | values)
    assert (answer, refused["reason"]) == (status, reason), refused
    assert (await numbers.admin.call("GET", "/scripts"))[1]["scripts"] == []


async def test_who_speaks_in_a_script_cannot_be_ended(numbers: Numbers) -> None:
    script = await numbers.script()
    assert script["time_zone"] == ZONE
    status, refused = await numbers.admin.call("DELETE", f"/personas/{numbers.persona_ids[1]}")
    assert (status, refused["reason"]) == (400, "PERSONA_IN_USE")
    assert script["name"] in str(refused)


async def test_conversations_between_own_numbers_are_marked_and_listed_apart(numbers: Numbers) -> None:
    customer = await numbers.shop.said("Oi, tem vaga?")
    ours = {talk.conversation_id for talk in numbers.talks}

    async def marked(query: str = "") -> dict[str, bool]:
        status, page = await numbers.admin.call("GET", f"/conversations{query}")
        assert status == 200, page
        return {one["conversation_id"]: one["internal"] for one in page["conversations"]}

    # Before a script says so, nobody knows whose the numbers are.
    assert await marked("?internal_only=true") == {}
    await numbers.script()
    assert await marked() == dict.fromkeys(ours, True) | {customer.conversation_id: False}
    assert await marked("?internal_only=true") == dict.fromkeys(ours, True)
    assert await marked("?internal_only=true&state=RESOLVED") == {}
    for conversation_id, internal in ((customer.conversation_id, False), (min(ours), True)):
        _, one = await numbers.admin.call("GET", f"/conversations/{conversation_id}")
        assert one["internal"] is internal
