"""The load generator: a process of its own that sends webhooks over kept connections and says how they were answered.

`python -m bench.load` reads one job as JSON from its standard input and writes one outcome as JSON. Closed loop: each
connection sends its next webhook when the last was answered. Open loop: webhooks leave by the clock, and their latency
counts from the moment they should have left, so that a server which stalls is not spared what it kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import cast

import psycopg
import uvloop

from bench import bodies, costs

TICK_SECONDS = 0.001
LOOK_SECONDS = 0.04
PREPARED_MAX = 60_000
"""More than any run sends; at 2.9 kB each."""
DRAIN_SECONDS = 5.0

FACTS_MAX = 4_000
"""Facts go out in strides of the relays' own pace, behind rows that are visible by then: some always wait. So many do
only where they come faster than they go."""
BACKLOG = """
select (select count(*) from ingest.webhook_queue where sequence > 0),
  (select count(*) from identity.outbox_queue where position > 0)
  + (select count(*) from conversation.outbox_queue where position > 0)
  + (select count(*) from crm.outbox_queue where position > 0)
  + (select count(*) from ingest.outbox_queue where position > 0)
"""
"""All that waits on the way: webhooks for the workers, facts for the relays."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to send. `rate` is per second, 0 for a closed loop; `backlog_max` stops sending while more webhooks wait."""

    host: str
    port: int
    stream: bodies.Stream
    seed: int
    connections: int = 64
    warm_seconds: float = 0.5
    seconds: float = 2.0
    rate: float = 0.0
    database_url: str = ""
    backlog_max: int = 0


@dataclass(slots=True)
class Outcome:
    """How it went, within the measured time: rates per second, latencies in milliseconds, times in Unix seconds."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    begin_time: float = 0.0
    """When the first webhook of all should have left."""
    measure_time: float = 0.0
    end_time: float = 0.0
    processor_seconds: float = 0.0
    """What the sender itself took, for all that it sent."""
    backlog: list[int] = field(default_factory=list)

    @property
    def microseconds_each(self) -> float:
        """The sender's own processor time for each webhook."""
        return costs.each(self.processor_seconds, self.sent)


class _Connection(asyncio.Protocol):
    """One kept connection with at most one webhook under way."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._transport: asyncio.Transport
        self._received = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loop's transports have the methods but not the base class.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head, separator, rest = received.partition(b"\r\n\r\n")
        if separator:
            found = head.lower().find(b"content-length: ")
            length = int(head[found + 16 :].split(b"\r\n", 1)[0])
            if len(rest) >= length:
                self._received = b""
                self._sender.answered(self, head[9:12] == b"200")
                return
        self._received = received

    def connection_lost(self, _error: Exception | None) -> None:
        self._sender.lost()

    def close(self) -> None:
        self._transport.close()


class Sender:
    """Sends one job's webhooks."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests = self._prepare()
        self._idle: deque[_Connection] = deque()
        self._late: deque[float] = deque()
        self._latencies: list[float] = []
        self._outcome = Outcome()
        self._measuring = self._ended = self._paused = False

    def _prepare(self) -> Iterator[bytes]:
        job = self._job
        count = PREPARED_MAX if not job.rate else int(job.rate * (job.warm_seconds + job.seconds)) + 1
        if not job.rate:
            # A closed loop knows no rate ahead: what is not prepared is made on the way, after the measured time.
            count = min(count, int(14_000 * (job.warm_seconds + job.seconds)))
            if job.backlog_max:
                count = min(count, int(5_000 * (job.warm_seconds + job.seconds)))
        made = bodies.requests(job.stream, job.seed)
        ready = [next(made) for _ in range(count)]

        def all_of_them() -> Iterator[bytes]:
            yield from ready
            yield from made

        return all_of_them()

    async def run(self) -> Outcome:
        """Sends, measures, waits for the last answers."""
        loop, job = asyncio.get_running_loop(), self._job
        for _ in range(job.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), job.host, job.port)
            self._idle.append(connection)
        connections = list(self._idle)
        looking = asyncio.create_task(self._look()) if job.database_url else None
        self._outcome.begin_time, spent = time.time(), time.process_time()
        clocked = asyncio.create_task(self._by_the_clock(loop.time())) if job.rate else None
        if not job.rate:
            self._fill()
        await asyncio.sleep(job.warm_seconds)
        self._measuring, self._outcome.measure_time = True, time.time()
        await asyncio.sleep(job.seconds)
        self._measuring, self._ended, self._outcome.end_time = False, True, time.time()
        for task in (looking, clocked):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while len(self._idle) < len(connections):  # noqa: ASYNC110 a moment at the very end
                    await asyncio.sleep(TICK_SECONDS)
        self._outcome.processor_seconds = time.process_time() - spent
        for connection in connections:
            connection.close()
        return self._finish()

    def _finish(self) -> Outcome:
        outcome = self._outcome
        took = outcome.end_time - outcome.measure_time
        outcome.rate = outcome.answered / took
        latencies = sorted(self._latencies)
        if latencies:
            outcome.p50 = latencies[len(latencies) // 2] * 1000
            outcome.p99 = latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] * 1000
        return outcome

    def answered(self, connection: _Connection, accepted: bool) -> None:
        """A webhook was answered; the connection is free."""
        if self._measuring:
            if accepted:
                self._outcome.answered += 1
                self._latencies.append(asyncio.get_running_loop().time() - connection.due)
            else:
                self._outcome.refused += 1
        if self._ended or self._paused or (self._job.rate and not self._late):
            self._idle.append(connection)
        else:
            self._send(connection, self._late.popleft() if self._job.rate else asyncio.get_running_loop().time())

    def lost(self) -> None:
        """A connection broke."""
        if not self._ended:
            self._outcome.refused += 1

    def _send(self, connection: _Connection, due: float) -> None:
        self._outcome.sent += 1
        connection.send(next(self._requests), due)

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            self._send(self._idle.popleft(), now)

    async def _by_the_clock(self, started: float) -> None:
        loop, count = asyncio.get_running_loop(), 0
        while True:
            while (due := started + count / self._job.rate) <= loop.time():
                count += 1
                if self._idle:
                    self._send(self._idle.popleft(), due)
                else:
                    self._late.append(due)
            await asyncio.sleep(TICK_SECONDS)

    async def _look(self) -> None:
        # Queues are mostly rows that are gone; their indexes forget these sooner than a scan could pass over them.
        async with await psycopg.AsyncConnection.connect(
            self._job.database_url, autocommit=True, options="-c enable_seqscan=off"
        ) as connection:
            while True:
                row = await (await connection.execute(BACKLOG, prepare=True)).fetchone()
                assert row is not None
                webhooks, facts = row
                if self._measuring:
                    self._outcome.backlog.append(webhooks + facts)
                if self._job.backlog_max:
                    was, self._paused = self._paused, webhooks > self._job.backlog_max or facts > FACTS_MAX
                    if was and not self._paused:
                        self._fill()
                await asyncio.sleep(LOOK_SECONDS)


async def send(job: Job) -> Outcome:
    """Runs a job in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await process.communicate(json.dumps(asdict(job)).encode())
    if process.returncode != 0:
        raise RuntimeError(f"The load generator ended with {process.returncode}.")
    return Outcome(**json.loads(answer))


def main() -> None:
    """Reads a job, runs it, writes its outcome."""
    given = json.load(sys.stdin)
    job = Job(**given | {"stream": bodies.Stream(**given["stream"])})
    outcome = uvloop.run(Sender(job).run())
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
