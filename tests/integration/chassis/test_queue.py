"""A keyed durable queue of another service: what is put is done, in order within its key, whoever fails or dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Database, Tx
from chassis.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from chassis.leases import LeaseLost
from chassis.process import Host, Process
from chassis.queues.items import Attempts, Dead, DeadLetter, Done, Item, Outcome, Place, Retry
from chassis.queues.queue import Queue
from chassis.queues.tables import create_queue, drop_queue
from chassis.queues.watch import QueueWatch
from chassis.queues.worker import Fence, Handler
from chassis.telemetry import Metrics
from embedded.servers import EmbeddedServers
from tests.integration.chassis.queueing import SCHEMA, Noted, Yard, open_yard
from tests.world import PATIENCE_SECONDS, role_url, settings_for

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
LADDER = Attempts(waits=(HOUR, 2 * HOUR))


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database as the queue's service sees it."""
    database = Database.connect(role_url(database_url, SCHEMA))
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def yard(database_url: str, db: Database) -> AsyncIterator[Yard]:
    """A queue in the order in which things are put."""
    async with open_yard(database_url, db) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def timed(database_url: str, db: Database) -> AsyncIterator[Yard]:
    """A queue in the order of due times."""
    async with open_yard(database_url, db, timed=True) as opened:
        yield opened


async def test_a_second_queue_is_a_table_a_value_and_a_handler(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, yard: Yard
) -> None:
    parcels = Queue("parcels", "outreach")
    await yard.rows(create_queue("outreach", "parcels"))
    delivered = Noted()
    done = asyncio.Event()

    async def start(process: Process) -> None:
        queue = process.queue(parcels)
        process.work(queue, delivered)

        async def put() -> None:
            async with process.database().transaction(yard.organization_id) as tx:
                await queue.put(tx, [Place(uuid4(), yard.organization_id, "street 1")], process.clock.now())
            while not delivered.seen:  # noqa: ASYNC110 the handler is the queue's, and tells nobody
                await asyncio.sleep(0.01)
            done.set()
            await asyncio.Event().wait()

        process.run("put", put)

    host = Host(settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir))
    try:
        await host.start({"outreach": start})
        async with asyncio.timeout(PATIENCE_SECONDS):
            await done.wait()
    finally:
        await host.stop()
        await yard.rows(drop_queue("outreach", "parcels"))


class TestPutting:
    """What the transaction that puts decides."""

    async def test_what_is_rolled_back_was_never_put_and_wakes_nobody(self, yard: Yard) -> None:
        woken: list[str] = []
        queue = Queue(yard.queue.name, SCHEMA, wake=lambda: woken.append("workers"))
        place = Place(uuid4(), yard.organization_id, "a")

        async def put_and_fail() -> None:
            async with yard.db.transaction(yard.organization_id) as tx:
                await queue.put(tx, [place], yard.clock.now())
                raise NotFound("NOTHING", "Taken back.")

        with pytest.raises(NotFound):
            await put_and_fail()
        assert (woken, await yard.waiting()) == ([], [])
        async with yard.db.transaction(yard.organization_id) as tx:
            await queue.put(tx, [place], yard.clock.now())
            await queue.put(tx, [place._replace(item_id=uuid4())], yard.clock.now())
            assert woken == []
        assert woken == ["workers"]

    async def test_an_item_that_waits_already_keeps_its_place(self, yard: Yard) -> None:
        [first, second] = await yard.put("a", 2)
        async with yard.db.transaction(yard.organization_id) as tx:
            assert await yard.queue.put(tx, [Place(first, yard.organization_id, "b")], yard.clock.now()) == 0
        noted = Noted()
        async with yard.working(noted):
            await yard.until(lambda: len(noted.seen) == 2)
        assert [(item.item_id, item.key) for item in noted.seen] == [(first, "a"), (second, "a")]

    async def test_what_is_removed_is_not_done(self, yard: Yard) -> None:
        [unwanted, wanted] = await yard.put("a", 2)
        async with yard.db.transaction(yard.organization_id) as tx:
            assert await yard.queue.remove(tx, [unwanted, uuid4()]) == 1
        noted = Noted()
        async with yard.working(noted):
            await yard.until(lambda: wanted in noted.ids)
        assert noted.ids == [wanted]

    async def test_a_due_time_is_for_a_timed_queue_alone(self, yard: Yard) -> None:
        with pytest.raises(ValueError, match="is not timed"):
            await yard.put("a", 1, yard.clock.now() + HOUR)

    @pytest.mark.parametrize("name", ["", "Parcels", "parcels; drop table x", "p" * 41, "1st"])
    def test_a_name_that_cannot_be_a_table_s_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="no name of a queue"):
            create_queue(SCHEMA, name)
        with pytest.raises(ValueError, match="no name of a queue"):
            Queue(name, SCHEMA)


