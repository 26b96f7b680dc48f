"""Delivers the world's events as Chatwoot does: one signed POST each, five seconds, and never again.

Two things go beyond the original, each for a purpose: an open-loop pace for load, and an order per conversation
(with tries until accepted) for checks that must know what was answered 200, and in which order.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime

import aiohttp

from sandbox.chatwoot.account_setup import AccountSetup
from sandbox.chatwoot.draws import Draws
from sandbox.chatwoot.faults import Faults
from sandbox.chatwoot.records import Event, Target
from sandbox.chatwoot.signing import signed_request

TIMEOUT_SECONDS = 5.0
IN_FLIGHT_MAX = 10
"""About as many threads as Chatwoot's job runner has."""
QUEUE_MAX = 200_000
RETRY_WAIT_SECONDS = 0.1
DRAIN_SECONDS = 5.0
WRONG_SECRET = "not-the-secret-of-this-webhook"  # noqa: S105 - meant to fail


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one address."""

    event: Event
    target: Target
    delivery_id: str
    delay_seconds: float = 0.0
    age_seconds: float = 0.0

    @property
    def order_key(self) -> tuple[str, str]:
        """What follows each other: the events of one conversation or contact at one address."""
        return self.target.url, self.event.order_key


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery. `status` is None when no answer came, and `error` says why.

    `due` is when the pace wanted it sent (monotonic seconds), `seconds` the time from then to the answer.
    """

    delivery: Delivery
    status: int | None
    error: str | None
    due: float
    seconds: float

    @property
    def accepted(self) -> bool:
        """Any 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Pace:
    """An open-loop rhythm: the n-th send is due at start + n / rate, however slow the answers are."""

    def __init__(
        self,
        rate_per_second: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if rate_per_second <= 0:
            raise ValueError("A pace needs a positive rate.")
        self._interval_seconds = 1.0 / rate_per_second
        self._monotonic, self._sleep = monotonic, sleep
        self._start: float | None = None
        self._count = 0

    def restart(self) -> None:
        """Begins anew at the next send, so that an idle time is not caught up in one burst."""
        self._start = None

    async def next(self) -> float:
        """Waits until the next send is due and says when that was; returns at once when it is behind."""
        if self._start is None:
            self._start, self._count = self._monotonic(), 0
        due = self._start + self._count * self._interval_seconds
        self._count += 1
        ahead = due - self._monotonic()
        if ahead > 0:
            await self._sleep(ahead)
        return due


class Sender:
    """Sends what it is offered. Start it inside a running loop; `drained` waits for everything offered so far."""

    def __init__(
        self,
        setup: AccountSetup,
        faults: Faults,
        *,
        now: Callable[[], datetime],
        seed: int = 0,
        pace: Pace | None = None,
        ordered: bool = False,
        in_flight_max: int = IN_FLIGHT_MAX,
        attempt_count_max: int = 1,
        timeout_seconds: float = TIMEOUT_SECONDS,
        keep_alive: bool = False,
    ) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._setup, self._faults, self._now, self._pace = setup, faults, now, pace
        # Draws of its own: what the network does must not change what the world writes.
        self._draws = Draws(seed + 1)
        self._ordered, self._attempt_count_max = ordered, attempt_count_max
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_seconds, sock_read=timeout_seconds)
        self._in_flight_max, self._keep_alive = in_flight_max, keep_alive
        self._slots = asyncio.Semaphore(in_flight_max)
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._waiting: dict[tuple[str, str], deque[Delivery]] = {}
        self._held: list[Delivery] = []
        self._unfinished = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._broken: BaseException | None = None
        self._observers: list[Callable[[Outcome], None]] = []

    async def start(self) -> None:
        """Opens the connections and begins to send."""
        connector = aiohttp.TCPConnector(limit=self._in_flight_max, force_close=not self._keep_alive)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        self._spawn(self._dispatch())

    async def close(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Sends what is left for at most so long, then drops the rest."""
        try:
            async with asyncio.timeout(drain_seconds):
                await self.drained()
        except TimeoutError:
            self.counts["dropped_at_stop"] += self._unfinished
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()

    def watch(self, observer: Callable[[Outcome], None]) -> None:
        """Calls the observer with every outcome."""
        self._observers.append(observer)

    def summary(self) -> dict[str, dict[str, int]]:
        """Counters: what was done, the statuses answered, and why there was no answer."""
        return {
            "counts": dict(self.counts),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "failures": dict(self.failures),
        }

    def offer(self, event: Event) -> None:
        """Queues the event for everyone who is owed it; a delivery id is drawn here, as when a job is queued."""
        for target in self._setup.targets(event):
            self.offer_to(target, event)

    def offer_to(self, target: Target, event: Event) -> None:
        """Queues the event for one address, with the faults that strike it."""
        self.counts["offered"] += 1
        delivery = self._spoiled(Delivery(event, target, self._draws.uuid()))
        if self._faults.draw("webhook.lost", event.name):
            self.counts["lost"] += 1
            return
        if self._faults.draw("webhook.reorder", event.name):
            self.counts["reordered"] += 1
            self._held.append(delivery)
            return
        self._admit(delivery)
        if self._faults.draw("webhook.duplicate", event.name):
            self.counts["duplicated"] += 1
            self._admit(delivery)
        if self._faults.draw("webhook.redeliver", event.name):
            self.counts["redelivered"] += 1
            self._admit(replace(delivery, delivery_id=self._draws.uuid()))
        self._release_held()

    def offer_to_all(self, event: Event) -> int:
        """Queues the event for every account webhook, subscribed or not, and says for how many."""
        rows = list(self._setup.webhooks.values())
        for row in rows:
            self.offer_to(Target(row.url, row.secret), event)
        return len(rows)

    async def drained(self) -> None:
        """Returns once nothing is queued, waiting or on the wire."""
        self._release_held()
        await self._idle.wait()
        if self._broken is not None:
            raise self._broken

    def _spoiled(self, delivery: Delivery) -> Delivery:
        name = delivery.event.name
        target = delivery.target
        if self._faults.draw("webhook.wrong_secret", name):
            target = replace(target, secret=WRONG_SECRET)
        if self._faults.draw("webhook.unsigned", name):
            target = replace(target, secret=None)
        delay, stale = self._faults.draw("webhook.delay", name), self._faults.draw("webhook.stale", name)
        return replace(
            delivery,
            target=target,
            delay_seconds=delay.seconds if delay else 0.0,
            age_seconds=stale.seconds if stale else 0.0,
        )

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for delivery in held:
            self._admit(delivery)

    def _admit(self, delivery: Delivery) -> None:
        if self._unfinished >= QUEUE_MAX:
            self.counts["overflowed"] += 1
            return
        self._unfinished += 1
        self._idle.clear()
        if delivery.delay_seconds > 0:
            self._spawn(self._admit_later(delivery))
        else:
            self._enqueue(delivery)

    async def _admit_later(self, delivery: Delivery) -> None:
        await asyncio.sleep(delivery.delay_seconds)
        self._enqueue(delivery)

    def _enqueue(self, delivery: Delivery) -> None:
        if self._ordered:
            line = self._waiting.get(delivery.order_key)
            if line is not None:
                line.append(delivery)
                return
            self._waiting[delivery.order_key] = deque()
        self._queue.put_nowait(delivery)

    async def _dispatch(self) -> None:
        while True:
            if self._pace is not None and self._queue.empty():
                self._pace.restart()
            delivery = await self._queue.get()
            due = time.monotonic() if self._pace is None else await self._pace.next()
            if self._slots.locked():
                self.counts["held_back"] += 1
            await self._slots.acquire()
            self._spawn(self._deliver(delivery, due))

    async def _deliver(self, delivery: Delivery, due: float) -> None:
        try:
            outcome = await self._attempts(delivery, due)
        finally:
            self._slots.release()
        for observer in self._observers:
            observer(outcome)
        line = self._waiting.get(delivery.order_key)
        if line:
            self._queue.put_nowait(line.popleft())
        else:
            self._waiting.pop(delivery.order_key, None)
        self._unfinished -= 1
        if self._unfinished == 0:
            self._idle.set()

    async def _attempts(self, delivery: Delivery, due: float) -> Outcome:
        for attempt in range(1, self._attempt_count_max + 1):
            status, error = await self._post(delivery)
            outcome = Outcome(delivery, status, error, due, time.monotonic() - due)
            if outcome.accepted or attempt == self._attempt_count_max:
                break
            self.counts["retried"] += 1
            await asyncio.sleep(RETRY_WAIT_SECONDS)
        return outcome

    async def _post(self, delivery: Delivery) -> tuple[int | None, str | None]:
        assert self._session is not None, "start() comes first"
        body = delivery.event.body()
        timestamp = int(self._now().timestamp() - delivery.age_seconds)
        headers = signed_request(body, delivery.target.secret, delivery.delivery_id, timestamp)
        self.counts["sent"] += 1
        try:
            async with self._session.post(
                delivery.target.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                await response.read()
        except TimeoutError:
            error = "timeout"
        except aiohttp.ClientConnectorError:
            error = "unreachable"
        except (aiohttp.ClientError, OSError):
            error = "disconnected"
        else:
            self.statuses[response.status] += 1
            return response.status, None
        self.failures[error] += 1
        return None, error

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A sender that broke must not look like one that is still busy: whoever waits is told.
            self._broken = task.exception()
            self._idle.set()
