"""One siege: strangers in one process, genuine webhooks in this one, and what the receiver showed of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import psutil  # type: ignore[import-untyped]  # no stubs are published with it
from prometheus_client.parser import text_string_to_metric_families

from chassis import open_files
from cli.smoke.bodies import Writer, flat_message
from prosa.v1.options_pb2 import SOURCE_WHATSAPP
from sandbox.chatwoot.signing import signed_request
from tests.e2e.suite import Suite
from tests.siege.strangers import HOLD_SECONDS

MEMORY_BYTES_MAX = 256 * 1024 * 1024
"""How much more than before the flood the receiver may take: connections, their buffers and the bodies in flight."""
ANSWER_SECONDS_MAX = 4.0
GENUINE_EVERY_SECONDS = 0.5
LOOK_SECONDS = 0.2
OVER_SECONDS = 60.0
REFUSED = "prosa_http_connections_refused_total"


@dataclass
class Siege:
    """What happened."""

    answers: list[tuple[int, float]] = field(default_factory=list)
    memory_before: int = 0
    memory_most: int = 0
    came: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0
    refused: dict[str, float] = field(default_factory=dict)
    logged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def memory_growth(self) -> int:
        """How much more the receiver took than before."""
        return self.memory_most - self.memory_before

    def faults(self) -> list[str]:
        """What was not as it must be; empty where all was."""
        found = [f"a genuine webhook was answered {status}" for status, _ in self.answers if status != 200]
        found += [f"an answer took {took:.1f} s" for _, took in self.answers if took > ANSWER_SECONDS_MAX]
        if not self.answers:
            found.append("no genuine webhook was sent")
        if self.memory_growth > MEMORY_BYTES_MAX:
            found.append(f"the receiver took {self.memory_growth >> 20} MiB more than before")
        if not sum(self.refused.values()):
            found.append("no metric says what was refused")
        if not self.logged:
            found.append("no line in the log says what was refused")
        return found

    def told(self) -> str:
        """The figures, for people."""
        times = sorted(took for _, took in self.answers) or [0.0]
        return (
            f"{sum(self.came.values())} strangers, {self.most_at_once} at once: {self.came}\n"
            f"{len(self.answers)} genuine webhooks, slowest {times[-1]:.2f} s, median {times[len(times) // 2]:.3f} s\n"
            f"memory {self.memory_before >> 20} MiB, at most {self.memory_most >> 20} MiB\n"
            f"refused { ({reason: int(count) for reason, count in self.refused.items() if count}) }, "
            f"{len(self.logged)} lines in the log"
        )


async def besiege(suite: Suite, content: dict[str, Any], total: int, at_once_max: int, seconds: float) -> Siege:
    """Lets strangers come while genuine webhooks are sent; answers what happened. Ends by itself."""
    siege = Siege()
    receiver = psutil.Process(suite.pid("gateway"))
    siege.memory_before = receiver.memory_info().rss
    address = urlsplit(content["url"])
    crowd = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.siege.crowd", str(address.hostname), str(address.port)),
        *(str(total), str(at_once_max), str(seconds)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=suite.environment(),
    )
    try:
        async with asyncio.timeout(seconds + HOLD_SECONDS + OVER_SECONDS), asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(receiver, siege))
            writing = [group.create_task(_write(content, siege, fresh=fresh)) for fresh in (True, False)]
            out, _ = await crowd.communicate()
            for task in (watching, *writing):
                task.cancel()
    finally:
        if crowd.returncode is None:
            crowd.kill()
            await crowd.wait()
    told = json.loads(out)
    siege.came, siege.most_at_once = told["came"], told["most_at_once"]
    siege.refused = await _refused(content)
    siege.logged = _logged(suite)
    return siege


async def _watch(receiver: Any, siege: Siege) -> None:
    while True:
        siege.memory_most = max(siege.memory_most, receiver.memory_info().rss)
        await asyncio.sleep(LOOK_SECONDS)


async def _write(content: dict[str, Any], siege: Siege, *, fresh: bool) -> None:
    """Sends genuine webhooks, each on a connection of its own as Chatwoot does, or all on one that is kept."""
    chatwoot = content["chatwoot"]
    writer = Writer(SOURCE_WHATSAPP, "+5511900008888", "Paula", chatwoot["account_id"], 21)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=fresh)) as session:
        while True:
            number = secrets.randbelow(10**9)
            body = orjson.dumps(flat_message(writer, 899_000_001, 899_000_000_000 + number, "oi", datetime.now(UTC)))
            headers = signed_request(body, chatwoot["webhook_secret"], secrets.token_hex(8), int(time.time()))
            begun = time.monotonic()
            try:
                async with session.post(chatwoot["webhook_url"], data=body, headers=headers) as answer:
                    await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            siege.answers.append((status, time.monotonic() - begun))
            await asyncio.sleep(GENUINE_EVERY_SECONDS)


async def _refused(content: dict[str, Any]) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(content["metrics_url"]) as answer:
        page = await answer.text()
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == REFUSED
    }


def _logged(suite: Suite) -> list[dict[str, Any]]:
    lines = (suite.home / "logs" / "receiver.log").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if '"connections_refused"' in line]


def may_hold(connections: int) -> bool:
    """Whether this machine lets one process hold so many connections, each of which is a file."""
    return open_files.raise_open_files() >= connections + open_files.OPEN_FILES_FLOOR // 8