class TestFailing:
    """What fails waits with all of its key, and with nothing else."""

    async def test_an_item_is_tried_as_often_as_its_ladder_has_steps_and_is_then_a_dead_letter(
        self, yard: Yard
    ) -> None:
        [bad] = await yard.put("a")
        [behind] = await yard.put("a")
        [beside] = await yard.put("b")
        noted = Noted()

        class Failing(Noted):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                if any(item.item_id == bad for item in items):
                    raise NotFound("STREET_UNKNOWN", "No such street.")
                return await noted.work(items, fence)

        async with yard.working(Failing(), LADDER):
            await yard.until(lambda: beside in noted.ids)
            for attempt, wait in enumerate(LADDER.waits, start=1):
                tried = "select next_attempt_time from {queue} where item_id = %s and attempt_count = %s"
                assert await yard.until_rows(tried, bad, attempt) == [(yard.clock.now() + wait,)]
                assert noted.ids == [beside]
                yard.clock.advance(wait)
            await yard.until(lambda: behind in noted.ids)
        assert noted.ids == [beside, behind]
        async with yard.db.transaction(yard.organization_id) as tx:
            [letter] = await yard.queue.dead_letters(tx, yard.organization_id, 10)
        assert letter == DeadLetter(
            bad,
            "a",
            LADDER.maximum,
            "STREET_UNKNOWN",
            "No such street.",
            yard.clock.now() - sum(LADDER.waits, timedelta()),
            yard.clock.now(),
        )

    async def test_what_record_answers_stands_in_place_of_what_was_to_be_given_up(self, yard: Yard) -> None:
        [kept] = await yard.put("a")
        [given_up] = await yard.put("b")

        class Keeping(Noted):
            async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> list[Outcome[Item]]:
                return [
                    Retry(outcome.item, yard.clock.now() + HOUR, counted=False)
                    if outcome.item.item_id == kept
                    else outcome
                    for outcome in outcomes
                ]

        async with yard.working(Keeping(lambda item: Dead(item, "STREET_UNKNOWN", "No such street."))):
            await yard.until_done(given_up)
            await yard.until_rows("select 1 from {queue} where item_id = %s and next_attempt_time is not null", kept)
        async with yard.db.transaction(yard.organization_id) as tx:
            letters = await yard.queue.dead_letters(tx, yard.organization_id, 10)
        assert [letter.item_id for letter in letters] == [given_up]

    async def test_what_is_wrong_with_the_item_itself_is_tried_once(self, yard: Yard) -> None:
        [bad, good] = await yard.put("a", 2)

        class Refusing(Noted):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                if any(item.item_id == bad for item in items):
                    raise InvalidArgument("STREET_INVALID", "No street is called so.")
                return await super().work(items, fence)

        refusing = Refusing()
        async with yard.working(refusing):
            await yard.until(lambda: good in refusing.ids)
        [(reason, attempts)] = await yard.rows("select reason, attempt_count from {queue}_dead")
        assert (reason, attempts) == ("STREET_INVALID", 1)

    async def test_a_fault_of_ours_spoils_its_own_item_and_no_other(self, yard: Yard) -> None:
        ids = [(await yard.put(key))[0] for key in "abcde"]

        class Faulty(Noted):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                if any(item.item_id == ids[2] for item in items):
                    raise ZeroDivisionError
                return await super().work(items, fence)

        faulty = Faulty()
        async with yard.working(faulty, LADDER):
            [failed] = await yard.until_rows("select item_id from {queue} where attempt_count = 1")
        assert set(faulty.ids) == {*ids} - {ids[2]}
        assert (failed[0], await yard.waiting()) == (ids[2], [ids[2]])

    @pytest.mark.parametrize("away", [Unavailable, PermissionDenied])
    async def test_while_a_service_is_away_nothing_is_counted(
        self, yard: Yard, away: type[Unavailable | PermissionDenied]
    ) -> None:
        [item_id] = await yard.put("a")
        refusals = 3

        class Away(Noted):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                nonlocal refusals
                if refusals:
                    refusals -= 1
                    raise away("AWAY", "Not there.")
                return await super().work(items, fence)

        back = Away()
        async with yard.working(back, away_seconds=0.0):
            await yard.until(lambda: bool(back.seen))
        assert [(item.item_id, item.attempt_count) for item in back.seen] == [(item_id, 0)]

    async def test_dead_letters_are_an_organization_s_own_and_are_put_back_in_order(self, yard: Yard) -> None:
        ids = sorted(await yard.put("a", 2))
        async with yard.working(Noted(lambda item: Dead(item, "GONE", "Torn\x00 apart"))):
            for item_id in ids:
                await yard.until_done(item_id)
        async with yard.db.transaction(yard.organization_id) as tx:
            listed = await yard.queue.dead_letters(tx, yard.organization_id, 1)
            after = await yard.queue.dead_letters(tx, yard.organization_id, 9, listed[0].item_id)
        assert [letter.item_id for letter in (*listed, *after)] == ids[::-1]
        assert listed[0].detail == "Torn apart"
        async with yard.db.transaction(other := uuid4()) as tx:
            assert await yard.queue.dead_letters(tx, other, 9) == []
            assert await yard.queue.replay(tx, ids, yard.clock.now()) == 0
        async with yard.db.transaction(yard.organization_id) as tx:
            assert await yard.queue.replay(tx, ids, yard.clock.now()) == 2
            assert await yard.queue.dead_letters(tx, yard.organization_id, 9) == []
        noted = Noted()
        async with yard.working(noted):
            await yard.until(lambda: len(noted.seen) == 2)
        assert [(item.item_id, item.attempt_count) for item in noted.seen] == [(item_id, 0) for item_id in ids]


class TestPostponing:
    """What waits though nothing is wrong with it."""

    async def test_an_open_breaker_postpones_its_whole_key_and_counts_no_attempt(self, yard: Yard) -> None:
        held = await yard.put("number 1", 3)
        [other] = await yard.put("number 2")
        opens = yard.clock.now() + HOUR

        def rule(item: Item) -> Outcome[Item]:
            broken = item.key == "number 1" and yard.clock.now() < opens
            return Retry(item, opens, "The breaker is open.", counted=False) if broken else Done(item)

        noted = Noted(rule)
        async with yard.working(noted):
            await yard.until(lambda: other in noted.ids)
            [late] = await yard.put("number 2")
            await yard.until(lambda: late in noted.ids)
            assert noted.ids.count(held[0]) == 1
            assert not {*held[1:]} & {*noted.ids}
            yard.clock.advance(HOUR)
            await yard.until(lambda: held[2] in noted.ids)
        assert [item.item_id for item in noted.seen if item.key == "number 1"] == [held[0], *held]
        assert {item.attempt_count for item in noted.seen} == {0}

    async def test_what_gives_way_takes_its_place_anew_and_later_ones_pass(self, timed: Yard) -> None:
        [early] = await timed.put("contact", 1, timed.clock.now())
        [later] = await timed.put("contact", 1, timed.clock.now() + MINUTE)
        morning = timed.clock.now() + HOUR

        def rule(item: Item) -> Outcome[Item]:
            quiet = item.item_id == early and timed.clock.now() < morning
            return Retry(item, morning, counted=False, gives_way=True) if quiet else Done(item)

        noted = Noted(rule)
        async with timed.working(noted):
            await timed.until(lambda: early in noted.ids)
            timed.clock.advance(MINUTE)
            await timed.until(lambda: later in noted.ids)
            timed.clock.advance(HOUR)
            await timed.until(lambda: noted.ids.count(early) == 2)
        assert noted.ids == [early, later, early]

    async def test_in_a_queue_that_is_not_timed_nothing_gives_way(self, yard: Yard) -> None:
        item = Item(1, 0, "a", uuid4(), yard.clock.now(), yard.organization_id, 0)
        worker = yard.worker(Noted())
        async with yard.db.transaction(yard.organization_id) as tx:
            with pytest.raises(ValueError, match="nothing in it gives way"):
                await yard.queue.settle(
                    tx, [Retry(item, yard.clock.now(), gives_way=True)], worker._leases, {}, yard.clock.now()
                )


class TestDying:
    """Whoever holds the lanes does the work, and whoever lost them writes nothing."""

    async def test_what_a_worker_that_hangs_had_claimed_is_done_by_the_next_and_the_first_writes_nothing(
        self, yard: Yard
    ) -> None:
        [first, second] = await yard.put("a", 2)
        claimed, thaw, refused = asyncio.Event(), asyncio.Event(), asyncio.Event()
        recorded: list[str] = []

        class Hanging(Handler[Item]):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                claimed.set()
                await thaw.wait()
                try:
                    async with yard.db.transaction() as tx:
                        await fence(tx)
                except LeaseLost:
                    refused.set()
                return [Done(item) for item in items]

            async def record(self, tx: object, outcomes: Sequence[Outcome[Item]]) -> None:
                recorded.append("the first")

        noted = Noted()
        metrics = Metrics()
        async with yard.working(Hanging(), metrics=metrics):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await claimed.wait()
            await yard.rows(
                "update outreach.leases set holder = %s, fence = fence + 1, expire_time = 'infinity'"
                " where starts_with(name, %s)",
                uuid4(),
                yard.prefix,
            )
            thaw.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await refused.wait()
            await yard.until(lambda: bool(recorded))
            assert await yard.waiting() == [first, second]
        await yard.free_lanes()
        async with yard.working(noted):
            await yard.until_done(second)
        assert noted.ids == [first, second]
        label = {"queue": yard.queue.label, "outcome": "done"}
        assert metrics.registry.get_sample_value("prosa_queue_attempts_total", label) is None

    async def test_lanes_are_shared_out_and_those_of_a_dead_worker_are_taken_up(self, yard: Yard) -> None:
        one, other = Noted(), Noted()
        halves = (
            "select holder from outreach.leases where starts_with(name, %s) and expire_time > now()"
            " group by holder having count(*) = 32"
        )
        async with yard.working(one):
            async with yard.working(other):
                await yard.until_rows(
                    f"select 1 where (select count(*) from ({halves}) half) = 2", f"{yard.prefix}lane."
                )
                keys = [f"key {number}" for number in range(200)]
                for key in keys:
                    await yard.put(key)
                await yard.until(lambda: len(one.seen) + len(other.seen) == len(keys))
                assert one.seen
                assert other.seen
            # What the second gave back as it stopped is the first one's.
            [more] = await yard.put(other.seen[0].key)
            await yard.until(lambda: more in one.ids)

    async def test_a_worker_that_was_stopped_can_be_started_again(self, yard: Yard) -> None:
        noted = Noted()
        worker = yard.worker(noted)
        for _ in range(2):
            running = asyncio.create_task(worker.run())
            [item_id] = await yard.put("a")
            await yard.until_done(item_id)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()


class TestSlots:
    """Several batches of one worker, each of keys of its own."""

    async def test_a_handler_that_waits_works_on_as_many_keys_at_once_as_it_has_slots_and_on_each_in_order(
        self, yard: Yard
    ) -> None:
        slots = 4
        ids = {key: await yard.put(key, 3) for key in "abcd"}
        together = asyncio.Event()
        at_work: list[str] = []
        seen: dict[str, list[UUID]] = {key: [] for key in ids}

        class Calling(Handler[Item]):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                [item] = items
                assert item.key not in at_work
                at_work.append(item.key)
                seen[item.key].append(item.item_id)
                if len(at_work) == slots:
                    together.set()
                await together.wait()
                at_work.remove(item.key)
                return [Done(item)]

        async with yard.working(Calling(), slots=slots, batch_max=1), asyncio.timeout(PATIENCE_SECONDS):
            await together.wait()
            await yard.until(lambda: sum(map(len, seen.values())) == 12)
        assert seen == ids

    async def test_what_a_handler_leaves_out_is_worked_on_later_and_uncounted(self, yard: Yard) -> None:
        ids = await yard.put("a", 3)

        class OneByOne(Noted):
            async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
                return await super().work(items[:1], fence)

        noted = OneByOne()
        async with yard.working(noted):
            await yard.until(lambda: len(noted.seen) == 3)
        assert [(item.item_id, item.attempt_count) for item in noted.seen] == [(item_id, 0) for item_id in ids]


class TestSeeing:
    """What an operator sees."""

    async def test_metrics_tell_what_is_due_since_when_and_what_became_of_it(self, timed: Yard) -> None:
        metrics = Metrics()

        def value(name: str, **labels: str) -> float | None:
            return metrics.registry.get_sample_value(name, {"queue": timed.queue.label, **labels})

        await timed.put("a", 2, timed.clock.now() + MINUTE)
        await timed.put("b", 1, timed.clock.now() + 24 * HOUR)
        watch = QueueWatch(timed.queue, timed.db, timed.clock, metrics)
        await watch.look()
        assert (value("prosa_queue_waiting"), value("prosa_queue_oldest_seconds")) == (0, 0)
        timed.clock.advance(HOUR)
        await watch.look()
        assert (value("prosa_queue_waiting"), value("prosa_queue_oldest_seconds")) == (2, 3_540)
        noted = Noted(lambda item: Dead(item, "GONE") if item.key == "a" else Done(item))
        async with timed.working(noted, metrics=metrics):
            await timed.until(lambda: value("prosa_queue_dead_total", reason="GONE") == 2)
        await watch.look()
        assert value("prosa_queue_waiting") == 0
        assert value("prosa_queue_attempts_total", outcome="dead") == 2

    async def test_it_goes_as_it_came(self, yard: Yard) -> None:
        found = "select count(*) from pg_class where relnamespace = 'outreach'::regnamespace"
        functions = "select count(*) from pg_proc where pronamespace = 'outreach'::regnamespace"
        before = [await yard.rows(statement) for statement in (found, functions)]
        await yard.rows(create_queue(SCHEMA, "passing", timed=True))
        assert [await yard.rows(statement) for statement in (found, functions)] != before
        await yard.rows(drop_queue(SCHEMA, "passing"))
        assert [await yard.rows(statement) for statement in (found, functions)] == before
        assert await yard.rows("select 1 from outreach.expiring_tables where table_name = 'passing_dead'") == []
